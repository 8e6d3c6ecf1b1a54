import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A real name server on this machine: Debian's knot. */
export interface NameServer {
  /** Address and port. */
  readonly address: string;
  stop(): Promise<void>;
}

// Debian keeps it where not every user looks.
const environment = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };

export const knotInstalled = spawnSync('knotd', ['--version'], { env: environment }).error === undefined;

/**
 * Starts knot on a free loopback port with authority over some zones; ready when all are loaded.
 *
 * @param zones text of the zone files, by name of the zone
 * @throws when it refuses a zone, with what it says
 */
export async function startNameServer(zones: { [name: string]: string }): Promise<NameServer> {
  const folder = mkdtempSync(join(tmpdir(), 'knot-'));
  const port = await freePort();
  mkdirSync(join(folder, 'database'));
  const entries = Object.entries(zones).map(([name, text]) => {
    writeFileSync(join(folder, `${name}.zone`), text);
    return `  - domain: ${name}\n    file: ${join(folder, `${name}.zone`)}\n`;
  });
  const configuration = `server:
    rundir: ${folder}
    listen: 127.0.0.1@${port}
log:
  - target: stderr
    any: info
database:
    storage: ${join(folder, 'database')}
zone:
${entries.join('')}`;
  writeFileSync(join(folder, 'knot.conf'), configuration);
  const child = spawn('knotd', ['-c', join(folder, 'knot.conf')], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: environment,
  });
  const stop = async () => {
    if (child.exitCode === null) {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  const lines: string[] = [];
  let loaded = 0;
  for await (const line of createInterface({ input: child.stderr })) {
    lines.push(line);
    loaded += /\[.+\] loaded, serial/.test(line) ? 1 : 0;
    if (/error: \[/.test(line)) break;
    if (loaded === entries.length) {
      child.stderr.resume();
      return { address: `127.0.0.1:${port}`, stop };
    }
  }
  await stop();
  throw new Error(`knotd did not start: ${lines.slice(-5).join('\n')}`);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
