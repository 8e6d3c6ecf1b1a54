import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import * as path from 'node:path';
import { LocalNode, layInstance, type BootOptions } from '../node';
import type { PlannedNode } from '../plan';
import { type Output, type RunOptions, waitFor } from '../run';
import { Guest, type GuestHost } from './guest';

const SHELL_PORT = 9;
const TRUSTED = 'etc/ssl/certs/ca-certificates.crt';

/** A node that is a guest: it has its own kernel, and mounts the store itself as the launch template's user data says. */
export class GuestNode extends LocalNode {
  public readonly machine: Guest;

  constructor(
    planned: PlannedNode,
    private readonly host: GuestHost,
    private readonly boots: BootOptions,
    /** File of the authority that vouches for the store, as one in Debian's list does for EFS. */
    private readonly authority: string,
  ) {
    super(planned, boots);
    this.machine = new Guest(host, {
      name: planned.name,
      address: planned.address,
      prefixLength: boots.plan.prefixLength,
      memory: 1024,
      disk: '4G',
      first: 'start-node',
      environment: { GUEST_GATEWAY: boots.plan.gateway },
    });
  }

  /** Switches the machine on; resolves when it runs commands. */
  public override async boot(): Promise<void> {
    this.layFiles();
    await this.machine.start();
    await waitFor(`${this.name} to run commands`, 90_000, () => this.shell('true').then(() => true)).catch(
      (error: Error) => {
        throw new Error(`${error.message}\n${readFileSync(this.machine.log, 'utf8').slice(-3000)}`);
      },
    );
  }

  public override exec(command: string[], options: RunOptions = {}): Promise<Output> {
    const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    return new Promise((resolve, reject) => {
      const socket = connect(SHELL_PORT, this.address);
      const fail = (why: string) => {
        socket.destroy();
        reject(new Error(`${command.slice(0, 4).join(' ')} on ${this.name} ${why}`));
      };
      const timer = setTimeout(() => fail('took too long'), options.timeout ?? 60_000);
      const received: Buffer[] = [];
      socket.on('connect', () => socket.end(`${Buffer.byteLength(quoted)}\n${quoted}${options.input ?? ''}`));
      socket.on('data', (bytes) => received.push(bytes));
      socket.on('error', (error) => fail(error.message));
      socket.on('close', () => {
        clearTimeout(timer);
        const [stdout, stderr, status] = Buffer.concat(received).toString().split('\0');
        if (status === '0') resolve({ stdout, stderr });
        else fail(`failed (${status}): ${`${stdout}\n${stderr}`.trim().split('\n').slice(-15).join('\n')}`);
      });
    });
  }

  public override kill(): void {
    this.machine.killNow();
  }

  /** What the guest's first process lays over the nodes' root file system (guest/start-node). */
  private layFiles(): void {
    const root = path.join(this.host.folder, `${this.name}.files`);
    layInstance(root, this.planned, this.boots);
    const units = path.join(root, 'etc/systemd/system');
    rmSync(path.join(units, 'run-rpc_pipefs.mount')); // here the store is mounted by NFS
    const shell = 'guest-shell.socket';
    for (const unit of [shell, 'guest-shell@.service'])
      copyFileSync(path.join(__dirname, 'guest', unit), path.join(units, unit));
    mkdirSync(path.join(units, 'sockets.target.wants'), { recursive: true });
    rmSync(path.join(units, 'sockets.target.wants', shell), { force: true });
    symlinkSync(`../${shell}`, path.join(units, 'sockets.target.wants', shell));
    mkdirSync(path.join(root, 'usr/sbin'), { recursive: true });
    copyFileSync(path.join(__dirname, 'guest/nft'), path.join(root, 'usr/sbin/nft'));
    mkdirSync(path.dirname(path.join(root, TRUSTED)), { recursive: true });
    const authorities = [path.join(this.boots.root, TRUSTED), this.authority].map((file) => readFileSync(file, 'utf8'));
    writeFileSync(path.join(root, TRUSTED), authorities.join(''));
  }
}
