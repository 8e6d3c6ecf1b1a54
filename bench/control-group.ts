import { existsSync, readFileSync } from 'node:fs';
import { run } from '../local/run';

/** Processor time that a machine of the sandbox has used, seconds. */
export function cpuSeconds(machine: string): number {
  return Number(/^usage_usec (\d+)/m.exec(readFileSync(file(machine, 'cpu.stat'), 'utf8'))?.[1]) / 1e6;
}

/** Memory that the kernel counts for a machine, page cache and sockets too; undefined where it does not count. */
export function memoryBytes(machine: string): number | undefined {
  const current = file(machine, 'memory.current');
  return existsSync(current) ? Number(readFileSync(current, 'utf8')) : undefined;
}

/** Proportional set size of all processes of a machine: what each has to itself, and its share of what several use. */
export async function proportionalBytes(machine: string): Promise<number> {
  const script =
    'find "$0" -name cgroup.procs -exec cat {} + | while read -r p; do cat "/proc/$p/smaps_rollup"; done 2>/dev/null';
  const { stdout } = await run('bash', ['-c', `${script} || true`, `${process.env.MAIL_CGROUP}/${machine}`]);
  return [...stdout.matchAll(/^Pss: +(\d+) kB/gm)].reduce((sum, [, kib]) => sum + Number(kib) * 1024, 0);
}

function file(machine: string, name: string): string {
  return `${process.env.MAIL_CGROUP}/${machine}/${name}`;
}
