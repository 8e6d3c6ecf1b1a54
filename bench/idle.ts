/**
 * `npm run bench:idle`: what IMAP clients in IDLE cost one node, and how soon they hear of new mail (README.md).
 *
 *     npm run bench:idle -- [--count 10000] [--processes 4] [--rest 30] [--messages 60]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import type { LocalCluster } from '../local/cluster';
import { offset } from '../local/plan';
import { Progress } from '../local/progress';
import { run, sleep } from '../local/run';
import { percentile } from '../test/failures/attendance';
import { countMemory, cpuSeconds, type Memory, memoryOf, type Part, partsOf } from './control-group';
import { ask } from './load/ask';
import type { IdleOrder, IdleState, IdleUser } from './load/idle-worker';
import { message } from './load/message';
import { SmtpSession } from './load/smtp-session';
import { runBench } from './run';
import { enrol, makeAccounts } from './servers/accounts';
import { endpointOf, startCluster } from './servers/servers';
import { significant } from './statistics';

/** One user may have 20, and one address 20 new ones at once (docs/limits.md). */
const SESSIONS_PER_USER = 16;
/** Logins at a time in each process of clients. */
const AT_ONCE = 8;
/** Milliseconds until Dovecot has taken idle clients from their processes (imap_hibernate_timeout), and some. */
const HIBERNATION = 30_000;
/** Milliseconds between messages to different users, and until all clients must have heard of the last one. */
const BETWEEN_MESSAGES = 500;
const HEARING = 35_000;
/** Each user connects from an address of their own (RFC 2544), so that the firewall counts them as it does on AWS. */
const SOURCES = { network: '198.18.0.0', prefix: 15 };

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '10000' },
    processes: { type: 'string', default: '4' },
    rest: { type: 'string', default: '30' },
    messages: { type: 'string', default: '60' },
  },
});
const count = Number(values.count);

/** A node at one moment. */
interface Reading {
  readonly parts: Map<string, Part>;
  readonly memory: Memory;
}

async function main(): Promise<void> {
  const progress = new Progress();
  // Nodes are sized for the clients, as a node of 10 vCPU and more would be.
  process.env.MAIL_BENCH_CONNECTIONS = String(count);
  const restore = raiseInotifyLimit();
  const cluster = await startCluster(progress, 1, 'without-journal.config.ts');
  const workers = Array.from({ length: Number(values.processes) }, () =>
    fork(path.join(__dirname, 'load', 'idle-worker.ts'), { execArgv: ['--import', 'tsx'] }),
  );
  try {
    await run('ip', ['route', 'add', 'local', `${SOURCES.network}/${SOURCES.prefix}`, 'dev', 'lo']);
    await countMemory(cluster.nodes[0].name);
    await measure(cluster, workers, progress);
  } finally {
    for (const worker of workers) worker.kill();
    cluster.stop();
    restore();
  }
}

async function measure(cluster: LocalCluster, workers: ChildProcess[], progress: Progress): Promise<void> {
  const [node] = cluster.nodes;
  const users = makeUsers(cluster);
  await progress.step(`${users.length} accounts`, () => enrol(cluster, users));
  const endpoint = endpointOf(cluster, node);
  const open = (worker: ChildProcess, order: Pick<IdleOrder, 'users' | 'count' | 'atOnce'>) =>
    ask<IdleState>(worker, { endpoint, ...order });
  // A first session makes the processes and caches that are there with no client, too.
  await open(workers[0], { users, count: 1, atOnce: 1 });
  await sleep(5000);
  const before = read(node.name);

  const begin = Date.now();
  await progress.longStep(`${count} clients in IDLE`, () =>
    Promise.all(
      workers.map((worker, index) =>
        open(worker, {
          users: users.filter((_user, place) => place % workers.length === index),
          count: Math.floor((count - 1 + index) / workers.length),
          atOnce: AT_ONCE,
        }),
      ),
    ),
  );
  const loginSeconds = (Date.now() - begin) / 1000;
  const busiest = read(node.name);
  await sleep(HIBERNATION);

  const [cpu, cpuOfParts] = [cpuSeconds(node.name), partsOf(node.name)];
  await progress.step(`${values.rest} s of rest`, () => sleep(Number(values.rest) * 1000));
  const atRest = (cpuSeconds(node.name) - cpu) / Number(values.rest);
  const asleep = read(node.name);

  const latencies = await progress.step(`${values.messages} messages`, () => notify(cluster, workers, users));
  const states = await Promise.all(workers.map((worker) => ask<IdleState>(worker, {})));
  const health = await node.health();
  const held = sum(states.map(openSessions));
  printParts(before, asleep, cpuOfParts, held);
  console.log(states.find(({ reason }) => reason)?.reason ?? 'no login failed');
  const kib = (of: (reading: Reading) => number) => significant((of(asleep) - of(before)) / held / 1024);
  const milliseconds = (share: number) => significant(percentile(latencies.heard, share));
  console.log(
    JSON.stringify({
      count,
      open: held,
      failed: sum(states.map(({ failed }) => failed)),
      ended: sum(states.map(({ ended }) => ended)),
      loginsPerSecond: significant(held / loginSeconds),
      awakeAtMost: busiest.parts.get('imap')?.processes,
      pssKiBPerSession: kib(({ parts }) => sum([...parts.values()].map(({ pss }) => pss))),
      kernelKiBPerSession: kib(({ memory }) => memory.kernel),
      processorsAtRest: significant(atRest),
      notified: latencies.heard.length,
      notNotified: latencies.missing,
      notifiedMs: { p50: milliseconds(0.5), p95: milliseconds(0.95), max: milliseconds(1) },
      healthy: health.status === 200,
    }),
  );
}

