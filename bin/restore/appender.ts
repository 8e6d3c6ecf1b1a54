import type { ImapFlow } from 'imapflow';
import { connectTo, ImapServer, isRefusal, RefusedError, textOf } from './imap-server';
import { Appended, appendMany, canAppendMany } from './multi-append';

/** Messages and bytes that go in by one command. The server keeps all of them or none: a larger one costs more to repeat. */
const BATCH = 64;
const BATCH_BYTES = 8 << 20;

/** A message on its way into the mailbox. */
interface Pending extends Appended {
  readonly path: string;
  resolve(): void;
  reject(error: unknown): void;
}

/** Puts messages into the folders of a mailbox by several connections. What comes while all are busy goes in together. */
export class Appender {
  private readonly clients = new Set<ImapFlow>();
  private readonly idle: ImapFlow[] = [];
  /** What waits for a connection that is free. */
  private readonly pending: Pending[] = [];
  private opening = 0;
  private lost?: unknown;

  constructor(
    private readonly server: ImapServer,
    private readonly user: string,
    private readonly connections: number,
  ) {}

  /** A session of the mailbox, to look into it; give it, or one in its place, back by `release`. @throws RefusedError or what the connection met with */
  public async open(): Promise<ImapFlow> {
    const client = await connectTo(this.server, this.user);
    this.clients.add(client);
    return client;
  }

  public release(client: ImapFlow): void {
    this.clients.add(client);
    this.idle.push(client);
    this.pump();
  }

  /**
   * Resolves when the server has the message.
   *
   * @param path as the server names the folder, which must exist
   * @throws RefusedError, or what the connection met with: then nobody knows whether the message is there, and the mailbox
   *   must be looked through anew
   */
  public put(path: string, message: Appended): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.pending.push({ ...message, path, resolve, reject });
      this.pump();
    });
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
    if (this.pending.length > this.opening && this.clients.size + this.opening < this.connections) {
      this.opening++;
      this.open()
        .then((client) => this.idle.push(client))
        .catch((error) => (this.lost ??= error))
        .finally(() => {
          this.opening--;
          this.pump();
        });
    }
  }

  /** Of one folder. */
  private nextBatch(): Pending[] {
    const [{ path }] = this.pending;
    let count = 0;
    let bytes = 0;
    while (count < Math.min(BATCH, this.pending.length) && this.pending[count].path === path) {
      bytes += this.pending[count].message.length;
      if (count > 0 && bytes > BATCH_BYTES) break;
      count++;
    }
    return this.pending.splice(0, count);
  }

  /** Resolves when each of them is told what came of it. */
  private async send(client: ImapFlow, batch: Pending[]): Promise<void> {
    const many = canAppendMany(client);
    if (batch.length > 1 && many) {
      try {
        await appendMany(client, batch[0].path, batch);
        for (const { resolve } of batch) resolve();
        this.release(client);
        return;
      } catch (error) {
        // None of them is in the mailbox. One by one it shows which it was.
        if (!isRefusal(error)) this.lost ??= error;
      }
    }
    for (const { path, message, flags, date, resolve, reject } of batch) {
      if (this.lost) {
        reject(this.lost);
        continue;
      }
      try {
        if (many) {
          await appendMany(client, path, [{ message, flags, date }]);
        } else if (!(await client.append(path, message, [...flags], date))) {
          // It says nothing when the connection is gone.
          throw new Error(`${this.server.url}: the connection is gone`);
        }
        resolve();
      } catch (error) {
        if (!isRefusal(error)) this.lost ??= error;
        reject(this.lost ?? new RefusedError(`${this.user}: ${textOf(error)}`));
      }
    }
    if (this.lost) this.pump();
    else this.release(client);
  }
}
