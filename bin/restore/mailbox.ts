import { setTimeout as sleep } from 'node:timers/promises';
import { ImapFlow, ListResponse } from 'imapflow';
import { arrivalOf, queueIdOf } from './journal-key';
import { messageIdOf } from './journal-message';
import { appendMany, canAppendMany } from './multi-append';

const DAY = 24 * 60 * 60 * 1000;
/** Messages whose header lines are asked for at once. */
const FETCH = 1000;
/** Messages and bytes that go in by one command. The server keeps all of them or none: a larger one costs more to repeat. */
const BATCH = 64;
const BATCH_BYTES = 8 << 20;
/** A node that goes, or a mailbox that moves to another, is back by then. Milliseconds before each further attempt. */
const PAUSES = [1000, 2000, 5000, 10_000, 20_000];

/** Where mailboxes are and how they are opened. */
export interface ImapServer {
  /** `imaps://host:993`, or `imap://host:143` with STARTTLS. */
  readonly url: string;
  /**
   * Name that the certificate must have, where one connects by a tunnel.
   * @default - the host of the URL
   */
  readonly tlsName?: string;
  /**
   * Login for a mailbox, with `{user}` for its address; a master user of Dovecot is `{user}*master`.
   * @default {user}
   */
  readonly login?: string;
  readonly password: string;
}

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
}

/** A message on its way into the mailbox. */
interface Pending {
  readonly queueId: string;
  readonly message: Buffer;
  readonly date: Date;
  resolve(): void;
  reject(error: unknown): void;
}

