import { createHash } from 'node:crypto';
import type { PackedMessage } from '../../handlers/packs/packed-messages';

// Long queue ids of Postfix: https://www.postfix.org/postconf.5.html#enable_long_queue_ids
const DIGITS = '0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz';
const QUEUE_ID = `[${DIGITS}]{6,}[${DIGITS}]{4}z[${DIGITS}]+`;
const KEY = new RegExp(`^journal/\\d{4}/\\d{2}/\\d{2}/\\d{2}/(${QUEUE_ID})-([0-9a-f]{16})\\.eml\\.zst$`);
const OURS = new RegExp(`\\(Postfix[^()]*\\)[^;]*?\\sid (${QUEUE_ID})(?=[\\s;]|$)`);

/** What the name of an object of the journal says (docs/journal.md, "An object"). */
export interface JournalKey {
  readonly key: string;
  readonly queueId: string;
  /** First 16 hexadecimal digits of the SHA-256 of the content. */
  readonly digest: string;
  /** When the message was accepted, milliseconds since 1970; whole seconds. */
  readonly arrival: number;
  /** Bytes of an object that can be read at once, where the listing said so. */
  readonly size?: number;
  /** Where it is, when it is in a pack and no object any more. */
  readonly packed?: PackedMessage;
}

/** @returns nothing when the name is not one of the journal's */
export function parseKey(key: string): JournalKey | undefined {
  const [, queueId, digest] = KEY.exec(key) ?? [];
  return queueId === undefined ? undefined : { key, queueId, digest, arrival: arrivalOf(queueId) };
}

/** When Postfix gave the id, milliseconds since 1970; whole seconds. */
export function arrivalOf(queueId: string): number {
  const seconds = queueId.slice(0, queueId.lastIndexOf('z') - 4);
  return 1000 * [...seconds].reduce((sum, digit) => sum * DIGITS.length + DIGITS.indexOf(digit), 0);
}

/** The folder of an hour, UTC. Names in a bucket are listed in this order. */
export function hourFolder(time: Date): string {
  return `journal/${time.toISOString().slice(0, 13).replace(/[-T]/g, '/')}/`;
}

/** How metadata names an address. */
export function tagOf(address: string): string {
  return createHash('sha256').update(address.toLowerCase()).digest('hex').slice(0, 16);
}

/**
 * The queue id under which this cluster accepted a message, from its header; nothing when no Postfix did.
 *
 * The topmost line of a Postfix is ours: what a sender wrote is below it, and what Dovecot adds when it delivers names no Postfix.
 */
export function queueIdOf(header: string): string | undefined {
  return accepted(header)?.queueId;
}

/**
 * What tells a message of a mailbox from all others by its header and size: the queue id and how long the message was when it was
 * accepted, whatever lines delivery put on top; of what came in otherwise, such as by IMAP, digest of the header and size.
 */
export function identityOf(header: Buffer, size: number): string {
  const { queueId, offset } = accepted(header.toString('latin1')) ?? { offset: 0 };
  const name = queueId ?? createHash('sha256').update(header).digest('base64');
  return `${name} ${queueId === undefined ? size : size - offset}`;
}

/** The topmost line of a Postfix, where it is and the queue id in it. */
function accepted(header: string): { readonly offset: number; readonly queueId?: string } | undefined {
  for (const { 0: line, index } of header.matchAll(/^Received:[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*/gim)) {
    if (line.includes('(Postfix')) {
      return { offset: index, queueId: OURS.exec(line.replace(/\r?\n[ \t]+/g, ' '))?.[1] };
    }
  }
  return undefined;
}
