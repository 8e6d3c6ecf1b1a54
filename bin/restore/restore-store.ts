import { setTimeout as sleep } from 'node:timers/promises';
import type { ImapFlow } from 'imapflow';
import { subjectOf } from '../users/user-file';
import { Appender } from './appender';
import { Budget } from './budget';
import { FolderReader } from './folder-reader';
import { ImapServer, RefusedError } from './imap-server';
import { identityOf } from './journal-key';
import type { RestoreReport } from './restore-mail';
import { CopiedFolder, CopiedMessage, CopySelection, StoreCopy } from './store-copy';

/** Bytes of messages in memory at once. */
const MEMORY = 128 << 20;
/** Messages and bytes that are read from the copy by one command. */
const CHUNK = 64;
const CHUNK_BYTES = 8 << 20;
/** Times that a mailbox is gone through when connections break. */
const ATTEMPTS = 5;

/** How `RestoreStore` goes about it. */
export interface RestoreStoreOptions {
  /** Serves the copy. */
  readonly store: ImapServer;
  /** Serves the mailboxes that mail goes into. */
  readonly imap: ImapServer;
  /** Mailboxes of the copy that are restored, each into that of the same name. */
  readonly users: readonly string[];
  readonly selection: CopySelection;
  /**
   * Folder below which the copy's folders are put, with `/` between levels.
   * @default - each where it was
   */
  readonly below?: string;
  /**
   * People whose mail was erased and stays so: SHA-256 of their addresses.
   * @default - nobody
   */
  readonly erased?: ReadonlySet<string>;
  /** Connections to a mailbox. */
  readonly connections: number;
  /** Whether everything is looked at, and nothing is changed. @default false */
  readonly dryRun?: boolean;
  /** Told of each message that is not restored, and why. */
  readonly onProblem?: (what: 'broken' | 'failed' | 'missing' | 'unreadable', message: string, why: string) => void;
}

/** Where the messages of a mailbox are: folders by identity, one for each copy. */
type Places = Map<string, string[]>;

/** What came of going through a mailbox once. */
interface Passage {
  readonly broken: Map<CopiedMessage, string>;
  readonly failed: Map<CopiedMessage, string>;
}

/**
 * Gets mail back from a copy of the store, with folders, flags and times. A message is there when the mailbox has it in the same
 * folder, or moved to another but Trash; so there is no state but the mailbox, as with the journal.
 */
export class RestoreStore {
  private readonly counts = { looked: 0, found: 0, restored: 0, broken: 0, failed: 0 };
  private bytes = 0;
  private readonly begin = Date.now();
  private readonly memory = new Budget(MEMORY);
  /** Put in by this run. */
  private readonly done = new Set<CopiedMessage>();

  constructor(private readonly options: RestoreStoreOptions) {}

  /** @throws when the copy can't be read; what was restored until then stays */
  public async run(): Promise<RestoreReport> {
    const { users, erased, selection, onProblem } = this.options;
    for (const user of users) {
      if (!erased?.has(subjectOf(user))) await this.restore(user);
      this.done.clear();
    }
    if (selection.message !== undefined && this.counts.found === 0) {
      onProblem?.('missing', selection.message, 'not in the copy, or not in those mailboxes and folders');
    }
    return this.report();
  }

  /** As things stand. */
  public report(): RestoreReport {
    const { looked, found, restored, broken, failed } = this.counts;
    const seconds = (Date.now() - this.begin) / 1000;
    const notFound = this.options.selection.message !== undefined && found === 0 ? 1 : 0;
    return {
      ...{
        looked,
        found,
        restored,
        duplicates: found - restored - broken - failed,
        broken,
        waiting: 0,
        failed,
        erased: 0,
      },
      missing: broken + failed + notFound,
      bytes: this.bytes,
      seconds: Math.round(seconds * 10) / 10,
      perSecond: Math.round(restored / Math.max(seconds, 0.001)),
      dryRun: this.options.dryRun ?? false,
    };
  }

  private async restore(user: string): Promise<void> {
    const copy = await StoreCopy.open(this.options.store, user);
    try {
      const folders = await copy.folders(this.options.selection, () => this.counts.looked++);
      const messages = folders.flatMap((folder) => folder.messages);
      this.counts.found += messages.length;
      for (let attempt = 1; ; attempt++) {
        try {
          const { broken, failed } = await this.goThrough(user, copy, folders);
          this.tell('broken', user, broken);
          this.tell('failed', user, failed);
          return;
        } catch (error) {
          if (error instanceof RefusedError || attempt === ATTEMPTS) {
            const rest = messages.filter((one) => !this.done.has(one));
            this.tell('failed', user, new Map(rest.map((one) => [one, (error as Error).message])));
            return;
          }
          // Perhaps the server has some, and only its answer was lost: look again.
          await sleep(1000 * attempt);
        }
      }
    } finally {
      copy.close();
    }
  }

