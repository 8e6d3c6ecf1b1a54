import type { ListResponse } from 'imapflow';
import { Appender } from './appender';
import { FolderReader } from './folder-reader';
import { ImapServer } from './imap-server';
import { arrivalOf, queueIdOf } from './journal-key';
import { messageIdOf } from './journal-message';

const DAY = 24 * 60 * 60 * 1000;

/** What is wanted of a mailbox. */
export interface MailboxOptions {
  /** Folder that messages are put into; made when it is missing. */
  readonly folder: string;
  /** Only what was accepted then is looked for. */
  readonly from: Date;
  readonly to: Date;
  /** Whether messages are recognised by their Message-ID, too. */
  readonly byMessageId: boolean;
  /** Connections to put messages in. */
  readonly connections: number;
  /** Flags of what is put in, such as `\\Seen`. */
  readonly flags: readonly string[];
  /** Whether nothing may be changed. */
  readonly dryRun: boolean;
  /** Told of each message that is in the mailbox and can't be read, by user, folder and UID, and why. */
  readonly onUnreadable?: (which: string, why: string) => void;
}

/**
 * A mailbox that mail is restored into, and what of it is there already.
 *
 * A message is known by the queue id in its topmost `Received:` of a Postfix and by its size. The queue id is unique in the cluster,
 * is in the name of the journal's object, and is in the message itself: so in the copy that was delivered, whatever folder it is in
 * now, as in one that was restored; with whatever Message-ID or none, and without a mark of ours in the message, or one of
 * the few keywords that a folder has room for. The server keeps it, so no file here could be lost or be out of step.
 */
export class Mailbox {
  /** Opens the mailbox and looks through all its folders but Trash. @throws RefusedError or what the connection met with */
  public static async open(server: ImapServer, user: string, options: MailboxOptions): Promise<Mailbox> {
    const mailbox = new Mailbox(user, new Appender(server, user, options.connections), options);
    let reader: FolderReader | undefined;
    try {
      reader = new FolderReader(server, user, await mailbox.appender.open());
      await mailbox.lookThrough(reader);
      mailbox.appender.release(reader.client);
      return mailbox;
    } catch (error) {
      reader?.close();
      mailbox.close();
      throw error;
    }
  }

  /** Sizes by queue id. */
  private readonly there = new Map<string, number>();
  private readonly messageIds = new Set<string>();
  private path: string;

  private constructor(
    private readonly user: string,
    private readonly appender: Appender,
    private readonly options: MailboxOptions,
  ) {
    this.path = options.folder;
  }

  /** Whether a message is there that was accepted under this id and has at least these bytes. */
  public has(queueId: string, size: number): boolean {
    return (this.there.get(queueId) ?? -1) >= size;
  }

  public hasMessageId(id: string | undefined): boolean {
    return id !== undefined && this.messageIds.has(id);
  }

  /**
   * Puts a message in, and says that it is there.
   *
   * @returns false when it was there already
   * @throws as `Appender.put`
   */
  public async put(queueId: string, message: Buffer, date: Date): Promise<boolean> {
    if (this.has(queueId, message.length)) return false;
    // Before the server has it, so that another object of the same message does not come in between.
    const before = this.there.get(queueId);
    this.there.set(queueId, message.length);
    if (this.options.dryRun) return true;
    try {
      await this.appender.put(this.path, { message, date, flags: this.options.flags });
    } catch (error) {
      if (before === undefined) this.there.delete(queueId);
      else this.there.set(queueId, before);
      throw error;
    }
    return true;
  }

  public close(): void {
    this.appender.close();
  }

  private async lookThrough(reader: FolderReader): Promise<void> {
    const folders = await reader.client.list();
    for (const folder of folders) {
      // What is in Trash is what somebody wants back.
      if (!folder.flags.has('\\Noselect') && !folder.flags.has('\\NonExistent') && folder.specialUse !== '\\Trash') {
        await this.lookInto(reader, folder);
      }
    }
    this.path = this.options.folder.split('/').join(folders[0]?.delimiter ?? '/');
    const isThere = this.path.toUpperCase() === 'INBOX' || folders.some(({ path }) => path === this.path);
    if (!isThere && !this.options.dryRun) {
      await reader.client.mailboxCreate(this.path);
      await reader.client.mailboxSubscribe(this.path);
    }
  }

  private async lookInto(reader: FolderReader, { path }: ListResponse): Promise<void> {
    const client = await reader.session();
    const { exists } = await client.mailboxOpen(path, { readOnly: true });
    if (exists === 0) {
      await client.mailboxClose();
      return;
    }
    // A copy is never older than its acceptance, but days of IMAP are days of somewhere.
    const since = new Date(Math.max(0, this.options.from.getTime() - 2 * DAY));
    const uids = (await client.search(this.options.byMessageId ? { all: true } : { since }, { uid: true })) || [];
    for await (const [uid, message] of reader.read(path, uids, { size: true, headers: ['received', 'message-id'] })) {
      // It does not count as there: what comes back is the same message, whole.
      if (message instanceof Error) this.options.onUnreadable?.(`${this.user}, ${path}, UID ${uid}`, message.message);
      else this.remember(message.headers?.toString() ?? '', message.size ?? 0);
    }
    await (await reader.session()).mailboxClose();
  }

  private remember(header: string, size: number): void {
    const queueId = queueIdOf(header);
    if (queueId !== undefined) {
      const arrival = arrivalOf(queueId);
      // Of what is of no interest nothing is kept: a mailbox may be large.
      if (arrival >= this.options.from.getTime() && arrival < this.options.to.getTime()) {
        this.there.set(queueId, Math.max(size, this.there.get(queueId) ?? 0));
      }
    }
    const messageId = this.options.byMessageId ? messageIdOf(header) : undefined;
    if (messageId !== undefined) this.messageIds.add(messageId);
  }
}
