import { FolderReader } from './folder-reader';
import { connectTo, ImapServer } from './imap-server';
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
  /** Why not even its header can be read; then it has no identity. */
  readonly broken?: string;
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
    return new StoreCopy(new FolderReader(server, user, await connectTo(server, user)));
  }

  private delimiter = '/';

  private constructor(private readonly reader: FolderReader) {}

  /**
   * Folders with what is wanted of each.
   *
   * @param onMessage called for each message that is looked at
   * @throws when a folder can't be opened
   */
  public async folders(selection: CopySelection, onMessage: () => void): Promise<CopiedFolder[]> {
    const found: CopiedFolder[] = [];
    for (const { path, delimiter, flags, subscribed } of await this.reader.client.list()) {
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
    const sizes = new Map(messages.map(({ uid, size }) => [uid, size]));
    const path = messages[0].folder.split('/').join(this.delimiter);
    for await (const [uid, one] of this.reader.read(path, [...sizes.keys()], { source: true })) {
      found.set(uid, one instanceof Error ? one : wholeSource(one.source, sizes.get(uid)!));
    }
    return found;
  }

  public close(): void {
    this.reader.close();
  }

  private async messages(
    path: string,
    folder: string,
    { message, from, to }: CopySelection,
    onMessage: () => void,
  ): Promise<CopiedMessage[]> {
    const found: CopiedMessage[] = [];
    const listed = new Map((await this.reader.list(path)).map((one) => [one.uid, one]));
    for await (const [uid, one] of this.reader.read(path, [...listed.keys()], { size: true, headers: true })) {
      onMessage();
      const { flags = [], internalDate } = listed.get(uid)!;
      const date = new Date(internalDate ?? 0);
      if ((from && date < from) || (to && date >= to)) continue;
      const common = { folder, uid, date, flags: [...flags].filter((flag) => flag !== '\\Recent') };
      if (one instanceof Error) {
        // Which message it is nobody can tell.
        if (message === undefined) found.push({ ...common, size: 0, identity: '', broken: one.message });
        continue;
      }
      const { headers = Buffer.alloc(0), size = 0 } = one;
      if (message !== undefined && messageIdOf(headers.toString('latin1')) !== message) continue;
      found.push({ ...common, size, identity: identityOf(headers, size) });
    }
    return found;
  }
}

function wholeSource(source: Buffer | undefined, size: number): Buffer | Error {
  if (source?.length === size) return source;
  return new Error(`it has ${source?.length ?? 0} bytes, announced were ${size}`);
}

function isWanted(name: string, folders?: readonly string[]): boolean {
  if (folders === undefined) return name !== 'Trash';
  const isBelow = (folder: string) => name === folder || name.startsWith(`${folder}/`);
  return folders.some((folder) => isBelow(folder.toUpperCase() === 'INBOX' ? 'INBOX' : folder));
}
