import { execFile, spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';

/** What a finished command printed. */
export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Text for the command's standard input. */
  readonly input?: string;
  /** Milliseconds after which the command is killed. */
  readonly timeout?: number;
}

/**
 * Runs a command to its end.
 *
 * @throws Error with the command and the tail of what it printed, when it exits non-zero.
 */
export function run(command: string, args: string[], options: RunOptions = {}): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { ...options, maxBuffer: 64 * 1024 * 1024, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => {
        if (error) {
          const printed = `${stdout}\n${stderr}`.trim().split('\n').slice(-15).join('\n');
          reject(
            new Error(`${command} ${args.slice(0, 4).join(' ')} failed (${error.code ?? error.signal}): ${printed}`),
          );
        } else {
          resolve({ stdout, stderr });
        }
      },
    );
    // A command that ends before it has read its input is judged by its exit code alone.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input ?? '');
  });
}

/** Starts a command that stays; its output goes to the given file descriptor. */
export function start(command: string, args: string[], log: number, options: SpawnOptions = {}): ChildProcess {
  return spawn(command, args, { ...options, stdio: ['ignore', log, log] });
}

/** True when a command of this name is on the PATH. */
export async function onPath(command: string): Promise<boolean> {
  return run('sh', ['-c', `command -v ${command}`]).then(
    () => true,
    () => false,
  );
}

export const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/**
 * Calls `probe` until it returns a value.
 *
 * @throws Error naming what was waited for, with the last failure, after `timeout` milliseconds.
 */
export async function waitFor<T>(
  what: string,
  timeout: number,
  probe: () => Promise<T | undefined>,
  interval = 200,
): Promise<T> {
  const end = Date.now() + timeout;
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      const reason = last instanceof Error ? `: ${last.message}` : '';
      throw new Error(`waited ${Math.round(timeout / 1000)} s for ${what}${reason}`);
    }
    await sleep(interval);
  }
}