function makeUsers(cluster: LocalCluster): IdleUser[] {
  const { address } = cluster.nodes[0];
  const accounts = makeAccounts(Math.ceil(count / SESSIONS_PER_USER), cluster.domains[0], [address]).get(address)!;
  return accounts.map((account, place) => ({ ...account, from: offset(SOURCES.network, 1 + place) }));
}

function read(machine: string): Reading {
  return { parts: partsOf(machine), memory: memoryOf(machine) };
}

/** Mail for some of the users: milliseconds from the moment at which Postfix took a message until each of its user's clients heard of it. */
async function notify(
  cluster: LocalCluster,
  workers: ChildProcess[],
  users: IdleUser[],
): Promise<{ heard: number[]; missing: number }> {
  const endpoint = endpointOf(cluster, cluster.nodes[0]);
  const sender = `sender@${cluster.hostname}`;
  await Promise.all(workers.map((worker) => ask<IdleState>(worker, {})));
  const taken = new Map<string, number>();
  for (let number = 0; number < Number(values.messages); number++) {
    const { address } = users[Math.floor((number * users.length) / Number(values.messages))];
    const session = await SmtpSession.open(endpoint);
    await session.send(sender, address, message(sender, address));
    taken.set(address, Date.now());
    await session.quit();
    await sleep(BETWEEN_MESSAGES);
  }
  await sleep(HEARING);
  const states = await Promise.all(workers.map((worker) => ask<IdleState>(worker, {})));
  // Not of what else wakes a client: a second line of the same message.
  const heard = states.flatMap((state) => state.heard).map(({ user, at }) => at - taken.get(user)!);
  const expected = sum([...taken.keys()].map((user) => sum(states.map((state) => state.open[user] ?? 0))));
  return { heard, missing: expected - heard.length };
}

/** Memory and processor time of the node's parts, for people. */
function printParts(before: Reading, asleep: Reading, cpuBefore: Map<string, Part>, held: number): void {
  console.log('\n                   processes   PSS MiB   of a session KiB   address space MiB   processors at rest');
  const grown = (name: string) => asleep.parts.get(name)!.pss - (before.parts.get(name)?.pss ?? 0);
  for (const name of [...asleep.parts.keys()].sort((a, b) => grown(b) - grown(a)).slice(0, 14)) {
    const part = asleep.parts.get(name)!;
    const cpu = Math.max(0, part.cpu - (cpuBefore.get(name)?.cpu ?? 0)) / Number(values.rest);
    const columns = [
      name.padEnd(18),
      String(part.processes).padStart(9),
      (part.pss / 2 ** 20).toFixed(1).padStart(9),
      (grown(name) / held / 1024).toFixed(1).padStart(18),
      (part.addressSpace / 2 ** 20).toFixed(0).padStart(19),
      cpu.toFixed(3).padStart(20),
    ];
    console.log(columns.join(' '));
  }
}

/** The user's instances of inotify: one for each client in IDLE. Nodes set it themselves; here it is the machine's. */
function raiseInotifyLimit(): () => void {
  const file = '/proc/sys/fs/inotify/max_user_instances';
  const before = readFileSync(file, 'utf8');
  if (Number(before) < 65_536) writeFileSync(file, '65536');
  return () => writeFileSync(file, before);
}

const openSessions = ({ open }: IdleState) => sum(Object.values(open));
const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);

runBench(main);
