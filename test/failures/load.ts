import type { ImapFlow } from 'imapflow';
import { imapClient, submissionClient, type ClientView, type LocalUser } from '../../local/mail-clients';
import { sleep } from '../../local/run';
import { Attendance } from './attendance';
import { loadMessage, readLoadMessage, type Ledger } from './ledger';

/** A client waits so long before it tries again, milliseconds. */
const RETRY = 300;

/** A person's, milliseconds. */
export const PATIENCE = { connectionTimeout: 30_000, greetingTimeout: 30_000, socketTimeout: 60_000 };

/** What a client needs to know. */
export interface LoadOptions {
  readonly view: ClientView;
  readonly ledger: Ledger;
  readonly users: readonly LocalUser[];
  /** Milliseconds between two requests of a client. @default 1000 */
  readonly pace?: number;
}

/** Mail clients at work: they send, file, read, flag and wait for mail, and come back when they are interrupted. */
export class Load {
  public readonly attendances: Attendance[] = [];
  private stopped = false;
  private readonly clients: Promise<void>[] = [];
  private readonly open = new Set<ImapFlow>();

  constructor(private readonly options: LoadOptions) {}

  private get pace(): number {
    return this.options.pace ?? 1000;
  }

  /**
   * Starts the clients: each user has one that works and one that waits for mail (IDLE), every third one that opens a new
   * connection each time; and there are senders.
   */
  public start(senders: number): void {
    const { users } = this.options;
    users.forEach((user, index) => {
      this.begin(new Attendance('IMAP', true, `${user.address} works`), (attendance) => this.work(user, attendance));
      this.begin(new Attendance('IMAP', false, `${user.address} waits`), (attendance) => this.wait(user, attendance));
      if (index % 3 === 0)
        this.begin(new Attendance('IMAP', true, `${user.address} visits`), (attendance) =>
          this.visit(user, attendance),
        );
    });
    for (let number = 0; number < senders; number++) {
      const user = users[number % users.length];
      this.begin(new Attendance('SMTP', true, `${user.address} sends`), (attendance) => this.send(user, attendance));
    }
  }

  /** Resolves when all clients have gone, or hang. */
  public async stop(): Promise<void> {
    this.stopped = true;
    for (const client of this.open) client.close();
    await Promise.race([Promise.all(this.clients), sleep(5000)]);
  }

  private begin(attendance: Attendance, session: (attendance: Attendance) => Promise<void>): void {
    this.attendances.push(attendance);
    this.clients.push(
      (async () => {
        while (!this.stopped) {
          attendance.ask();
          await session(attendance).catch((error: Error) => !this.stopped && attendance.fail(reasonOf(error)));
          await sleep(RETRY);
        }
      })(),
    );
  }

  /** Sends one message, as a mail program does: a connection for each. */
  private async send(from: LocalUser, attendance: Attendance): Promise<void> {
    const { view, users, ledger } = this.options;
    const to = users[Math.floor(Math.random() * users.length)];
    const message = loadMessage(from.address, to.address);
    const transport = submissionClient(view, from, { greetingTimeout: 30_000, socketTimeout: 30_000 });
    try {
      ledger.sent++;
      await transport.sendMail({ envelope: { from: from.address, to: to.address }, raw: message.raw });
      ledger.acknowledge(message.id, to.address, 'SMTP');
      attendance.ok();
    } finally {
      transport.close();
    }
    await sleep(this.pace);
  }

  /** Files, reads and flags messages in one session. */
  private work(user: LocalUser, attendance: Attendance): Promise<void> {
    return this.session(user, async (client) => {
      attendance.ok();
      const known: { id: string; uid: number }[] = [];
      while (!this.stopped) {
        attendance.ask();
        const dice = Math.random();
        if (known.length === 0 || dice < 0.4) known.push(await this.file(client, user));
        else if (dice < 0.7) await this.read(client, known[Math.floor(Math.random() * known.length)]);
        else await this.flag(client, user, known[Math.floor(Math.random() * known.length)]);
        attendance.ok();
        await sleep(this.pace);
      }
    });
  }

  private async file(client: ImapFlow, user: LocalUser): Promise<{ id: string; uid: number }> {
    const { id, raw } = loadMessage(user.address, user.address);
    this.options.ledger.sent++;
    const answer = await client.append('INBOX', raw);
    if (!answer || answer.uid === undefined) throw new Error('APPEND was refused');
    this.options.ledger.acknowledge(id, user.address, 'APPEND');
    return { id, uid: answer.uid };
  }

  private async read(client: ImapFlow, message: { id: string; uid: number }): Promise<void> {
    const fetched = await client.fetchOne(String(message.uid), { source: true }, { uid: true });
    if (!fetched || !fetched.source) throw new Error(`message ${message.uid} can't be fetched`);
    const found = readLoadMessage(fetched.source.toString('latin1'));
    if (found?.id !== message.id || !found.whole) throw new Error(`message ${message.uid} is not what was filed`);
  }

  private async flag(client: ImapFlow, user: LocalUser, message: { id: string; uid: number }): Promise<void> {
    if (!(await client.messageFlagsAdd(String(message.uid), ['\\Flagged'], { uid: true }))) {
      throw new Error('STORE was refused');
    }
    const fetched = await client.fetchOne(String(message.uid), { flags: true }, { uid: true });
    if (fetched && fetched.flags?.has('\\Flagged')) this.options.ledger.flag(message.id, user.address);
  }

  /** Stays in IDLE until the connection ends; is told of new mail, which comes every few seconds. */
  private wait(user: LocalUser, attendance: Attendance): Promise<void> {
    return this.session(user, async (client) => {
      attendance.ok();
      client.on('exists', () => attendance.ok());
      while (!this.stopped && client.usable) await client.idle();
      if (!this.stopped) throw new Error('IDLE ended');
    });
  }

  /** Connects, looks, and goes. */
  private async visit(user: LocalUser, attendance: Attendance): Promise<void> {
    await this.session(user, async (client) => {
      await client.status('INBOX', { messages: true });
      attendance.ok();
    });
    await sleep(2 * this.pace);
  }

  private async session(user: LocalUser, use: (client: ImapFlow) => Promise<void>): Promise<void> {
    const client = imapClient(this.options.view, user, PATIENCE);
    this.open.add(client);
    try {
      await client.connect();
      await client.mailboxOpen('INBOX');
      await use(client);
    } finally {
      this.open.delete(client);
      client.close();
    }
  }
}

/** What an error says, with the server's words where the client keeps them apart. */
function reasonOf(error: Error & { responseText?: string }): string {
  return [error.message, error.responseText].filter(Boolean).join(': ');
}
