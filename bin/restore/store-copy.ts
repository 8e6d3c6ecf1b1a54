import type { ImapFlow } from 'imapflow';
import { connectTo, ImapServer, textOf } from './imap-server';
import { identityOf } from './journal-key';
import { messageIdOf } from './journal-message';

/** Which messages of a copy of the store are wanted. */
export interface CopySelection {
  /**
   * Folders, each with those below it, `/` between levels.
   * @default - all but Trash
   */
  readonly fromFolders?: readonly string[];
  /**
   * Only messages with this Message-ID, with brackets.
   * @default - all
   */
  readonly message?: string;
  /** Only what came into the folder at this time or later (INTERNALDATE). */
  readonly from?: Date;
  /** Only what came before. */
  readonly to?: Date;
}

/** A message of the copy. */
export interface CopiedMessage {
  /** With `/` between levels. */
  readonly folder: string;
  readonly uid: number;
  readonly size: number;
  /** `identityOf` it. */
  readonly identity: string;
  /** Flags and keywords, without `\Recent`. */
  readonly flags: readonly string[];
  readonly date: Date;
}

/** A folder of the copy. */
export interface CopiedFolder {
  readonly name: string;
  readonly subscribed: boolean;
  readonly messages: readonly CopiedMessage[];
}

/** A mailbox of a copy of the store, which an IMAP server serves; only to read. */
export class StoreCopy {
  /** @throws RefusedError when the server has no such mailbox */
  public static async open(server: ImapServer, user: string): Promise<StoreCopy> {
    return new StoreCopy(server, user, await connectTo(server, user));
  }

  private delimiter = '/';

  private constructor(
    private readonly server: ImapServer,
    private readonly user: string,
    private client: ImapFlow,
  ) {}

  /** Folders with what is wanted of each. @throws when one can't be read */
  public async folders(selection: CopySelection, onMessage: () => void): Promise<CopiedFolder[]> {
    const found: CopiedFolder[] = [];
    for (const { path, delimiter, flags, subscribed } of await this.client.list()) {
      const name = path.split(delimiter).join('/');
      if (flags.has('\\Noselect') || flags.has('\\NonExistent') || !isWanted(name, selection.fromFolders)) continue;
      this.delimiter = delimiter;
      const messages = await this.messages(path, name, selection, onMessage);
      found.push({ name, subscribed: subscribed ?? false, messages });
    }
    return found;
  }

  /** Messages of one folder, whole, by UID; of what can't be read, why. @throws when the server is away */
  public async read(messages: readonly CopiedMessage[]): Promise<Map<number, Buffer | Error>> {
    const found = new Map<number, Buffer | Error>();
    await this.fetch(messages, found).catch(() => undefined);
    for (const one of messages) {
      if (found.has(one.uid)) continue;
      // A file that can't be read ends Dovecot's session. One by one it shows which it was.
      await this.fetch([one], found).catch((error) => found.set(one.uid, new Error(textOf(error))));
      if (!found.has(one.uid)) found.set(one.uid, new Error('the copy does not give it'));
    }
    return found;
  }

  public close(): void {
    this.client.close();
  }

  private async messages(
    path: string,
    folder: string,
    { message, from, to }: CopySelection,
    onMessage: () => void,
  ): Promise<CopiedMessage[]> {
    const found: CopiedMessage[] = [];
    const { exists } = await this.client.mailboxOpen(path, { readOnly: true });
    if (exists === 0) return found;
    const query = { uid: true, size: true, flags: true, internalDate: true, headers: true };
    for await (const { uid, size = 0, flags = [], internalDate, headers } of this.client.fetch('1:*', query)) {
      onMessage();
      const date = new Date(internalDate ?? 0);
      const header = headers ?? Buffer.alloc(0);
      if ((from && date < from) || (to && date >= to)) continue;
      if (message !== undefined && messageIdOf(header.toString('latin1')) !== message) continue;
      const kept = [...flags].filter((flag) => flag !== '\\Recent');
      found.push({ folder, uid, size, identity: identityOf(header, size), flags: kept, date });
    }
    return found;
  }

  private async fetch(messages: readonly CopiedMessage[], found: Map<number, Buffer | Error>): Promise<void> {
    if (!this.client.usable) {
      this.client.close();
      this.client = await connectTo(this.server, this.user);
    }
    const path = messages[0].folder.split('/').join(this.delimiter);
    if (typeof this.client.mailbox !== 'object' || this.client.mailbox.path !== path) {
      await this.client.mailboxOpen(path, { readOnly: true });
    }
    const sizes = new Map(messages.map(({ uid, size }) => [uid, size]));
    const range = messages.map(({ uid }) => uid).join(',');
    for await (const { uid, source } of this.client.fetch(range, { uid: true, source: true }, { uid: true })) {
      if (!source) continue;
      const size = sizes.get(uid);
      const isWhole = source.length === size;
      found.set(uid, isWhole ? source : new Error(`it has ${source.length} bytes, announced were ${size}`));
    }
  }
}

function isWanted(name: string, folders?: readonly string[]): boolean {
  if (folders === undefined) return name !== 'Trash';
  const isBelow = (folder: string) => name === folder || name.startsWith(`${folder}/`);
  return folders.some((folder) => isBelow(folder.toUpperCase() === 'INBOX' ? 'INBOX' : folder));
}
