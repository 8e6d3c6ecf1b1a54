import { ChildProcess, spawn } from 'node:child_process';
import { AddressInfo, createServer } from 'node:net';

/** AWS APIs on this machine, by moto_server. */
export interface MotoServer {
  readonly url: string;
  readonly stop: () => Promise<void>;
}

/** Starts a server on a free port of the loopback interface; ready when it answers. */
export async function startMotoServer(): Promise<MotoServer> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawn('moto_server', ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  const gone = new Promise<never>((_resolve, reject) => {
    child.once('error', (error) => reject(new Error(`moto_server does not start: ${error.message}`)));
    child.once('exit', (code) => reject(new Error(`moto_server ended with ${code}`)));
  });
  // Once it is up, its end is expected.
  gone.catch(() => undefined);
  await Promise.race([gone, answering(url)]);
  return { url, stop: () => stop(child) };
}

async function answering(url: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    try {
      await fetch(`${url}/moto-api/data.json`);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  throw new Error(`moto_server does not answer at ${url}`);
}

function stop(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill();
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
