import { connect, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface GreetingOptions {
  readonly port: number;
  /** Whether TLS starts with the first byte. */
  readonly implicitTls: boolean;
  /** What a healthy server's first line looks like. */
  readonly expected: RegExp;
  /** How the protocol says goodbye, without the line end. */
  readonly goodbye: string;
  /** @default 127.0.0.1 */
  readonly host?: string;
}

// A server that sends this much without a line end isn't one of ours.
const LONGEST_GREETING = 2048;

/**
 * Connects, waits for the server's greeting and takes leave.
 *
 * @throws when the connection or the TLS handshake fails, or the greeting isn't the expected one. Ends by the signal.
 */
export const checkGreeting = (options: GreetingOptions, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const address = { host: options.host ?? '127.0.0.1', port: options.port };
    const socket: Socket = options.implicitTls
      ? // The certificate is for the clients' name, not for 127.0.0.1; its expiry has a metric of its own.
        connectTls({ ...address, rejectUnauthorized: false })
      : connect(address);
    const abort = () => socket.destroy(new Error('aborted'));
    signal.addEventListener('abort', abort, { once: true });

    let received = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      received += chunk;
      const end = received.indexOf('\n');
      if (end < 0 && received.length < LONGEST_GREETING) return;
      socket.removeAllListeners('data');
      socket.resume();
      const line = received.slice(0, end < 0 ? LONGEST_GREETING : end).trim();
      if (options.expected.test(line)) {
        resolve();
        // Leaves in good order, so that the servers' logs don't show a lost connection at each check.
        socket.end(`${options.goodbye}\r\n`);
        socket.setTimeout(1000, () => socket.destroy());
      } else {
        reject(new Error(`port ${options.port} greeted with ${JSON.stringify(line.slice(0, 200))}`));
        socket.destroy();
      }
    });
    socket.on('error', (error) => reject(new Error(`port ${options.port}: ${error.message}`)));
    socket.on('close', () => {
      signal.removeEventListener('abort', abort);
      reject(new Error(`port ${options.port} closed the connection without a greeting`));
    });
  });
