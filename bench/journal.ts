/**
 * `npm run bench:journal`: what the journal adds to the time of a delivery (README.md).
 *
 *     npm run bench:journal -- [--rounds 30] [--messages 40] [--rate 15]
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import type { LocalCluster } from '../local/cluster';
import type { LocalNode } from '../local/node';
import { Progress } from '../local/progress';
import { sleep, waitFor } from '../local/run';
import { percentile } from '../test/failures/attendance';
import { cpuSeconds } from './control-group';
import { message } from './load/message';
import { SmtpSession } from './load/smtp-session';
import { runBench } from './run';
import { enrol, makeAccounts } from './servers/accounts';
import { endpointOf, startCluster } from './servers/servers';
import { SinkS3 } from './servers/sink-s3';
import { significant } from './statistics';

const MESSAGES_PER_CONNECTION = 10;
const ACCOUNTS = 16;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    messages: { type: 'string', default: '40' },
    rate: { type: 'string', default: '15' },
  },
});

async function main(): Promise<void> {
  const progress = new Progress();
  const cluster = await startCluster(progress, 1);
  const s3 = new SinkS3(cluster.plan.gateway);
  try {
    await s3.start();
    await measure(cluster, s3);
  } finally {
    s3.stop();
    cluster.stop();
  }
}

async function measure(cluster: LocalCluster, s3: SinkS3): Promise<void> {
  const [node] = cluster.nodes;
  const users = makeAccounts(ACCOUNTS, cluster.domains[0], [node.address]).get(node.address)!;
  await enrol(cluster, users);
  const addresses = users.map(({ address }) => address);
  const to = { off: addresses.slice(ACCOUNTS / 2), on: addresses.slice(0, ACCOUNTS / 2) };
  await pointJournalTo(node, s3.endpoint);
  await journalAllBut(node, to.off);
  await node.shell('postconf -e delay_logging_resolution_limit=6 && postfix reload');

  const cpu = { off: [] as number[], on: [] as number[] };
  let begin = 0;
  let idle = 0;
  // The first round makes folders and fills caches, and does not count.
  for (let round = 0; round <= Number(values.rounds); round++) {
    if (round === 1) [begin, idle] = [Date.now(), idleSeconds()];
    // Short turns, and who is first in turns: what else the machine does meets both alike.
    for (const mode of round % 2 === 0 ? (['off', 'on'] as const) : (['on', 'off'] as const)) {
      const before = cpuSeconds(node.name);
      await deliver(cluster, node, to[mode]);
      await sleep(500);
      if (round > 0) cpu[mode].push(cpuSeconds(node.name) - before);
    }
  }
  const busy = 1 - (idleSeconds() - idle) / ((Date.now() - begin) / 1000) / cpus().length;
  const count = Number(values.rounds) * Number(values.messages);
  const delays = await waitFor('all to be delivered, and journaled', 60_000, () => readLog(node, begin, to, count));
  const journalled = new Set(await s3.stored()).size;
  const expected = count + Number(values.messages);
  if (journalled !== expected) throw new Error(`${journalled} messages are in the journal, expected ${expected}`);

  const figures = (mode: 'off' | 'on') => {
    const parts = ['a', 'b', 'c', 'd'].map((name, part) => `${name} ${milliseconds(delays[mode], 0.95, part)}`);
    console.log(`journal ${mode}: at the 95th percentile ${parts.join(', ')} ms`);
    return {
      p50Ms: milliseconds(delays[mode], 0.5),
      p95Ms: milliseconds(delays[mode], 0.95),
      cpuMs: significant((1000 * cpu[mode].reduce((sum, each) => sum + each, 0)) / count),
    };
  };
  const [off, on] = [figures('off'), figures('on')];
  console.log(
    JSON.stringify({
      ...{ messages: count, perSecond: Number(values.rate), busy: significant(busy), off, on },
      ratioP50: significant(on.p50Ms / off.p50Ms),
      ratioP95: significant(on.p95Ms / off.p95Ms),
    }),
  );
}

/** Seconds of each delivery in Postfix's four parts: before its queue manager, in it, connecting, handing over to Dovecot. */
interface Delays {
  readonly off: number[][];
  readonly on: number[][];
}

