import type { ClientView } from '../../local/mail-clients';
import { LineConnection } from './line-connection';

/** A session of another mail server on port 25, with STARTTLS. */
export class SmtpSession {
  public static async open(endpoint: ClientView): Promise<SmtpSession> {
    const connection = await LineConnection.tcp(endpoint, 25);
    const session = new SmtpSession(connection);
    try {
      await connection.until(/^220 [^\n]*\n/m);
      await session.say(`EHLO ${endpoint.hostname}`, 250);
      await session.say('STARTTLS', 220);
      await connection.startTls(endpoint);
      await session.say(`EHLO ${endpoint.hostname}`, 250);
    } catch (error) {
      connection.close();
      throw error;
    }
    return session;
  }

  private constructor(private readonly connection: LineConnection) {}

  /** Resolves when the server has taken the message. */
  public async send(from: string, to: string, message: string): Promise<void> {
    await this.say(`MAIL FROM:<${from}>`, 250);
    await this.say(`RCPT TO:<${to}>`, 250);
    await this.say('DATA', 354);
    await this.say(`${message}\r\n.`, 250);
  }

  public async quit(): Promise<void> {
    try {
      await this.say('QUIT', 221);
    } finally {
      this.connection.close();
    }
  }

  private async say(text: string, code: number): Promise<void> {
    const answer = await this.connection.ask(text, /^\d{3} [^\n]*\n/m);
    if (!new RegExp(`^${code}[ \r]`, 'm').test(answer)) throw new Error(`${text.slice(0, 40)}: ${answer.trim()}`);
  }
}
