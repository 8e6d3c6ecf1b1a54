import { createHash } from 'node:crypto';
import { isSealed } from './age';
import { JournalKey } from './journal-key';
import { JournalKeys, KeysError } from './journal-keys';
import { unpack } from './unpack';

/** An object as S3 gave it. */
export interface StoredObject {
  readonly body: Buffer;
  /** As S3 keeps it, base64; nothing when the object has none. */
  readonly checksum?: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A message of the journal that is whole. */
export interface JournalMessage {
  /** When it was accepted. */
  readonly arrival: Date;
  /** Address of MAIL FROM; empty for notices. */
  readonly from: string;
  /** Addresses of RCPT TO. */
  readonly to: readonly string[];
  /** As Postfix accepted it, byte for byte. */
  readonly message: Buffer;
  /** Header of the message, unfolded lines are not joined. */
  readonly header: string;
}

/** What is in the object is not the message that was stored. */
export class BrokenError extends Error {}

/** The message is sealed, and the keys that opened it were destroyed, as its owners were erased. */
export class ErasedError extends Error {}

/**
 * Unpacks an object and checks it: what was read against the SHA-256 that S3 keeps, what is in it against the digest
 * in its name, its envelope and its size.
 *
 * @param keys where those of sealed messages are read
 * @throws BrokenError, ErasedError; KeysError when keys can't be read
 */
export async function readMessage(
  { queueId, digest }: JournalKey,
  { body, checksum, metadata }: StoredObject,
  keys?: JournalKeys,
): Promise<JournalMessage> {
  const sha256 = createHash('sha256').update(body).digest('base64');
  if (checksum !== undefined && checksum !== sha256) {
    throw new BrokenError(`its SHA-256 is ${sha256}, S3 has ${checksum}`);
  }
  const packed = isSealed(body) ? await open(body, metadata, keys) : body;
  const content = await unpack(packed).catch((error: Error) => {
    throw new BrokenError(`it can't be unpacked: ${error.message}`);
  });
  const found = createHash('sha256').update(content).digest('hex').slice(0, digest.length);
  if (found !== digest) {
    throw new BrokenError(`the SHA-256 of its content begins with ${found}, its name says ${digest}`);
  }

  const envelope: { [name: string]: string[] } = {};
  let start = 0;
  for (;;) {
    const end = content.indexOf('\r\n', start);
    const [, name, value] =
      /^X-Journal-([A-Za-z-]+): (.*)$/.exec(content.toString('utf8', start, Math.max(end, start))) ?? [];
    if (name === undefined) break;
    (envelope[name] ??= []).push(value);
    start = end + 2;
  }
  const message = content.subarray(start);
  const arrival = new Date(envelope.Arrival?.[0] ?? NaN);
  if (envelope['Queue-Id']?.[0] !== queueId || envelope.From === undefined || Number.isNaN(arrival.getTime())) {
    throw new BrokenError('its envelope is not that of its name');
  }
  const size = metadata['message-size'];
  if (message.length === 0 || (size !== undefined && Number(size) !== message.length)) {
    throw new BrokenError(`the message has ${message.length} bytes, its metadata say ${size}`);
  }
  const headerEnd = message.indexOf('\r\n\r\n');
  return {
    arrival,
    from: bare(envelope.From[0]),
    to: (envelope.To ?? []).map(bare),
    message,
    header: message.toString('utf8', 0, headerEnd < 0 ? message.length : headerEnd + 2),
  };
}

async function open(body: Buffer, metadata: StoredObject['metadata'], keys?: JournalKeys): Promise<Buffer> {
  const { keys: tags, 'keys-bucket': bucket } = metadata;
  if (!keys || !tags || !bucket) throw new BrokenError('it is sealed, and its metadata do not say by which keys');
  let opened: Buffer | undefined;
  try {
    opened = await keys.open(body, bucket, tags.split(','));
  } catch (error) {
    if (error instanceof KeysError) throw error;
    throw new BrokenError(`it can't be opened: ${(error as Error).message}`);
  }
  if (!opened) throw new ErasedError('the keys that open it were destroyed');
  return opened;
}

/** Message-ID with its brackets; nothing when the header has none. */
export function messageIdOf(header: string): string | undefined {
  return /^Message-ID:\s*(<[^>\r\n]+>)/im.exec(header)?.[1];
}

function bare(address: string): string {
  return address.replace(/^<(.*)>$/, '$1');
}
