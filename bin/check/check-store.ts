import { ImapFlow } from 'imapflow';
import { queueIdOf } from '../restore/journal-key';
import { JournalKeys } from '../restore/journal-keys';
import { BrokenError, ErasedError, readMessage } from '../restore/journal-message';
import { JournalReader } from '../restore/journal-reader';

/** Mailboxes that are looked into at once. */
const AT_ONCE = 8;

/** What is checked, and how much of it. */
export interface CheckOptions {
  /** IMAP server that serves the restored store, without TLS: on this machine. */
  readonly host: string;
  readonly port: number;
  /** Mailboxes of the store. */
  readonly users: readonly string[];
  /** Opens each of them. */
  readonly password: string;
  /**
   * Where the digests of messages are recorded.
   * @default - none, and integrity is not checked
   */
  readonly journal?: JournalReader;
  /** Messages that are compared with their digests; the newest of each mailbox in turn. */
  readonly integrity: number;
  /** Messages that are read whole by IMAP. */
  readonly messages: number;
  /** Sessions that are open at the same time. */
  readonly connections: number;
  /** Told of each thing that is wrong. */
  readonly onProblem?: (stage: Stage, what: string) => void;
}

export type Stage = 'integrity' | 'function' | 'load';

/** What came of a check. */
export interface CheckReport {
  readonly passed: boolean;
  readonly integrity: {
    readonly passed: boolean;
    /** Compared with a message of the journal whose own digests are right. */
    readonly checked: number;
    readonly broken: number;
    /** Not in the journal: never journaled, erased, or in Glacier. */
    readonly unknown: number;
  };
  readonly function: { readonly passed: boolean; readonly read: number; readonly failed: number };
  readonly load: {
    readonly passed: boolean;
    readonly connections: number;
    readonly failed: number;
    /** Until all had logged in and read a message. */
    readonly seconds: number;
  };
}

/** A message of the store. */
interface Found {
  readonly user: string;
  readonly folder: string;
  readonly uid: number;
  readonly size: number;
}

/**
 * Checks a restored mail store in three stages, by what its clients would get: messages are those whose digests were recorded,
 * they can be read, and many may read them at once. Each stage is gone through whatever the others find.
 *
 * @throws when there is no mailbox, or the journal can't be read
 */
export async function checkStore(options: CheckOptions): Promise<CheckReport> {
  if (options.users.length === 0) throw new Error('the store has no mailboxes');
  const tell = options.onProblem ?? (() => undefined);
  const found = await findMessages(options, tell);
  const integrity = await checkIntegrity(options, found, tell);
  const read = await checkFunction(options, found, tell);
  const load = await checkLoad(options, tell);
  return { passed: integrity.passed && read.passed && load.passed, integrity, function: read, load };
}

/** Messages of all mailboxes in turn, the newest of each folder first: as many as the stages want. */
async function findMessages(options: CheckOptions, tell: Tell): Promise<Found[]> {
  const wanted = Math.max(options.integrity, options.messages);
  const perFolder = Math.max(1, Math.ceil(wanted / options.users.length));
  const found: Found[][] = [];
  await inTurn(options.users, async (user) => {
    try {
      found.push(await withSession(options, user, (client) => newest(client, user, perFolder)));
    } catch (error) {
      tell('function', `${user}: ${textOf(error)}`);
      // Counts as one that can't be read.
      found.push([{ user, folder: 'INBOX', uid: 0, size: 0 }]);
    }
  });
  const longest = Math.max(...found.map(({ length }) => length));
  return Array.from({ length: longest }, (_none, place) => found.flatMap((list) => list.slice(place, place + 1)))
    .flat()
    .slice(0, wanted);
}

async function newest(client: ImapFlow, user: string, count: number): Promise<Found[]> {
  const found: Found[] = [];
  for (const { path, flags } of await client.list()) {
    if (flags.has('\\Noselect') || flags.has('\\NonExistent')) continue;
    const { exists } = await client.mailboxOpen(path, { readOnly: true });
    if (exists === 0) continue;
    for await (const { uid, size } of client.fetch(`${Math.max(1, exists - count + 1)}:*`, { uid: true, size: true })) {
      found.push({ user, folder: path, uid, size: size! });
    }
  }
  return found.reverse();
}

async function checkIntegrity(
  { journal, ...options }: CheckOptions,
  found: Found[],
  tell: Tell,
): Promise<CheckReport['integrity']> {
  let [checked, broken, unknown] = [0, 0, 0];
  if (journal === undefined) return { passed: true, checked, broken, unknown };
  const keys = new JournalKeys();
  await each(options, found.slice(0, options.integrity), async (client, one) => {
    const where = `${one.user}, ${one.folder}, UID ${one.uid}`;
    try {
      const source = await sourceOf(client, one);
      const headerEnd = source.indexOf('\r\n\r\n');
      const queueId = queueIdOf(source.toString('latin1', 0, headerEnd < 0 ? source.length : headerEnd + 2));
      const recorded = queueId === undefined ? undefined : await recordedMessage(journal, keys, queueId);
      if (recorded === undefined) {
        unknown++;
        return;
      }
      // Delivery puts lines on top and changes nothing below.
      if (!source.subarray(Math.max(0, source.length - recorded.length)).equals(recorded)) {
        throw new Error(`is not what was accepted as ${queueId}`);
      }
      checked++;
    } catch (error) {
      broken++;
      tell('integrity', `${where}: ${textOf(error)}`);
    }
  });
  if (checked === 0) tell('integrity', 'no message of the store is in the journal');
  return { passed: broken === 0 && checked > 0, checked, broken, unknown };
}

