import { type ChildProcess } from 'node:child_process';
import { existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { joinNetwork } from '../network';
import { run, start, waitFor } from '../run';
import { NODE_ROOT, RUN_FOLDER, SCRIPTS } from './programs';

/** What all guests of a run share. */
export interface GuestHost {
  /** Folder of user-mode Linux and its programs (programs.ts). */
  readonly programs: string;
  /** Folder of the run: disks, consoles, what is laid on a guest's root. */
  readonly folder: string;
}

export interface GuestOptions {
  readonly name: string;
  readonly address: string;
  /** Prefix length of the network. */
  readonly prefixLength: number;
  /** MiB */
  readonly memory: number;
  /** Size of the disk, as truncate(1) takes it. */
  readonly disk: string;
  /** Script in `guest/` that is its first process. */
  readonly first: string;
  /** Environment of that script. */
  readonly environment: { readonly [name: string]: string };
}

/** A machine with a kernel of its own: user-mode Linux, one processor, a disk, a network card on the cluster's network. */
export class Guest {
  /** Gives all guests of a sandbox the folders that they boot from. */
  public static async host(host: GuestHost, nodeRoot: string): Promise<void> {
    const binds: [string, string][] = [
      [nodeRoot, NODE_ROOT],
      [host.folder, RUN_FOLDER],
      [path.join(__dirname, 'guest'), SCRIPTS],
      ['/dev', '/dev'],
      ['/proc', '/proc'],
    ];
    for (const [from, to] of binds) await run('mount', ['--rbind', from, path.join(host.programs, to)]);
  }

  private process?: ChildProcess;

  constructor(
    private readonly host: GuestHost,
    private readonly options: GuestOptions,
  ) {}

  /** The console's log. */
  public get log(): string {
    return path.join(this.host.folder, `${this.options.name}.log`);
  }

  /** Switches the machine on. A disk that is there already is kept, as at a boot after a power cut. */
  public async start(): Promise<void> {
    const { name, address, prefixLength, memory, disk } = this.options;
    const image = path.join(this.host.folder, `${name}.disk`);
    if (!existsSync(image)) {
      await run('truncate', ['--size', disk, image]);
      await run('mke2fs', ['-q', '-F', '-t', 'ext4', image]);
    }
    const card = await joinNetwork(name);
    const environment = {
      ...this.options.environment,
      GUEST_FILES: `${name}.files`,
      GUEST_ADDRESS: `${address}/${prefixLength}`,
    };
    const octets = address.split('.').map((octet) => Number(octet).toString(16).padStart(2, '0'));
    const kernel = [
      ...[`umid=${name}`, `uml_dir=${RUN_FOLDER}/uml`, `mem=${memory}M`, `ubda=${RUN_FOLDER}/${name}.disk`],
      ...[`vec0:transport=tap,ifname=${card},mac=02:00:${octets.join(':')},depth=128,gro=1`],
      ...['root=/dev/root', 'rootfstype=hostfs', 'ro', `init=${SCRIPTS}/${this.options.first}`],
      ...['con=null', 'con0=null,fd:1', 'console=tty0', 'quiet', 'panic=-1', 'lsm=yama'],
      // This kernel's mapping of its rings corrupts memory, and Node.js tries it.
      'sysctl.kernel.io_uring_disabled=2',
      ...Object.entries(environment).map(([key, value]) => `${key}=${value}`),
    ];
    const inGroup = 'mkdir -p "$0" && echo 0 > "$0/cgroup.procs" && exec "$@"';
    const command = ['sh', '-c', inGroup, this.group, 'chroot', this.host.programs, '/usr/bin/linux.uml', ...kernel];
    this.process = start(command[0], command.slice(1), openSync(this.log, 'a'), {
      env: { PATH: process.env.PATH, TMPDIR: '/dev/shm', HOME: RUN_FOLDER },
    });
    // The sandbox ends what still runs; nothing waits for it.
    this.process.unref();
  }

  /** Waits for a text on the console. @throws Error with the console's end when it does not come. */
  public async says(text: string, timeout: number): Promise<void> {
    const console = () => readFileSync(this.log, 'utf8');
    const said = await waitFor(`${this.options.name} to say "${text}"`, timeout, async () => {
      if (console().includes(text)) return true;
      return this.isOff() ? false : undefined;
    });
    if (!said) throw new Error(`${this.options.name} has ended: ${console().slice(-1500)}`);
  }

  /** Stops all of the machine at once, its kernel too, as a hypervisor that does not run it. */
  public async freeze(): Promise<void> {
    await this.setFrozen(true);
  }

  public async thaw(): Promise<void> {
    await this.setFrozen(false);
  }

  /** Ends the machine as a power cut does: what was not on a disk is gone. Resolves when nothing of it runs. */
  public async kill(): Promise<void> {
    this.killNow();
    await waitFor(`${this.options.name} to be off`, 10_000, async () => (this.isOff() ? true : undefined));
  }

  /** The same, without waiting for the end. */
  public killNow(): void {
    if (existsSync(this.group)) writeFileSync(`${this.group}/cgroup.kill`, '1');
  }

  private get group(): string {
    return `${process.env.MAIL_CGROUP}/guest-${this.options.name}`;
  }

  private isOff(): boolean {
    return this.process?.exitCode !== null || this.process.signalCode !== null;
  }

  private async setFrozen(frozen: boolean): Promise<void> {
    const mark = frozen ? '1' : '0';
    writeFileSync(`${this.group}/cgroup.freeze`, mark);
    await waitFor(`${this.options.name} to be ${frozen ? 'frozen' : 'thawed'}`, 5000, async () =>
      readFileSync(`${this.group}/cgroup.events`, 'utf8').includes(`frozen ${mark}`) ? true : undefined,
    );
  }
}
