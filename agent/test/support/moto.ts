import { spawn } from 'node:child_process';
import * as path from 'node:path';
import { createInterface } from 'node:readline';

// As main.ts does.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

export interface Moto {
  /** Endpoint and dummy credentials for an SDK client. */
  readonly clientOptions: {
    readonly endpoint: string;
    readonly region: string;
    readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  };
  stop(): void;
}

/** Starts `moto_server` on a free loopback port. */
export const startMoto = async (): Promise<Moto> => {
  const child = spawn('moto_server', ['-H', '127.0.0.1', '-p', '0'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // DynamoDB's conditional writes are atomic, moto's become so by this.
    env: { ...process.env, PYTHONPATH: path.join(__dirname, '..', '..', '..', 'local', 'moto') },
  });
  const stop = () => void child.kill('SIGKILL');
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    lines.push(line);
    const [endpoint] = /http:\/\/127\.0\.0\.1:\d+/.exec(line) ?? [];
    if (!endpoint) continue;
    // Each request is a line there; unread, the pipe fills and the server stops.
    child.stderr.resume();
    const credentials = { accessKeyId: 'testing', secretAccessKey: 'testing' };
    return { clientOptions: { endpoint, region: 'eu-central-1', credentials }, stop };
  }
  throw new Error(`moto_server didn't start: ${lines.join('\n')}`);
};
