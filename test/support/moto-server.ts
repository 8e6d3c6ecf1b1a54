import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as path from 'node:path';
import { createInterface } from 'node:readline';

// As agent/src/main.ts does: nodes have Debian's Node.js.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

/** AWS APIs on this machine, by moto_server. */
export interface MotoServer {
  readonly url: string;
  /** For an SDK client. */
  readonly clientOptions: {
    readonly endpoint: string;
    readonly region: string;
    readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  };
  readonly stop: () => Promise<void>;
}

/**
 * Starts a server on a free port of the loopback interface; ready when it listens.
 *
 * @throws when it is not installed or ends
 */
export async function startMotoServer(): Promise<MotoServer> {
  const child = spawn('moto_server', ['-H', '127.0.0.1', '-p', '0'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // DynamoDB's conditional writes are atomic, moto's become so by this.
    env: { ...process.env, PYTHONPATH: path.join(__dirname, '..', '..', 'local', 'moto') },
  });
  const lines: string[] = [];
  child.once('error', (error) => lines.push(error.message));
  for await (const line of createInterface({ input: child.stderr })) {
    lines.push(line);
    const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(line) ?? [];
    if (!url) continue;
    // Each request is a line there; unread, the pipe fills and the server stops.
    child.stderr.resume();
    const credentials = { accessKeyId: 'testing', secretAccessKey: 'testing' };
    const stop = async () => {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    };
    return { url, clientOptions: { endpoint: url, region: 'eu-central-1', credentials }, stop };
  }
  throw new Error(`moto_server didn't start: ${lines.join('\n')}`);
}