  /** Puts in what the mailbox has not. @throws what the connection met with, or RefusedError when there is no such login */
  private async goThrough(user: string, copy: StoreCopy, folders: CopiedFolder[]): Promise<Passage> {
    const { imap, connections, dryRun } = this.options;
    const passage: Passage = { broken: new Map(), failed: new Map() };
    const mailbox = new Appender(imap, user, connections);
    try {
      const client = await mailbox.open();
      const reader = new FolderReader(imap, user, client);
      const { places, delimiter, trash } = await lookThrough(reader, (which, why) =>
        this.options.onProblem?.('unreadable', `${user}, ${which}`, why),
      );
      const target = (folder: string) => this.target(folder).split('/').join(delimiter);
      const messages = folders.flatMap((folder) => folder.messages);
      for (const one of messages) if (one.broken !== undefined) passage.broken.set(one, one.broken);
      const whole = messages.filter(({ broken }) => broken === undefined);
      const missing = notThere(whole, { places, target, trash });
      mailbox.release(reader.client);
      if (dryRun) {
        this.counts.restored += missing.length;
        return passage;
      }
      await this.makeFolders(reader.client, folders, target);
      await this.putAll(copy, mailbox, missing, target, passage);
      return passage;
    } finally {
      mailbox.close();
    }
  }

  private async putAll(
    copy: StoreCopy,
    mailbox: Appender,
    missing: CopiedMessage[],
    target: (folder: string) => string,
    { broken, failed }: Passage,
  ): Promise<void> {
    let lost: unknown;
    const put = async (one: CopiedMessage, message: Buffer) => {
      try {
        await mailbox.put(target(one.folder), { message, date: one.date, flags: one.flags });
        this.done.add(one);
        this.counts.restored++;
        this.bytes += message.length;
      } catch (error) {
        if (error instanceof RefusedError) failed.set(one, error.message);
        else lost ??= error;
      }
    };
    const underWay: Promise<unknown>[] = [];
    for (const chunk of chunks(missing)) {
      const release = await this.memory.take(chunk.reduce((sum, { size }) => sum + size, 0));
      if (lost) break;
      const sources = await copy.read(chunk);
      const puts = chunk.map(async (one) => {
        const source = sources.get(one.uid)!;
        if (source instanceof Error) broken.set(one, source.message);
        else await put(one, source);
      });
      underWay.push(Promise.all(puts).then(release));
    }
    await Promise.all(underWay);
    if (lost) throw lost;
  }

  /** Those of the copy, empty ones as well unless only some messages are wanted. */
  private async makeFolders(
    client: ImapFlow,
    folders: CopiedFolder[],
    target: (folder: string) => string,
  ): Promise<void> {
    const { message, from, to } = this.options.selection;
    const all = message === undefined && from === undefined && to === undefined;
    const there = new Set((await client.list()).map(({ path }) => path));
    for (const { name, subscribed, messages } of folders) {
      const path = target(name);
      if (there.has(path) || path === 'INBOX' || (messages.length === 0 && !all)) continue;
      await client.mailboxCreate(path);
      if (subscribed || name === 'INBOX') await client.mailboxSubscribe(path);
    }
  }

  private target(folder: string): string {
    return this.options.below === undefined ? folder : `${this.options.below}/${folder}`;
  }

  private tell(what: 'broken' | 'failed', user: string, messages: Map<CopiedMessage, string>): void {
    this.counts[what] += messages.size;
    for (const [{ folder, uid }, why] of messages) {
      this.options.onProblem?.(what, `${user}, ${folder}, UID ${uid}`, why);
    }
  }
}

/** What can't be read is told, and not there. */
async function lookThrough(
  reader: FolderReader,
  onUnreadable: (which: string, why: string) => void,
): Promise<{ places: Places; delimiter: string; trash?: string }> {
  const places: Places = new Map();
  const folders = await reader.client.list();
  for (const { path, flags } of folders) {
    if (flags.has('\\Noselect') || flags.has('\\NonExistent')) continue;
    const uids = (await reader.list(path)).map(({ uid }) => uid);
    for await (const [uid, one] of reader.read(path, uids, { size: true, headers: true })) {
      if (one instanceof Error) {
        onUnreadable(`${path}, UID ${uid}`, one.message);
        continue;
      }
      const identity = identityOf(one.headers ?? Buffer.alloc(0), one.size ?? 0);
      const known = places.get(identity);
      if (known) known.push(path);
      else places.set(identity, [path]);
    }
  }
  // ImapFlow leaves out flags that the folder it is in does not take, and one that is only looked into takes none.
  await (await reader.session()).mailboxClose();
  const trash = folders.find(({ specialUse }) => specialUse === '\\Trash')?.path;
  return { places, delimiter: folders[0]?.delimiter ?? '/', trash };
}

/**
 * The messages that a mailbox has not. Each copy in it stands for one message: for that of the same folder, and what is left for one
 * that was moved, but not what is in Trash.
 */
export function notThere(
  messages: readonly CopiedMessage[],
  { places, target, trash }: { places: Places; target: (folder: string) => string; trash?: string },
): CopiedMessage[] {
  const take = (identity: string, isIt: (path: string) => boolean): boolean => {
    const paths = places.get(identity) ?? [];
    const index = paths.findIndex(isIt);
    if (index >= 0) paths.splice(index, 1);
    return index >= 0;
  };
  return messages
    .filter(({ identity, folder }) => !take(identity, (path) => path === target(folder)))
    .filter(({ identity }) => !take(identity, (path) => path !== trash));
}

/** Of one folder each, and not too large to be read at once. */
function* chunks(messages: readonly CopiedMessage[]): Generator<CopiedMessage[]> {
  let chunk: CopiedMessage[] = [];
  let bytes = 0;
  for (const one of messages) {
    const isFull = chunk.length === CHUNK || bytes + one.size > CHUNK_BYTES;
    if (chunk.length > 0 && (isFull || chunk[0].folder !== one.folder)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(one);
    bytes += one.size;
  }
  if (chunk.length > 0) yield chunk;
}
