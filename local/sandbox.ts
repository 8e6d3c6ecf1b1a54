/**
 * Runs a command in namespaces of its own: mounts, processes, network and control groups. What the command starts or
 * mounts can't outlive it, and nothing of it is seen outside; so a cluster needs no cleaning up after a crash.
 *
 *     tsx local/sandbox.ts COMMAND [ARGUMENT…]
 */
import { spawn } from 'node:child_process';
import * as path from 'node:path';
import type { Writable } from 'node:stream';
import { prepare, whyNotHere } from './prepare';
import { Progress } from './progress';

/** Runs the command in a sandbox with this terminal; resolves to its exit code. */
export function inSandbox(command: string[], env: NodeJS.ProcessEnv = process.env): Promise<number> {
  const child = spawn(
    'unshare',
    [
      ...['--mount', '--pid', '--cgroup', '--fork', '--kill-child', '--mount-proc'],
      ...['bash', path.join(__dirname, 'sandbox-init.sh'), ...command],
    ],
    // The fourth is the line that process 1 of the sandbox listens to: it falls when this process dies, too.
    {
      stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
      // The SDK's notice about Node.js 20, which Debian 13 has, would stand among the steps.
      env: { ...env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
    },
  );
  const stop = () => (child.stdio[3] as Writable).end();
  const ignore = () => undefined; // the terminal sends SIGINT to the sandbox itself
  process.once('SIGTERM', stop);
  process.on('SIGINT', ignore);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      process.off('SIGTERM', stop);
      process.off('SIGINT', ignore);
      resolve(code ?? (signal === 'SIGINT' ? 130 : 1));
    });
  });
}

async function main(): Promise<number> {
  const command = process.argv.slice(2);
  const obstacle = whyNotHere();
  if (obstacle) {
    console.error(`the sandbox ${obstacle}`);
    return 1;
  }
  // For the tests.
  await prepare(new Progress(), { glusterfsd: 'glusterfs-server', shellcheck: 'shellcheck', zstd: 'zstd', age: 'age' });
  const bin = path.join(__dirname, '..', 'node_modules', '.bin');
  return inSandbox(command, { ...process.env, PATH: `${bin}:${process.env.PATH}` });
}

if (require.main === module) {
  main().then(
    (code) => (process.exitCode = code),
    (error: Error) => {
      console.error(error.message);
      process.exitCode = 1;
    },
  );
}
