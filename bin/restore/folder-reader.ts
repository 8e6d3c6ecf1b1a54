import type { FetchMessageObject, FetchQueryObject, ImapFlow } from 'imapflow';
import { connectTo, ImapServer, textOf } from './imap-server';

/** Messages that are asked for at once. */
const FETCH = 500;

/** A message that could be read, or why not. */
export type Fetched = FetchMessageObject | Error;

/**
 * Reads messages of a mailbox, those that can be read. A file that can't be ends Dovecot's session, so what comes after it is asked
 * for again in a new one.
 */
export class FolderReader {
  /** @param client a session of the mailbox; a new one takes its place when it ends */
  constructor(
    private readonly server: ImapServer,
    private readonly user: string,
    public client: ImapFlow,
  ) {}

  /** All messages of a folder, in their order, by what needs no file; nothing when it is empty. @throws when it can't be opened */
  public async list(path: string): Promise<FetchMessageObject[]> {
    await this.open(path);
    const mailbox = this.client.mailbox;
    if (typeof mailbox !== 'object' || mailbox.exists === 0) return [];
    const found: FetchMessageObject[] = [];
    for await (const one of this.client.fetch('1:*', { uid: true, flags: true, internalDate: true })) found.push(one);
    return found;
  }

  /** More of these messages of a folder, in ascending order of their UIDs. @throws when the server is away */
  public async *read(
    path: string,
    uids: readonly number[],
    query: FetchQueryObject,
  ): AsyncGenerator<[number, Fetched]> {
    let rest = uids;
    while (rest.length > 0) {
      const chunk = rest.slice(0, FETCH);
      const { found, error } = await this.fetch(path, chunk, query);
      yield* found;
      const missing = chunk.filter((uid) => !found.has(uid));
      rest = rest.slice(FETCH);
      if (missing.length > 0) {
        const [suspect, ...others] = missing;
        const alone = await this.fetch(path, [suspect], query);
        yield [suspect, alone.found.get(suspect) ?? alone.error ?? error ?? new Error('the server does not give it')];
        rest = [...others, ...rest];
      }
    }
  }

  /** The session, or a new one if it has ended. */
  public async session(): Promise<ImapFlow> {
    if (!this.client.usable) {
      this.client.close();
      this.client = await connectTo(this.server, this.user);
    }
    return this.client;
  }

  public close(): void {
    this.client.close();
  }

  private async fetch(path: string, uids: readonly number[], query: FetchQueryObject) {
    const found = new Map<number, FetchMessageObject>();
    await this.open(path);
    try {
      for await (const one of this.client.fetch(uids.join(','), { ...query, uid: true }, { uid: true })) {
        // Of one that can't be read Dovecot tells what needs no file, and ends the session.
        if ((query.headers && !one.headers) || (query.source && !one.source)) continue;
        found.set(one.uid, one);
      }
    } catch (error) {
      return { found, error: new Error(textOf(error)) };
    }
    return { found };
  }

  /** Only to read. */
  private async open(path: string): Promise<void> {
    await this.session();
    if (typeof this.client.mailbox !== 'object' || this.client.mailbox.path !== path) {
      await this.client.mailboxOpen(path, { readOnly: true });
    }
  }
}
