import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import type { ClientView } from '../../local/mail-clients';

/** Milliseconds that a server may take for one answer. */
const LIMIT = 60_000;

/** A connection that sends text and waits for the line that ends an answer; as little work as can be. */
export class LineConnection {
  /** Connects with TLS 1.3 and a full handshake: no session is ever kept. */
  public static async tls(endpoint: ClientView, port: number, localAddress?: string): Promise<LineConnection> {
    // Handed on to `connectTcp`, though its types do not say so.
    const source: ConnectionOptions & { localAddress?: string } = { localAddress };
    const socket = connectTls({ host: endpoint.address, port, ...source, ...tlsOptions(endpoint) });
    const connection = new LineConnection(socket);
    await connection.once('secureConnect');
    return connection;
  }

  public static async tcp(endpoint: ClientView, port: number): Promise<LineConnection> {
    const connection = new LineConnection(connectTcp({ host: endpoint.address, port }));
    await connection.once('connect');
    return connection;
  }

  private received = '';
  private failure?: Error;
  private unasked?: { readonly pattern: RegExp; listener(): void };
  private wanted?: { readonly pattern: RegExp; resolve(answer: string): void; reject(error: Error): void };

  private constructor(private socket: Socket) {
    this.listen();
  }

  /** Sends a line, or lines, and resolves to everything up to the line that matches. */
  public ask(text: string, last: RegExp): Promise<string> {
    this.socket.write(`${text}\r\n`);
    return this.until(last);
  }

  /** Resolves to everything up to the line that matches. `last` needs the flag `m`. */
  public until(last: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      this.wanted = { pattern: last, resolve, reject };
      this.look();
    });
  }

  /** Calls the listener whenever such a line comes while nothing is asked. */
  public listenFor(pattern: RegExp, listener: () => void): void {
    this.unasked = { pattern, listener };
  }

  public async startTls(endpoint: ClientView): Promise<void> {
    this.socket.removeAllListeners();
    this.socket = connectTls({ socket: this.socket, ...tlsOptions(endpoint) });
    this.listen();
    await this.once('secureConnect');
  }

  public close(): void {
    this.socket.destroy();
  }

  /** Called when the other side ends the connection. */
  public onEnd(listener: () => void): void {
    this.socket.once('close', listener);
  }

  private once(event: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.wanted = { pattern: /^(?!)/, resolve: () => undefined, reject };
      this.socket.once(event, () => {
        this.wanted = undefined;
        resolve();
      });
      this.look();
    });
  }

  private listen(): void {
    this.socket.setNoDelay(true).setEncoding('latin1').setTimeout(LIMIT);
    this.socket.on('data', (chunk) => {
      this.received += chunk;
      this.look();
    });
    this.socket.on('error', (error) => this.fail(error));
    this.socket.on('close', () => this.fail(new Error('the server closed the connection')));
    this.socket.on('timeout', () => {
      if (this.wanted) this.socket.destroy(new Error(`no answer within ${LIMIT / 1000} s`));
    });
  }

  private fail(error: Error): void {
    this.failure ??= error;
    this.look();
  }

  private look(): void {
    const { wanted, unasked } = this;
    if (!wanted) {
      if (unasked?.pattern.test(this.received)) {
        this.received = '';
        unasked.listener();
      }
      return;
    }
    if (wanted.pattern.test(this.received)) {
      const answer = this.received;
      this.received = '';
      this.wanted = undefined;
      wanted.resolve(answer);
    } else if (this.failure) {
      this.wanted = undefined;
      wanted.reject(new Error(`${this.failure.message} ${JSON.stringify(this.received.slice(-200))}`.trim()));
    }
  }
}

function tlsOptions({ hostname, authority }: ClientView): ConnectionOptions {
  return { servername: hostname, ca: authority, minVersion: 'TLSv1.3' };
}
