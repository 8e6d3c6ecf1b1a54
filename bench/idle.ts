/**
 * `npm run bench:idle`: what IMAP clients in IDLE cost one node (README.md).
 *
 *     npm run bench:idle -- [--count 10000] [--processes 4] [--rest 60]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import type { LocalCluster } from '../local/cluster';
import { Progress } from '../local/progress';
import { cpuSeconds, memoryBytes, proportionalBytes } from './control-group';
import { ask } from './load/ask';
import type { IdleState } from './load/idle-worker';
import { run } from './run';
import { enrol, makeAccounts } from './servers/accounts';
import { endpointOf, startCluster } from './servers/servers';
import { significant } from './statistics';

/** A user may have 20 sessions from one address (mail_max_userip_connections). */
const SESSIONS_PER_USER = 16;
/** Seconds until Dovecot takes an idle client from its process (imap_hibernate_timeout), and some. */
const HIBERNATION = 45;

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '10000' },
    processes: { type: 'string', default: '4' },
    rest: { type: 'string', default: '60' },
  },
});
const count = Number(values.count);

async function main(): Promise<void> {
  const progress = new Progress();
  // Nodes are sized for the clients, as a node of 10 vCPU and more would be.
  process.env.MAIL_BENCH_CONNECTIONS = String(count);
  const restore = raiseInotifyLimit();
  const cluster = await startCluster(progress, 1);
  const workers = Array.from({ length: Number(values.processes) }, () =>
    fork(path.join(__dirname, 'load', 'idle-worker.ts'), { execArgv: ['--import', 'tsx'] }),
  );
  try {
    await measure(cluster, workers, progress);
  } finally {
    for (const worker of workers) worker.kill();
    cluster.stop();
    restore();
  }
}

async function measure(cluster: LocalCluster, workers: ChildProcess[], progress: Progress): Promise<void> {
  const [node] = cluster.nodes;
  const accounts = makeAccounts(Math.ceil(count / SESSIONS_PER_USER), cluster.domains[0], [node.address]).get(
    node.address,
  )!;
  await progress.step(`${accounts.length} accounts`, () => enrol(cluster, accounts));
  // A first session makes the processes and caches that are there with no client, too.
  await ask<IdleState>(workers[0], { endpoint: endpointOf(cluster, node), accounts, count: 1, atOnce: 1 });
  await seconds(HIBERNATION);
  const before = await memoryOf(node.name);

  const begin = Date.now();
  const share = Math.floor((count - 1) / workers.length);
  await progress.longStep(`${count} clients in IDLE`, () =>
    Promise.all(
      workers.map((worker, index) =>
        ask<IdleState>(worker, {
          endpoint: endpointOf(cluster, node),
          accounts: accounts.filter((_account, place) => place % workers.length === index),
          count: share,
          atOnce: 8,
        }),
      ),
    ),
  );
  const loginSeconds = (Date.now() - begin) / 1000;
  await seconds(HIBERNATION);

  const cpu = cpuSeconds(node.name);
  await seconds(Number(values.rest));
  const atRest = (cpuSeconds(node.name) - cpu) / Number(values.rest);
  const states = await Promise.all(workers.map((worker) => ask<IdleState>(worker, {})));
  const total = (of: (state: IdleState) => number) => states.reduce((sum, state) => sum + of(state), 0);
  const open = total((state) => state.open);
  const after = await memoryOf(node.name);
  const health = await node.health();
  console.log(await node.shell('ps -eo args,rss,pss --sort=-pss | head -n 8; cat /proc/net/sockstat | head -n 2'));
  console.log(states.find(({ reason }) => reason)?.reason ?? 'no login failed');
  const kib = (bytes: number | undefined) => (bytes === undefined ? undefined : significant(bytes / open / 1024));
  console.log(
    JSON.stringify({
      count,
      open,
      failed: total((state) => state.failed),
      ended: total((state) => state.ended),
      loginsPerSecond: significant(open / loginSeconds),
      pssKiBPerSession: kib(after.pss - before.pss),
      groupKiBPerSession: after.group === undefined ? undefined : kib(after.group - before.group!),
      pssMiB: significant(after.pss / 2 ** 20),
      processorsAtRest: significant(atRest),
      healthy: health.status === 200,
    }),
  );
}

/** The user's instances of inotify: one for each client in IDLE. Nodes set it themselves; here it is the machine's. */
function raiseInotifyLimit(): () => void {
  const file = '/proc/sys/fs/inotify/max_user_instances';
  const before = readFileSync(file, 'utf8');
  if (Number(before) < 65_536) writeFileSync(file, '65536');
  return () => writeFileSync(file, before);
}

async function memoryOf(machine: string): Promise<{ pss: number; group?: number }> {
  return { pss: await proportionalBytes(machine), group: memoryBytes(machine) };
}

const seconds = (number: number) => new Promise((resolve) => setTimeout(resolve, number * 1000));

run(main);
