import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { run } from '../local/run';

/** Where `countMemory` mounts the memory controller of cgroup v1: in the sandbox, so it goes away with it. */
const MEMORY_V1 = '/run/bench-memory';

/** Clock ticks of /proc/PID/stat in a second: the same on all architectures of Linux (proc(5)). */
const TICKS = 100;

/** What the kernel counts for a machine, bytes. */
export interface Memory {
  /** Of the processes alone: neither files nor what is shared with files. */
  readonly anonymous: number;
  /** The kernel's own for them: sockets, open files, watches, stacks, page tables. */
  readonly kernel: number;
}

/** Processes of one name. */
export interface Part {
  readonly processes: number;
  /** Proportional set size: what each has to itself, and its share of what several use. Bytes. */
  readonly pss: number;
  /** Address space of the largest, which `vsz_limit` limits. Bytes. */
  readonly addressSpace: number;
  /** Processor time since each began, seconds. */
  readonly cpu: number;
}

/** Processor time that a machine of the sandbox has used, seconds. */
export function cpuSeconds(machine: string): number {
  return Number(/^usage_usec (\d+)/m.exec(readFileSync(path.join(group(machine), 'cpu.stat'), 'utf8'))?.[1]) / 1e6;
}

/**
 * Has the kernel count a machine's memory from now on, where it does not anyway: while a memory controller belongs to cgroup v1,
 * cgroup v2 has none, and the machine needs a group of that, too.
 */
export async function countMemory(machine: string): Promise<void> {
  if (existsSync(path.join(group(machine), 'memory.current'))) return;
  mkdirSync(MEMORY_V1, { recursive: true });
  await run('mount', ['-t', 'cgroup', '-o', 'memory', 'none', MEMORY_V1]);
  const counted = path.join(MEMORY_V1, path.basename(process.env.MAIL_CGROUP!));
  mkdirSync(counted);
  for (const pid of processesOf(group(machine))) ifThere(() => writeFileSync(path.join(counted, 'cgroup.procs'), pid));
}

/** Memory of a machine, since `countMemory` where the kernel did not count before. */
export function memoryOf(machine: string): Memory {
  if (existsSync(path.join(group(machine), 'memory.current'))) {
    const stat = readFileSync(path.join(group(machine), 'memory.stat'), 'utf8');
    return { anonymous: field(stat, 'anon'), kernel: field(stat, 'kernel') + field(stat, 'sock') };
  }
  const counted = path.join(MEMORY_V1, path.basename(process.env.MAIL_CGROUP!));
  const read = (name: string) => readFileSync(path.join(counted, name), 'utf8');
  return { anonymous: field(read('memory.stat'), 'total_rss'), kernel: Number(read('memory.kmem.usage_in_bytes')) };
}

/** What runs on a machine, by name. */
export function partsOf(machine: string): Map<string, Part> {
  const parts = new Map<string, Part>();
  for (const pid of processesOf(group(machine))) {
    ifThere(() => {
      const read = (name: string) => readFileSync(`/proc/${pid}/${name}`, 'utf8');
      const status = read('status');
      const [name] = /(?<=^Name:\t).*/m.exec(status)!;
      // Process times follow the name in brackets, which may contain blanks.
      const times = read('stat')
        .replace(/^.*\) /s, '')
        .split(' ')
        .slice(11, 13)
        .map(Number);
      const { processes, pss, addressSpace, cpu } = parts.get(name) ?? {
        processes: 0,
        pss: 0,
        addressSpace: 0,
        cpu: 0,
      };
      parts.set(name, {
        processes: processes + 1,
        pss: pss + 1024 * field(read('smaps_rollup'), 'Pss:'),
        addressSpace: Math.max(addressSpace, 1024 * field(status, 'VmSize:')),
        cpu: cpu + (times[0] + times[1]) / TICKS,
      });
    });
  }
  return parts;
}

/** Of a group and those in it. */
function processesOf(folder: string): string[] {
  const own = ifThere(() => readFileSync(path.join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean)) ?? [];
  const inside = ifThere(() => readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()));
  return [...own, ...(inside ?? []).flatMap(({ name }) => processesOf(path.join(folder, name)))];
}

/** Processes and groups end while they are looked at; so there is nothing to say of them. */
function ifThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

function field(text: string, name: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `) || one.startsWith(`${name}\t`));
  return Number(/\d+/.exec(line?.slice(name.length) ?? '0')?.[0]);
}

function group(machine: string): string {
  return `${process.env.MAIL_CGROUP}/${machine}`;
}