/** The message of the journal, checked against its digests; nothing when it is not there, or not to be read now. */
async function recordedMessage(
  journal: JournalReader,
  keys: JournalKeys,
  queueId: string,
): Promise<Buffer | undefined> {
  for await (const key of journal.keysOf(queueId)) {
    const stored = await journal.read(key, async () => true);
    if (stored === undefined || stored === 'archived') continue;
    try {
      return (await readMessage(key, stored, keys)).message;
    } catch (error) {
      // That is the journal's fault, not the store's: evidence tells (docs/evidence.md).
      if (!(error instanceof BrokenError || error instanceof ErasedError)) throw error;
    }
  }
  return undefined;
}

async function checkFunction(options: CheckOptions, found: Found[], tell: Tell): Promise<CheckReport['function']> {
  let [read, failed] = [0, 0];
  await each(options, found.slice(0, options.messages), async (client, one) => {
    try {
      const source = await sourceOf(client, one);
      if (source.length !== one.size) throw new Error(`has ${source.length} bytes, announced were ${one.size}`);
      read++;
    } catch (error) {
      failed++;
      tell('function', `${one.user}, ${one.folder}, UID ${one.uid}: ${textOf(error)}`);
    }
  });
  if (read === 0) tell('function', 'no message could be read');
  return { passed: failed === 0 && read > 0, read, failed };
}

async function checkLoad(options: CheckOptions, tell: Tell): Promise<CheckReport['load']> {
  const begin = Date.now();
  const clients: ImapFlow[] = [];
  let failed = 0;
  try {
    await Promise.all(
      Array.from({ length: options.connections }, async (_none, index) => {
        const client = clientFor(options, options.users[index % options.users.length]);
        clients.push(client);
        try {
          await client.connect();
          const { exists } = await client.mailboxOpen('INBOX', { readOnly: true });
          if (exists > 0 && !(await client.fetchOne('*', { envelope: true }))) throw new Error('INBOX can not be read');
        } catch (error) {
          failed++;
          tell('load', `connection ${index + 1}: ${textOf(error)}`);
        }
      }),
    );
    // All of them are still there.
    const seconds = Math.round((Date.now() - begin) / 100) / 10;
    const gone = clients.filter(({ usable }) => !usable).length;
    if (gone > failed) tell('load', `${gone - failed} connections ended while others came`);
    failed = Math.max(failed, gone);
    return { passed: failed === 0, connections: clients.length, failed, seconds };
  } finally {
    for (const client of clients) client.close();
  }
}

type Tell = (stage: Stage, what: string) => void;
type Server = Pick<CheckOptions, 'host' | 'port' | 'password'>;

/** Handles messages mailbox by mailbox, in one session each. */
async function each(
  server: Server,
  messages: Found[],
  handle: (client: ImapFlow, one: Found) => Promise<void>,
): Promise<void> {
  const byUser = new Map<string, Found[]>();
  for (const one of messages) byUser.set(one.user, [...(byUser.get(one.user) ?? []), one]);
  await inTurn([...byUser.values()], async (list) => {
    let client = clientFor(server, list[0].user);
    await client.connect().catch(() => undefined); // each message tells
    try {
      for (const one of list) {
        // A file that can't be read ends Dovecot's session.
        if (!client.usable) {
          client.close();
          client = clientFor(server, one.user);
          await client.connect().catch(() => undefined);
        }
        await handle(client, one);
      }
    } finally {
      client.close();
    }
  });
}

async function inTurn<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  const worker = async () => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function sourceOf(client: ImapFlow, { folder, uid }: Found): Promise<Buffer> {
  if (!client.usable) throw new Error('no connection');
  if (typeof client.mailbox !== 'object' || client.mailbox.path !== folder)
    await client.mailboxOpen(folder, { readOnly: true });
  const message = await client.fetchOne(`${uid}`, { source: true }, { uid: true });
  if (!message || !message.source) throw new Error('the server does not give it');
  return message.source;
}

async function withSession<T>(server: Server, user: string, work: (client: ImapFlow) => Promise<T>): Promise<T> {
  const client = clientFor(server, user);
  try {
    await client.connect();
    return await work(client);
  } finally {
    client.close();
  }
}

function clientFor({ host, port, password }: Server, user: string): ImapFlow {
  const client = new ImapFlow({
    ...{ host, port, secure: false, logger: false, disableAutoIdle: true },
    auth: { user, pass: password },
  });
  client.on('error', () => undefined); // the failed command reports it as well
  return client;
}

function textOf(error: unknown): string {
  const { responseText, message } = error as { responseText?: string; message: string };
  return responseText ?? message;
}
