import { createServer, IncomingMessage, request, ServerResponse } from 'node:http';
import { AddressInfo } from 'node:net';

/** A request to an AWS API on its way through the proxy. */
export interface ProxiedRequest {
  /** 1 for the first one since the last `behave`. */
  readonly number: number;
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Operation of a JSON protocol, such as `TrentService.Sign`; empty for S3. */
  readonly target: string;
}

/**
 * What becomes of a request: it passes; the connection breaks before it arrives; it arrives and the answer is lost, or breaks
 * off in the middle of its body; or the proxy answers itself.
 */
export type Fate = 'pass' | 'cut' | 'lose answer' | 'break off' | { readonly status: number; readonly body: string };

/** An HTTP proxy in front of one server that fails as told. */
export interface FaultyProxy {
  readonly url: string;
  /** Requests since the last `behave`. */
  readonly seen: ProxiedRequest[];
  /** How far the server's clock is ahead in its answers (`Date`), milliseconds. @default 0 */
  ahead: number;
  /** From now on requests meet the fate that the function gives; without a function all pass. */
  behave(fate?: (request: ProxiedRequest) => Fate | Promise<Fate>): void;
  stop(): Promise<void>;
}

/**
 * Starts a proxy on a free loopback port.
 *
 * It lets one request through at a time: moto checks the condition of a write and writes in two steps, so that two
 * conditional writes at once could both succeed, which they can't in S3.
 */
export async function startFaultyProxy(upstream: string): Promise<FaultyProxy> {
  let fateOf: (request: ProxiedRequest) => Fate | Promise<Fate> = () => 'pass';
  const seen: ProxiedRequest[] = [];
  let queue: Promise<void> = Promise.resolve();
  const server = createServer((incoming, outgoing) => {
    queue = queue.then(() => serve(incoming, outgoing)).catch(() => void outgoing.destroy());
  });

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) {
      chunks.push(chunk);
    }
    const asked = {
      number: seen.length + 1,
      method: incoming.method!,
      path: incoming.url!,
      target: String(incoming.headers['x-amz-target'] ?? ''),
    };
    seen.push(asked);
    const fate = await fateOf(asked);
    if (fate === 'cut') {
      incoming.socket.destroy();
    } else if (typeof fate === 'object') {
      outgoing.writeHead(fate.status, { 'content-type': asked.target ? 'application/x-amz-json-1.1' : 'text/xml' });
      outgoing.end(fate.body);
    } else {
      const { status, headers, body } = await forward(new URL(asked.path, upstream), incoming, Buffer.concat(chunks));
      if (fate === 'lose answer') {
        incoming.socket.destroy();
      } else {
        const date = new Date(Date.now() + proxy.ahead).toUTCString();
        outgoing.writeHead(status, { ...headers, ...(proxy.ahead && { date }) });
        if (fate === 'break off') outgoing.write(body.subarray(0, body.length / 2), () => incoming.socket.destroy());
        else outgoing.end(body);
      }
    }
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const proxy: FaultyProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    ahead: 0,
    behave(fate = () => 'pass') {
      seen.length = 0;
      fateOf = fate;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return proxy;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

function forward(url: URL, { method, headers }: IncomingMessage, body: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const onward = request(url, { method, headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('end', () =>
        resolve({ status: answer.statusCode!, headers: answer.headers, body: Buffer.concat(chunks) }),
      );
    });
    onward.on('error', reject);
    onward.end(body);
  });
}
