import type { ClientView, LocalUser } from '../../local/mail-clients';
import { base64, fromBase64, ScramClient } from '../../test/system/line-client';
import type { Mechanism } from './job';
import { LineConnection } from './line-connection';

export interface ImapOptions {
  /** @default 'plain' */
  readonly mechanism?: Mechanism;
  /** Address of the client. @default - the kernel's choice */
  readonly from?: string;
}

/** An IMAP session on port 993. */
export class ImapSession {
  /** Connects and logs in with the password. */
  public static async open(
    endpoint: ClientView,
    user: LocalUser,
    { mechanism, from }: ImapOptions = {},
  ): Promise<ImapSession> {
    const session = new ImapSession(await LineConnection.tls(endpoint, 993, from));
    try {
      await session.connection.until(/^\* OK [^\n]*\n/m);
      if (mechanism === 'scram') await session.scram(user);
      else await session.command(`LOGIN ${user.address} ${user.password}`);
    } catch (error) {
      session.connection.close();
      throw error;
    }
    return session;
  }

  private constructor(private readonly connection: LineConnection) {}

  private async scram({ address, password }: LocalUser): Promise<void> {
    const client = new ScramClient(address, password);
    const challenge = await this.answer(`a AUTHENTICATE SCRAM-SHA-256 ${base64(client.first())}`);
    const proof = await this.answer(base64(client.final(fromBase64(challenge))));
    if (!client.verifies(fromBase64(proof))) throw new Error('AUTHENTICATE: the server does not know the password');
    const end = await this.connection.ask('', /^a [^\n]*\n/m);
    if (!/^a OK/m.test(end)) throw new Error(`AUTHENTICATE: ${end.trim()}`);
  }

  /** Sends a line of an authentication, resolves to what the server sends back. @throws Error when it ends that. */
  private async answer(line: string): Promise<string> {
    const answer = await this.connection.ask(line, /^(\+|a) [^\n]*\n/m);
    if (!answer.startsWith('+ ')) throw new Error(`AUTHENTICATE: ${answer.trim()}`);
    return answer.slice(2).trim();
  }

  /** @throws Error when the server does not say OK. */
  public async command(text: string): Promise<string> {
    const answer = await this.connection.ask(`a ${text}`, /^a [^\n]*\n/m);
    if (!/^a OK/m.test(answer)) throw new Error(`${text.split(' ')[0]}: ${answer.slice(-200).trim()}`);
    return answer;
  }

  public async messages(): Promise<number> {
    return Number(/MESSAGES (\d+)/.exec(await this.command('STATUS INBOX (MESSAGES)'))?.[1]);
  }

  public async append(message: string): Promise<void> {
    await this.connection.ask(`a APPEND INBOX {${message.length}}`, /^\+ [^\n]*\n/m);
    const answer = await this.connection.ask(message, /^a [^\n]*\n/m);
    if (!/^a OK/m.test(answer)) throw new Error(`APPEND: ${answer.slice(-200).trim()}`);
  }

  /** Waits in IDLE; the session stays there. */
  public async idle(): Promise<void> {
    await this.connection.ask('a IDLE', /^\+ [^\n]*\n/m);
  }

  /** Called when the server tells of a new message; nothing is asked of it any more. */
  public onMessage(listener: () => void): void {
    this.connection.listenFor(/^\* \d+ EXISTS\r?\n/m, listener);
  }

  /** Called when the server ends the session. */
  public onEnd(listener: () => void): void {
    this.connection.onEnd(listener);
  }

  public async logout(): Promise<void> {
    try {
      await this.connection.ask('a LOGOUT', /^a OK[^\n]*\n/m);
    } finally {
      this.connection.close();
    }
  }

  public close(): void {
    this.connection.close();
  }
}
