import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { constants, createDeflateRaw, createInflateRaw } from 'node:zlib';
import { waitFor } from '../../local/run';

/** A client of a line protocol (IMAP, POP3, SMTP, ManageSieve) that sends and expects exactly what a test says. */
export class LineClient {
  public static async tls(host: string, port: number, options: ConnectionOptions): Promise<LineClient> {
    const socket = connectTls({ host, port, ...options });
    await event(socket, 'secureConnect');
    return new LineClient(socket);
  }

  public static async tcp(host: string, port: number, localAddress?: string): Promise<LineClient> {
    const socket = connectTcp({ host, port, localAddress });
    await event(socket, 'connect');
    return new LineClient(socket);
  }

  /** What another mail server has: a session on port 25, after EHLO. */
  public static async mx(host: string, localAddress?: string): Promise<LineClient> {
    const client = await LineClient.tcp(host, 25, localAddress);
    await client.expect(/^220 /);
    await client.ask('EHLO mx.example.net', /^250 /);
    return client;
  }

  private unread = '';
  private ended = false;
  private deflate?: ReturnType<typeof createDeflateRaw>;
  private wake: () => void = () => undefined;

  private constructor(private socket: Socket) {
    this.listen();
  }

  public send(line: string): void {
    this.write(`${line}\r\n`);
  }

  /** Sends text as it is. */
  public write(text: string): void {
    if (!this.deflate) this.socket.write(text);
    else this.deflate.write(text);
  }

  /** Bytes that came over the network since the connection was made, or since TLS began. */
  public get bytesRead(): number {
    return this.socket.bytesRead;
  }

  /** Resolves when the server has ended the connection. @throws Error when it has not after 20 s. */
  public async ends(): Promise<void> {
    await waitFor('the server to end the connection', 20_000, async () => this.ended || undefined);
  }

  /** Resolves to everything up to the line that matches. @throws Error with what came instead, after 20 s or at the end. */
  public async expect(pattern: RegExp): Promise<string> {
    const end = Date.now() + 20_000;
    let read = '';
    for (;;) {
      const newline = this.unread.indexOf('\n');
      if (newline >= 0) {
        const line = this.unread.slice(0, newline + 1);
        this.unread = this.unread.slice(newline + 1);
        read += line;
        if (pattern.test(line.trimEnd())) return read;
      } else if (this.ended || Date.now() > end) {
        throw new Error(`expected a line like ${pattern}, got ${JSON.stringify(read.slice(-2000))}`);
      } else {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 500);
          this.wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    }
  }

  /** Sends a line and resolves to the answer up to the line that matches. */
  public async ask(line: string, answer: RegExp): Promise<string> {
    this.send(line);
    return this.expect(answer);
  }

  /** Sends an IMAP command; resolves to its answer. @throws Error when the server does not say OK. */
  public async imap(command: string): Promise<string> {
    const answer = await this.ask(`a1 ${command}`, /^a1 /);
    if (!/^a1 OK/m.test(answer)) throw new Error(`${command}: ${answer.trim()}`);
    return answer;
  }

  /**
   * Hands a message over, in an SMTP session after EHLO. Sender and recipient may have parameters, such as `<a@example.net> SIZE=7`.
   *
   * @param message header, empty line and body, without an end of line at its end
   * @returns what the server says to the message, or to the recipient when it refuses that
   */
  public async mail(from: string, to: string, message: string): Promise<string> {
    await this.ask(`MAIL FROM:${inBrackets(from)}`, /^250 /);
    const answer = await this.ask(`RCPT TO:${inBrackets(to)}`, /^\d{3} /);
    if (!answer.startsWith('250')) return answer;
    await this.ask('DATA', /^354 /);
    return this.ask(`${message}\r\n.`, /^\d{3} /);
  }

  /** Starts TLS on the open connection. */
  public async startTls(options: ConnectionOptions): Promise<void> {
    this.socket.removeAllListeners();
    const secure = connectTls({ socket: this.socket, ...options });
    await event(secure, 'secureConnect');
    this.socket = secure;
    this.listen();
  }

  /** What is sent and what comes is compressed from here on (RFC 4978). */
  public startCompression(): void {
    const inflate = createInflateRaw({ finishFlush: constants.Z_SYNC_FLUSH });
    this.deflate = createDeflateRaw({ flush: constants.Z_SYNC_FLUSH });
    this.deflate.on('data', (chunk: Buffer) => this.socket.write(chunk));
    this.socket.removeAllListeners('data');
    this.socket.on('data', (chunk) => inflate.write(Buffer.from(String(chunk), 'latin1')));
    inflate.on('data', (chunk: Buffer) => this.hear(chunk.toString('latin1')));
  }

  public close(): void {
    this.socket.destroy();
  }

  private hear(text: string): void {
    this.unread += text;
    this.wake();
  }

  private listen(): void {
    this.socket.setEncoding('latin1');
    this.socket.on('data', (chunk) => this.hear(String(chunk)));
    const end = () => {
      this.ended = true;
      this.wake();
    };
    this.socket.on('end', end).on('close', end).on('error', end);
  }
}

function inBrackets(address: string): string {
  return address.startsWith('<') ? address : `<${address}>`;
}

const SALTED = new Map<string, Buffer>();

/** The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding. */
export class ScramClient {
  private readonly nonce = randomBytes(18).toString('base64');
  private readonly firstBare: string;
  private serverSignature = '';

  constructor(
    user: string,
    private readonly password: string,
  ) {
    this.firstBare = `n=${user.replace(/=/g, '=3D').replace(/,/g, '=2C')},r=${this.nonce}`;
  }

  public first(): string {
    return `n,,${this.firstBare}`;
  }

  /** Answers the server's challenge. */
  public final(challenge: string): string {
    const { r, s, i } = Object.fromEntries(challenge.split(',').map((field) => [field[0], field.slice(2)]));
    if (!r.startsWith(this.nonce)) throw new Error('the server changed the nonce');
    const salted = this.saltedPassword(s, Number(i));
    const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest();
    const clientKey = hmac(salted, 'Client Key');
    const withoutProof = `c=biws,r=${r}`;
    const signed = `${this.firstBare},${challenge},${withoutProof}`;
    const signature = hmac(createHash('sha256').update(clientKey).digest(), signed);
    const proof = Buffer.from(clientKey.map((byte, index) => byte ^ signature[index]));
    this.serverSignature = hmac(hmac(salted, 'Server Key'), signed).toString('base64');
    return `${withoutProof},p=${proof.toString('base64')}`;
  }

  /** Computed once for each password and salt, as clients may keep it (RFC 5802, 5.1). */
  private saltedPassword(salt: string, rounds: number): Buffer {
    const name = `${this.password} ${salt} ${rounds}`;
    const known = SALTED.get(name);
    if (known) return known;
    const computed = pbkdf2Sync(this.password, Buffer.from(salt, 'base64'), rounds, 32, 'sha256');
    SALTED.set(name, computed);
    return computed;
  }

  /** True when the server has proved that it knows the password's verifier. */
  public verifies(last: string): boolean {
    return last === `v=${this.serverSignature}`;
  }
}

export const base64 = (text: string) => Buffer.from(text).toString('base64');
export const fromBase64 = (text: string) => Buffer.from(text, 'base64').toString();

function event(socket: Socket, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error?: Error) => reject(error ?? new Error(`closed before ${name}`));
    socket.once('error', fail).once('close', fail);
    socket.setTimeout(20_000, () => socket.destroy(new Error(`no ${name} within 20 s`)));
    socket.once(name, () => {
      socket.off('error', fail).off('close', fail).setTimeout(0);
      resolve();
    });
  });
}
