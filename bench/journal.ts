/**
 * `npm run bench:journal`: what the journal adds to the time of a delivery (README.md).
 *
 *     npm run bench:journal -- [--rounds 4] [--messages 150] [--rate 20]
 */
import { parseArgs } from 'node:util';
import type { LocalCluster } from '../local/cluster';
import type { LocalNode } from '../local/node';
import { Progress } from '../local/progress';
import { sleep, waitFor } from '../local/run';
import { percentile } from '../test/failures/attendance';
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
    rounds: { type: 'string', default: '4' },
    messages: { type: 'string', default: '150' },
    rate: { type: 'string', default: '20' },
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
  await pointJournalTo(node, s3.endpoint);
  await node.shell('postconf -e delay_logging_resolution_limit=6');
  const maps = (await node.shell('postconf -h recipient_bcc_maps')).trim();
  if (!maps) throw new Error('the node journals nothing');

  const times = { off: [] as number[], on: [] as number[] };
  // The first round makes folders and fills caches, and does not count.
  for (let round = 0; round <= Number(values.rounds); round++) {
    // In turns, and who is first in turns: what else the machine does meets both alike.
    for (const mode of round % 2 === 0 ? (['off', 'on'] as const) : (['on', 'off'] as const)) {
      await node.shell(`postconf -e 'recipient_bcc_maps = ${mode === 'on' ? maps : ''}' && postfix reload`);
      await sleep(1000);
      const taken = await deliver(
        cluster,
        node,
        users.map(({ address }) => address),
      );
      if (round > 0) times[mode].push(...taken);
      const [p50, p95] = [50, 95].map((percent) => (1000 * percentile(taken, percent / 100)).toFixed(1));
      console.log(`round ${round} of ${values.rounds}, journal ${mode.padEnd(3)}: p50 ${p50} ms, p95 ${p95} ms`);
    }
  }
  const journalled = new Set(await s3.stored()).size;
  const expected = (Number(values.rounds) + 1) * Number(values.messages);
  if (journalled !== expected) throw new Error(`${journalled} messages are in the journal, expected ${expected}`);
  const figures = (mode: 'on' | 'off') => ({
    p50Ms: significant(1000 * percentile(times[mode], 0.5)),
    p95Ms: significant(1000 * percentile(times[mode], 0.95)),
  });
  console.log(
    JSON.stringify({
      messages: times.on.length,
      off: figures('off'),
      on: figures('on'),
      ratioP50: significant(percentile(times.on, 0.5) / percentile(times.off, 0.5)),
      ratioP95: significant(percentile(times.on, 0.95) / percentile(times.off, 0.95)),
    }),
  );
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

/**
 * Sends messages at an even rate from another mail server.
 *
 * @returns for each the seconds from the beginning of its SMTP transaction until Dovecot had confirmed it, by Postfix's log
 */
async function deliver(cluster: LocalCluster, node: LocalNode, to: string[]): Promise<number[]> {
  const endpoint = endpointOf(cluster, node);
  const from = `sender@${cluster.hostname}`;
  const count = Number(values.messages);
  const since = Math.floor(Date.now() / 1000);
  const begin = performance.now();
  let session: SmtpSession | undefined;
  for (let number = 0; number < count; number++) {
    if (number % MESSAGES_PER_CONNECTION === 0) {
      await session?.quit();
      session = await SmtpSession.open(endpoint);
    }
    await sleep(Math.max(0, begin + (1000 * number) / Number(values.rate) - performance.now()));
    const recipient = to[number % to.length];
    await session!.send(from, recipient, message(from, recipient));
  }
  await session?.quit();
  return waitFor('all to be delivered, and journaled', 60_000, async () => {
    const queue = (await node.shell('postqueue -p')).trim();
    if (queue !== 'Mail queue is empty') throw new Error(queue.slice(-500));
    const log = await node.shell(
      `journalctl --no-pager --output=cat --since=@${since} SYSLOG_FACILITY=2 | grep 'status=sent' || true`,
    );
    // Postfix writes two digits of a number: its four parts say more than the whole.
    const found = [...log.matchAll(/to=<([^>]+)>,.* delays=([\d./]+),/g)]
      .filter(([, recipient]) => !recipient.endsWith('.journal.invalid'))
      .map(([, , delays]) => delays.split('/').reduce((sum, part) => sum + Number(part), 0));
    if (found.length !== count) throw new Error(`the log has ${found.length} of ${count}`);
    return found;
  });
}

runBench(main);
