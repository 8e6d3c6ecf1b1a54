import { spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, openSync, statfsSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import * as path from 'node:path';
import type { PlannedNode, PlannedPlace } from './plan';
import { onPath, run, start, waitFor } from './run';
import type { LocalStore } from './store';

/** NFS's port, so that what a node's firewall says of the store holds here. */
const PORT = 2049;

/** Seconds that the locks of a client that vanished stay: the lease of an NFS server. */
const LEASE = 30;

/** What can change a mailbox. The names are those of GlusterFS's trace translator. */
const TRACED = 'OPEN,CREATE,WRITE,RENAME,UNLINK,LINK,SYMLINK,TRUNCATE,FTRUNCATE,MKDIR,RMDIR';

export interface NetworkStoreOptions {
  /** Folder for configuration and logs. */
  readonly folder: string;
  /** Address that nodes reach it at. */
  readonly address: string;
  readonly places: readonly PlannedPlace[];
}

/**
 * A store behind the network, in the place of EFS where it matters that it is one: a node that is cut off doesn't reach
 * it, nor one whose kernel has closed the way to it, and the locks of a node that vanished stay for a while. GlusterFS,
 * because it serves a POSIX file system over TCP without a kernel module; each node has an export of its own on the one
 * set of files and locks, so that the log tells who changed what.
 */
export class NetworkStore implements LocalStore {
  /** Log of every change, by node. */
  public readonly log: string;
  /** The store's files, as this machine sees them. */
  public readonly folder: string;
  private process?: ChildProcess;

  constructor(private readonly options: NetworkStoreOptions) {
    this.log = path.join(options.folder, 'store.log');
    this.folder = path.join(options.folder, 'store');
  }

  public async start(): Promise<void> {
    if (!(await onPath('glusterfsd'))) throw new Error('glusterfsd is missing; install glusterfs-server');
    mkdirSync(this.folder);
    await run('mount', ['-t', 'tmpfs', '-o', 'mode=0755,size=4G', 'tmpfs', this.folder]);
    const volume = path.join(this.options.folder, 'store.vol');
    writeFileSync(volume, this.serverVolume());
    const log = openSync(path.join(this.options.folder, 'store-server.log'), 'a');
    this.process = start('glusterfsd', ['-N', '-f', volume, '-l', this.log, '-p', `${volume}.pid`], log);
    await waitFor('the store', 10_000, () => this.answers());
  }

  public stop(): void {
    this.process?.kill('SIGKILL');
    spawnSync('umount', ['--lazy', this.folder]);
  }

  public arguments(): string[] {
    return ['--bind=/dev/fuse'];
  }

  public files(node: PlannedNode): { readonly [path: string]: string } {
    return {
      'etc/mail-store.vol': this.clientVolume(node),
      // The node's own mount unit with another type: it is mounted, fenced and mounted anew as EFS is.
      'etc/systemd/system/srv-mail\\x2dstore.mount.d/local.conf': [
        '[Mount]',
        'What=/etc/mail-store.vol',
        'Type=glusterfs',
        // GlusterFS's trace translator falls over READDIRP.
        'Options=attribute-timeout=0,entry-timeout=0,use-readdirp=no,log-level=WARNING,log-file=/var/log/mail-store.log',
        '',
      ].join('\n'),
    };
  }

  /** Answers nobody until `resume`. */
  public stall(): void {
    this.process?.kill('SIGSTOP');
  }

  public resume(): void {
    this.process?.kill('SIGCONT');
  }

  /** Has no room for another byte until `empty`. */
  public async fill(): Promise<void> {
    // What is there may grow between the look and the change, which is refused then.
    await waitFor('the store to be full', 5000, async () => {
      const { blocks, bfree, bsize } = statfsSync(this.folder);
      await this.resize(`${(blocks - bfree) * bsize}`);
      return true;
    });
  }

  public async empty(): Promise<void> {
    await this.resize('4G');
  }

  private async resize(size: string): Promise<void> {
    await run('mount', ['-o', `remount,size=${size}`, this.folder]);
  }

  private answers(): Promise<true | undefined> {
    if (this.process?.exitCode !== null) throw new Error(`glusterfsd exited with ${this.process?.exitCode}`);
    return new Promise((resolve) => {
      const socket = createConnection({ host: this.options.address, port: PORT });
      socket.once('connect', () => resolve(true)).once('error', () => resolve(undefined));
      socket.once('connect', () => socket.destroy());
    });
  }

  private serverVolume(): string {
    const exports = this.options.places.map(({ name }) => name);
    return [
      volume('files', 'storage/posix', [`directory ${this.folder}`]),
      volume('locks', 'features/locks', [], ['files']),
      ...exports.map((name) => volume(name, 'debug/trace', [`include-ops ${TRACED}`, 'log-file yes'], ['locks'])),
      volume(
        'server',
        'protocol/server',
        [
          'transport-type tcp',
          `transport.socket.bind-address ${this.options.address}`,
          `transport.socket.listen-port ${PORT}`,
          `transport.tcp-user-timeout ${LEASE}`,
          ...exports.map((name) => `auth.addr.${name}.allow *`),
        ],
        exports,
      ),
    ].join('\n');
  }

  private clientVolume(node: PlannedNode): string {
    return volume('store', 'protocol/client', [
      'transport-type tcp',
      `remote-host ${this.options.address}`,
      `remote-port ${PORT}`,
      `remote-subvolume ${node.name}`,
      'ping-timeout 0', // it waits for a server that stalls, as a hard NFS mount does
    ]);
  }
}

/** A volume of a GlusterFS graph. */
function volume(name: string, type: string, options: string[], subvolumes: string[] = []): string {
  return [
    `volume ${name}`,
    `  type ${type}`,
    ...options.map((option) => `  option ${option}`),
    ...(subvolumes.length > 0 ? [`  subvolumes ${subvolumes.join(' ')}`] : []),
    'end-volume',
    '',
  ].join('\n');
}
