import { type ChildProcess } from 'node:child_process';
import { mkdirSync, openSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import * as path from 'node:path';
import { plugIn, unplug } from './network';
import type { Plan, PlannedNode } from './plan';
import { run, start, waitFor, type Output, type RunOptions } from './run';
import { STORE, type LocalStore } from './store';

/** Where the nodes' file systems are mounted: a tmpfs of the sandbox. */
const MOUNTS = '/run/mail-nodes';

/** Units that have nothing to do, or can't do it, in a container: they are masked. */
const UNITS_OF_A_WHOLE_MACHINE = [
  // The address is set from outside. Waiting for a network manager to see it would take a minute.
  'systemd-networkd.service',
  'systemd-networkd.socket',
  'systemd-networkd-wait-online.service',
  'systemd-firstboot.service',
  // There is no mirror here; its wait for one would go on during the tests.
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  // There is no NFS here.
  'run-rpc_pipefs.mount',
];

export interface BootOptions {
  /** Folder of the root file system under the node's own changes. */
  readonly root: string;
  readonly store: LocalStore;
  /** Folder for the node's console log. */
  readonly logs: string;
  /** URL of the AWS stand-in. */
  readonly awsEndpoint: string;
  readonly plan: Plan;
  /** PEM of an authority that nodes trust beside those that Debian has. @default - none */
  readonly authority?: string;
}

/** A Debian 13 machine in systemd-nspawn: real systemd, real cloud-init, the launch template's own user data. */
export class LocalNode {
  private process?: ChildProcess;
  private leader?: number;
  private booting = true;

  constructor(
    public readonly planned: PlannedNode,
    private readonly options: BootOptions,
  ) {}

  public get name(): string {
    return this.planned.name;
  }

  public get address(): string {
    return this.planned.address;
  }

  /** Starts the machine; resolves when its process 1 runs. */
  public async boot(): Promise<void> {
    const root = await this.layRoot();
    await plugIn(this.planned, this.options.plan);
    const log = openSync(path.join(this.options.logs, `${this.name}.log`), 'a');
    const nspawn = [
      ...['systemd-nspawn', '--quiet', '--boot', '--register=no', '--keep-unit', '--link-journal=no'],
      ...['--resolv-conf=off', '--console=pipe', '--capability=CAP_NET_ADMIN', `--machine=${this.name}`],
      ...[`--directory=${root}`, ...this.options.store.arguments()],
      `--network-namespace-path=/run/netns/${this.name}`,
    ];
    // Machines have processors of their own: one that boots takes nothing from those that serve.
    const inGroup = 'mkdir -p "$0" && echo 0 > "$0/cgroup.procs" && exec nice -n 10 "$@"';
    this.process = start('sh', ['-c', inGroup, this.group, ...nspawn], log, {
      env: { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
    });
    const spawned = this.process.pid;
    this.leader = await waitFor(`${this.name} to start`, 20_000, async () => {
      if (this.process?.exitCode !== null) throw new Error(`systemd-nspawn exited with ${this.process?.exitCode}`);
      const children = readFileSync(`/proc/${spawned}/task/${spawned}/children`, 'utf8').trim();
      return children.split(' ').filter(Boolean).map(Number).find(isFirstProcess);
    });
  }

  /** Resolves when the health endpoint says that the node can serve. @throws Error with the last answer. */
  public async ready(timeout: number): Promise<void> {
    await waitFor(`${this.name} to be healthy`, timeout, async () => {
      const answer = await this.health();
      if (answer.status !== 200) throw new Error(answer.body.slice(0, 500));
      return answer;
    });
    if (this.booting) this.speedUp();
    this.booting = false;
  }

  private speedUp(group = this.group): void {
    const listed = ifThere(() => readFileSync(path.join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean));
    for (const pid of listed) ifThere(() => [setPriority(Number(pid), getPriority())]);
    const inside = ifThere(() => readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory()));
    for (const { name } of inside) this.speedUp(path.join(group, name));
  }

  /** What the health endpoint answers now. @throws Error when nothing answers. */
  public async health(): Promise<{ status: number; body: string }> {
    const response = await fetch(`http://${this.address}:8080/health`, { signal: AbortSignal.timeout(3000) });
    return { status: response.status, body: await response.text() };
  }

  /** Runs a command on the node as root. @throws Error when it fails. */
  public exec(command: string[], options: RunOptions = {}): Promise<Output> {
    if (this.leader === undefined) throw new Error(`${this.name} is not running`);
    const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid'];
    const environment = ['env', '-i', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin', 'LANG=C.UTF-8'];
    return run('nsenter', ['--target', String(this.leader), ...namespaces, '--', ...environment, ...command], options);
  }

  /** Runs a shell script on the node. @throws Error when it fails. */
  public async shell(script: string, options: RunOptions = {}): Promise<string> {
    return (await this.exec(['bash', '-c', script], options)).stdout;
  }

  /** Ends every process of the machine at once. */
  public kill(): void {
    for (const pid of [this.process?.pid, this.leader]) {
      try {
        if (pid !== undefined) process.kill(pid, 'SIGKILL');
      } catch {
        // already gone
      }
    }
  }

  /** Ends the machine as a power cut does: nobody hears from it any more, not even that its connections are closed. */
  public async cutPower(): Promise<void> {
    await this.unplug();
    this.thaw(); // a frozen process dies when it goes on
    this.kill();
  }

  /** Takes the network cable out. */
  public async unplug(): Promise<void> {
    await run('ip', ['link', 'set', this.name, 'down']);
  }

  /** Puts the network cable in again. */
  public async plugAgain(): Promise<void> {
    await run('ip', ['link', 'set', this.name, 'up']);
  }

  /** Stops every process of the machine, and its kernel's work for them, where they are. */
  public freeze(): void {
    writeFileSync(path.join(this.group, 'cgroup.freeze'), '1');
  }

  public thaw(): void {
    writeFileSync(path.join(this.group, 'cgroup.freeze'), '0');
  }

  /** Frees the place of a machine that has ended. */
  public async clear(): Promise<void> {
    this.kill();
    await waitFor(`the processes of ${this.name} to end`, 20_000, async () =>
      readFileSync(path.join(this.group, 'cgroup.events'), 'utf8').includes('populated 0') ? true : undefined,
    );
    await unplug(this.planned);
    await run('umount', ['--lazy', path.join(MOUNTS, this.name, 'root')]);
  }

  private get group(): string {
    return `${process.env.MAIL_CGROUP}/${this.name}`;
  }

  /** What helps to see why a node is not ready. */
  public async diagnosis(): Promise<string> {
    const script =
      'tail -n 25 /var/log/cloud-init-output.log; systemctl --no-pager --failed; journalctl --no-pager -p warning -n 25; ' +
      'tail -n 20 /var/log/mail-store.log 2>/dev/null';
    return this.shell(script, { timeout: 10_000 }).catch((error: Error) => error.message);
  }

  /** Mounts the node's file system over the shared root and gives it what EC2 gives a new instance. */
  private async layRoot(): Promise<string> {
    const base = path.join(MOUNTS, this.name);
    rmSync(base, { recursive: true, force: true });
    const folder = (name: string) => {
      mkdirSync(path.join(base, name), { recursive: true });
      return path.join(base, name);
    };
    const layers = `lowerdir=${this.options.root},upperdir=${folder('changes')},workdir=${folder('work')}`;
    const root = folder('root');
    await run('mount', ['-t', 'overlay', 'overlay', '-o', layers, root]);

    layInstance(root, this.planned, this.options);
    mkdirSync(path.join(root, STORE), { recursive: true });
    return root;
  }
}

/** Writes what EC2 gives a new instance below its root: its name, its user data, who answers for names and for AWS. */
export function layInstance(root: string, planned: PlannedNode, options: BootOptions): void {
  const write = (file: string, text: string) => {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    rmSync(path.join(root, file), { force: true });
    writeFileSync(path.join(root, file), text);
  };
  write('etc/hostname', `${planned.name}\n`);
  write('etc/resolv.conf', `nameserver ${options.plan.gateway}\n`);
  write('var/lib/cloud/seed/nocloud/user-data', planned.userData ?? options.plan.userData);
  write('var/lib/cloud/seed/nocloud/meta-data', `instance-id: ${planned.instanceId}\n`);
  write(
    'etc/cloud/cloud.cfg.d/99-local.cfg',
    'datasource_list: [NoCloud]\nnetwork: {config: disabled}\nresize_rootfs: false\n',
  );
  // Stands for the VPC's endpoints; nothing else on the node knows that it is not on AWS.
  write(
    'etc/systemd/system.conf.d/local.conf',
    `[Manager]\nDefaultEnvironment=AWS_ENDPOINT_URL=${options.awsEndpoint}\n`,
  );
  if (options.authority) {
    const bundle = 'etc/ssl/certs/ca-certificates.crt';
    write(bundle, readFileSync(path.join(root, bundle), 'utf8') + options.authority);
  }
  for (const [file, text] of Object.entries(options.store.files(planned))) write(file, text);
  const units = path.join(root, 'etc/systemd/system');
  mkdirSync(units, { recursive: true });
  for (const unit of UNITS_OF_A_WHOLE_MACHINE) {
    rmSync(path.join(units, unit), { force: true });
    symlinkSync('/dev/null', path.join(units, unit));
  }
}

/** True for process 1 of a process namespace below ours; systemd-nspawn has other children while it starts. */
function isFirstProcess(pid: number): boolean {
  const [, numbers] = /^NSpid:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return numbers?.endsWith('\t1') ?? false;
}

/** What the function gives; nothing when a process or a group has ended meanwhile. */
function ifThere<T>(look: () => T[]): T[] {
  try {
    return look();
  } catch {
    return [];
  }
}