/** The server took the message in no way that a further attempt would change. */
export class RefusedError extends Error {}

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
    const mailbox = new Mailbox(server, user, options);
    try {
      const client = await mailbox.connect();
      await mailbox.lookThrough(client);
      mailbox.idle.push(client);
      return mailbox;
    } catch (error) {
      mailbox.close();
      throw error;
    }
  }

  /** Sizes by queue id. */
  private readonly there = new Map<string, number>();
  private readonly messageIds = new Set<string>();
  private readonly clients = new Set<ImapFlow>();
  private readonly idle: ImapFlow[] = [];
  /** What waits for a connection that is free. */
  private readonly pending: Pending[] = [];
  private opening = 0;
  private lost?: unknown;
  private path: string;

  private constructor(
    private readonly server: ImapServer,
    public readonly user: string,
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
   * @throws RefusedError, or what the connection met with: then nobody knows whether the message is there, and the mailbox
   *   must be opened anew
   */
  public async put(queueId: string, message: Buffer, date: Date): Promise<boolean> {
    if (this.has(queueId, message.length)) return false;
    // Before the server has it, so that another object of the same message does not come in between.
    const before = this.there.get(queueId);
    this.there.set(queueId, message.length);
    if (this.options.dryRun) return true;
    try {
      await new Promise<void>((resolve, reject) => {
        this.pending.push({ queueId, message, date, resolve, reject });
        this.pump();
      });
    } catch (error) {
      if (before === undefined) this.there.delete(queueId);
      else this.there.set(queueId, before);
      throw error;
    }
    return true;
  }

  public close(): void {
    for (const client of this.clients) client.close();
    this.clients.clear();
  }

  /** Gives what waits to connections that are free, as much as there is to each: while all are busy more comes together. */
  private pump(): void {
    if (this.lost) {
      for (const { reject } of this.pending.splice(0)) reject(this.lost);
      return;
    }
    while (this.pending.length > 0) {
      const client = this.idle.pop();
      if (!client) break;
      void this.send(client, this.nextBatch());
    }
    if (this.pending.length > this.opening && this.clients.size + this.opening < this.options.connections) {
      this.opening++;
      this.connect()
        .then((client) => this.idle.push(client))
        .catch((error) => (this.lost ??= error))
        .finally(() => {
          this.opening--;
          this.pump();
        });
    }
  }

  private nextBatch(): Pending[] {
    let count = 0;
    let bytes = 0;
    while (count < Math.min(BATCH, this.pending.length)) {
      bytes += this.pending[count].message.length;
      if (count > 0 && bytes > BATCH_BYTES) break;
      count++;
    }
    return this.pending.splice(0, count);
  }

  /** Resolves when each of them is told what came of it. */
  private async send(client: ImapFlow, batch: Pending[]): Promise<void> {
    if (batch.length > 1 && canAppendMany(client)) {
      try {
        await appendMany(client, this.path, this.options.flags, batch);
        for (const { resolve } of batch) resolve();
        this.idle.push(client);
        this.pump();
        return;
      } catch (error) {
        // None of them is in the mailbox. One by one it shows which it was.
        if (!isRefusal(error)) this.lost ??= error;
      }
    }
    for (const { message, date, resolve, reject } of batch) {
      if (this.lost) {
        reject(this.lost);
        continue;
      }
      try {
        // It says nothing when the connection is gone.
        if (!(await client.append(this.path, message, [...this.options.flags], date))) {
          throw new Error(`${this.server.url}: the connection is gone`);
        }
        resolve();
      } catch (error) {
        if (!isRefusal(error)) this.lost ??= error;
        reject(this.lost ?? new RefusedError(`${this.user}: ${textOf(error)}`));
      }
    }
    if (!this.lost) this.idle.push(client);
    this.pump();
  }

  private async connect(): Promise<ImapFlow> {
    for (let attempt = 0; ; attempt++) {
      const client = this.client();
      try {
        await client.connect();
        this.clients.add(client);
        return client;
      } catch (error) {
        client.close();
        const { serverResponseCode, authenticationFailed } = error as {
          serverResponseCode?: string;
          authenticationFailed?: boolean;
        };
        if (authenticationFailed && serverResponseCode === 'AUTHENTICATIONFAILED') {
          throw new RefusedError(`${this.user}: no login as ${this.login}: ${textOf(error)}`);
        }
        if (attempt === PAUSES.length) {
          throw new Error(`${this.server.url}: no login as ${this.login}: ${textOf(error)}`);
        }
        await sleep(PAUSES[attempt]);
      }
    }
  }

  private get login(): string {
    return (this.server.login ?? '{user}').replaceAll('{user}', this.user);
  }

  private client(): ImapFlow {
    const { protocol, hostname, port } = new URL(this.server.url);
    const secure = protocol === 'imaps:';
    // Its types name only some of what it takes.
    const options: ConstructorParameters<typeof ImapFlow>[0] & { doSTARTTLS?: boolean; disableCompression?: boolean } =
      {
        host: hostname,
        port: Number(port || (secure ? 993 : 143)),
        secure,
        ...(secure ? {} : { doSTARTTLS: true }),
        servername: this.server.tlsName,
        tls: {
          rejectUnauthorized: true,
          ...(this.server.tlsName ? { servername: this.server.tlsName } : {}),
        } as object,
        auth: { user: this.login, pass: this.server.password },
        logger: false,
        disableAutoIdle: true,
        // It costs both ends more processor than all the rest of an APPEND.
        disableCompression: true,
      };
    const client = new ImapFlow(options);
    client.on('error', () => undefined); // the failed command reports it as well
    return client;
  }

  private async lookThrough(client: ImapFlow): Promise<void> {
    const folders = await client.list();
    for (const folder of folders) {
      // What is in Trash is what somebody wants back.
      if (!folder.flags.has('\\Noselect') && !folder.flags.has('\\NonExistent') && folder.specialUse !== '\\Trash') {
        await this.lookInto(client, folder);
      }
    }
    this.path = this.options.folder.split('/').join(folders[0]?.delimiter ?? '/');
    const isThere = this.path.toUpperCase() === 'INBOX' || folders.some(({ path }) => path === this.path);
    if (!isThere && !this.options.dryRun) {
      await client.mailboxCreate(this.path);
      await client.mailboxSubscribe(this.path);
    }
  }

  private async lookInto(client: ImapFlow, { path }: ListResponse): Promise<void> {
    const { exists } = await client.mailboxOpen(path, { readOnly: true });
    if (exists === 0) return;
    // A copy is never older than its acceptance, but days of IMAP are days of somewhere.
    const since = new Date(Math.max(0, this.options.from.getTime() - 2 * DAY));
    const uids = (await client.search(this.options.byMessageId ? { all: true } : { since }, { uid: true })) || [];
    for (let start = 0; start < uids.length; start += FETCH) {
      const range = uids.slice(start, start + FETCH).join(',');
      const query = { uid: true, size: true, headers: ['received', 'message-id'] };
      for await (const { headers, size } of client.fetch(range, query, { uid: true })) {
        this.remember(headers?.toString() ?? '', size ?? 0);
      }
    }
    await client.mailboxClose();
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

/** Whether a further attempt would meet with the same. Dovecot says which faults pass: RFC 5530 section 3. */
function isRefusal(error: unknown): boolean {
  const { responseStatus, serverResponseCode } = error as { responseStatus?: string; serverResponseCode?: string };
  const passes = ['UNAVAILABLE', 'INUSE', 'SERVERBUG', 'TRYCREATE'].includes(serverResponseCode ?? '');
  return (responseStatus === 'NO' || responseStatus === 'BAD') && !passes;
}

/** What the server said, where it said something. */
function textOf(error: unknown): string {
  const { responseText, message } = error as { responseText?: string; message: string };
  return responseText ?? message;
}
