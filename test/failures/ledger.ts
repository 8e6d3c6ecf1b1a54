import { createHash, randomBytes, randomUUID } from 'node:crypto';

/** A message of the load; it carries its own name and digest. */
export interface LoadMessage {
  readonly id: string;
  /** As it is sent, lines end with CRLF. */
  readonly raw: string;
}

/** A message that a server has said to be safe. */
export interface Acknowledged {
  readonly id: string;
  /** Address of the mailbox. */
  readonly user: string;
  readonly via: 'SMTP' | 'APPEND';
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What servers have promised. */
export class Ledger {
  public readonly messages = new Map<string, Acknowledged>();
  /** Messages with a flag that a STORE set and a later FETCH showed, by id. */
  public readonly flagged = new Map<string, { readonly user: string; readonly at: number }>();
  /** Messages that were sent, acknowledged or not. */
  public sent = 0;

  public acknowledge(id: string, user: string, via: Acknowledged['via']): void {
    this.messages.set(id, { id, user, via, at: Date.now() });
  }

  public flag(id: string, user: string): void {
    this.flagged.set(id, { user, at: Date.now() });
  }

  /** Messages that must be in the user's mailboxes if they were acknowledged before a moment. */
  public of(user: string, before: number): Acknowledged[] {
    return [...this.messages.values()].filter((message) => message.user === user && message.at < before);
  }
}

/** A new message of 1 to 20 KB. */
export function loadMessage(from: string, to: string): LoadMessage {
  const id = randomUUID();
  const size = 500 + Math.floor(Math.random() ** 3 * 10_000);
  const body = randomBytes(size).toString('hex').replace(/.{72}/g, '$&\r\n');
  const raw = [
    `From: <${from}>`,
    `To: <${to}>`,
    `Date: ${new Date().toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: <${id}@load.example.com>`,
    `Subject: Load ${id}`,
    `X-Load-Id: ${id}`,
    `X-Load-Digest: ${digest(body)}`,
    '',
    `${body}\r\n`,
  ].join('\r\n');
  return { id, raw };
}

/** The id of a message of the load, and whether it came whole; undefined for other messages. */
export function readLoadMessage(raw: string): { id: string; whole: boolean } | undefined {
  const [head] = raw.split('\r\n\r\n', 1);
  const field = (name: string) => new RegExp(`^X-Load-${name}: (.*)$`, 'im').exec(head)?.[1].trim();
  const id = field('Id');
  if (id === undefined) return undefined;
  return { id, whole: digest(raw.slice(head.length + 4).replace(/\r\n$/, '')) === field('Digest') };
}

function digest(body: string): string {
  return createHash('sha256').update(body.trimEnd()).digest('hex');
}
