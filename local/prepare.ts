import { existsSync, mkdirSync } from 'node:fs';
import * as path from 'node:path';
import { CACHE } from './paths';
import type { Progress } from './progress';
import { rootFilesystem } from './root-filesystem';
import { onPath, run } from './run';

/** Commands that the local cluster uses, and Debian's package for each. */
const TOOLS: { [command: string]: string } = {
  mmdebstrap: 'mmdebstrap',
  'systemd-nspawn': 'systemd-container',
  haproxy: 'haproxy',
  dnsmasq: 'dnsmasq-base',
  ip: 'iproute2',
  nft: 'nftables',
  nsenter: 'util-linux',
  openssl: 'openssl',
  python3: 'python3',
};

/** Why nodes can't run on this machine, to be read after "the local cluster"; undefined when they can. */
export function whyNotHere(): string | undefined {
  if (process.platform !== 'linux') return `needs Linux namespaces; this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'needs root for namespaces and mounts; run it with sudo';
  return undefined;
}

/** What the cluster needs from the machine. */
export interface Prepared {
  /** Folder of the nodes' root file system. */
  readonly root: string;
  /** Command that starts the AWS stand-in. */
  readonly motoServer: string;
}

/**
 * Installs what is missing and builds the root file system; a second call finds all of it.
 *
 * @param moreTools commands that the caller needs beside those of the cluster, and Debian's package for each
 * @throws Error with one line that names what could not be installed.
 */
export async function prepare(progress: Progress, moreTools: { [command: string]: string } = {}): Promise<Prepared> {
  await installTools({ ...TOOLS, ...moreTools }, progress);
  const motoServer = await findMoto(progress);
  const root = await rootFilesystem(progress);
  return { root, motoServer };
}

/** Installs the packages of the commands that are missing. @throws Error that names them when that fails. */
export async function installTools(tools: { [command: string]: string }, progress: Progress): Promise<void> {
  const missing: string[] = [];
  for (const [command, debianPackage] of Object.entries(tools)) {
    if (!(await onPath(command))) missing.push(debianPackage);
  }
  if (missing.length === 0) return;
  if (!(await onPath('apt-get'))) throw new Error(`please install: ${missing.join(' ')}`);
  await progress.longStep(`apt-get install ${missing.join(' ')}`, async () => {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    try {
      await run('apt-get', ['update', '-q'], { env });
      await run('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...missing], { env });
    } catch (error) {
      throw new Error(`could not install ${missing.join(' ')}: ${(error as Error).message}`);
    }
  });
}

async function findMoto(progress: Progress): Promise<string> {
  if (await onPath('moto_server')) return 'moto_server';
  const environment = path.join(CACHE, 'moto');
  const command = path.join(environment, 'bin', 'moto_server');
  if (existsSync(command)) return command;
  await progress.longStep('pip install moto[server]', async () => {
    mkdirSync(CACHE, { recursive: true });
    try {
      await run('python3', ['-m', 'venv', environment]);
      await run(path.join(environment, 'bin', 'pip'), ['install', '-q', 'moto[server]~=5.2']);
    } catch (error) {
      throw new Error(`could not install moto[server] with python3-venv and pip: ${(error as Error).message}`);
    }
  });
  return command;
}