async function readLog(
  node: LocalNode,
  since: number,
  to: Record<keyof Delays, string[]>,
  count: number,
): Promise<Delays> {
  const queue = (await node.shell('postqueue -p')).trim();
  if (queue !== 'Mail queue is empty') throw new Error(queue.slice(-500));
  const log = await node.shell(
    `journalctl --no-pager --output=cat --since=@${Math.floor(since / 1000)} SYSLOG_FACILITY=2 | grep 'status=sent' || true`,
  );
  // Postfix writes two digits of a number: its four parts say more than the whole.
  const sent = [...log.matchAll(/to=<([^>]+)>,.* delays=([\d./]+),/g)];
  const delaysOf = (users: string[]) =>
    sent
      .filter(([, recipient]) => users.includes(recipient))
      .map(([, , parts]) => parts.split('/').map(Number))
      .slice(-count);
  const delays = { off: delaysOf(to.off), on: delaysOf(to.on) };
  for (const { length } of [delays.off, delays.on]) {
    if (length !== count) throw new Error(`the log has ${length} of ${count}`);
  }
  return delays;
}

/** Of all parts together, or of one. */
function milliseconds(delays: number[][], share: number, part?: number): number {
  const chosen = delays.map((parts) => (part === undefined ? parts.reduce((sum, each) => sum + each, 0) : parts[part]));
  return significant(1000 * percentile(chosen, share));
}

/** The daemon's S3. Not by Environment=, which the file with the node's settings overrides. */
async function pointJournalTo(node: LocalNode, endpoint: string): Promise<void> {
  const folder = '/run/systemd/system/mail-journal.service.d';
  const start = `ExecStart=/usr/bin/env AWS_ENDPOINT_URL_S3=${endpoint} /opt/mail-platform/libexec/journal/serve`;
  await node.shell(
    `mkdir -p ${folder} && printf '[Service]\\nExecStart=\\n${start}\\n' >${folder}/bench.conf && ` +
      'systemctl daemon-reload && systemctl restart mail-journal.service',
  );
}

/** Mail to these is treated as on a node without a journal: no copy, and nobody is asked whether too many wait. */
async function journalAllBut(node: LocalNode, users: string[]): Promise<void> {
  const check = (await node.shell('postconf -h journal_check')).trim();
  if (!check) throw new Error('the node journals nothing');
  const these = `/^(${users.map((user) => user.replaceAll('.', '\\.')).join('|')})$/`;
  await node.shell(
    `cd /etc/postfix && (echo 'if !${these}'; cat journal.pcre; echo endif) >bench.pcre && echo '${these} OK' >bench-off.pcre && ` +
      `postconf -e recipient_bcc_maps=pcre:/etc/postfix/bench.pcre ` +
      `'journal_check = check_recipient_access pcre:/etc/postfix/bench-off.pcre, ${check}'`,
  );
}

/** Sends messages at an even rate from another mail server. */
async function deliver(cluster: LocalCluster, node: LocalNode, to: string[]): Promise<void> {
  const endpoint = endpointOf(cluster, node);
  const from = `sender@${cluster.hostname}`;
  const count = Number(values.messages);
  const messages = Array.from({ length: count }, (_none, number) => message(from, to[number % to.length]));
  const begin = performance.now();
  let session: SmtpSession | undefined;
  for (let number = 0; number < count; number++) {
    if (number % MESSAGES_PER_CONNECTION === 0) {
      await session?.quit();
      session = await SmtpSession.open(endpoint);
    }
    await sleep(Math.max(0, begin + (1000 * number) / Number(values.rate) - performance.now()));
    await session!.send(from, to[number % to.length], messages[number]);
  }
  await session?.quit();
}

/** Since the machine started, of all its processors together. */
function idleSeconds(): number {
  return cpus().reduce((sum, { times }) => sum + times.idle, 0) / 1000;
}

runBench(main);
