/**
 * `npm run bench:restore`: mail comes back from the journal into a mailbox of a node (README.md).
 *
 *     npm run bench:restore -- [--count 6000] [--bytes 4096] [--connections 4] [--concurrency 256]
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { buildSync } from 'esbuild';
import type { LocalCluster } from '../local/cluster';
import { imapClient, type LocalUser } from '../local/mail-clients';
import { Progress } from '../local/progress';
import { cpuSeconds } from './control-group';
import { runBench } from './run';
import { fillJournal } from './servers/journal';
import { enrol, makeAccounts } from './servers/accounts';
import { ReplayedS3 } from './servers/replayed-s3';
import { endpointOf, startCluster } from './servers/servers';
import { significant } from './statistics';

const FOLDER = 'Restored/bench';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '6000' },
    bytes: { type: 'string', default: '4096' },
    connections: { type: 'string', default: '4' },
    concurrency: { type: 'string', default: '256' },
  },
});

/** What `mail-restore` says at its end. */
type Report = Readonly<Record<'found' | 'restored' | 'duplicates' | 'missing' | 'seconds' | 'perSecond', number>>;

async function main(): Promise<void> {
  const progress = new Progress();
  const cluster = await startCluster(progress, 1);
  const s3 = new ReplayedS3(cluster.aws.endpoint);
  try {
    await measure(cluster, s3, progress);
  } finally {
    await s3.stop();
    cluster.stop();
  }
}

async function measure(cluster: LocalCluster, s3: ReplayedS3, progress: Progress): Promise<void> {
  const [node] = cluster.nodes;
  const [user] = makeAccounts(1, cluster.domains[0], [node.address]).get(node.address)!;
  await enrol(cluster, [user]);
  const bucket = cluster.plan.environment.MAIL_JOURNAL_BUCKET;
  const digests = await progress.longStep(`${values.count} messages in the journal`, () =>
    fillJournal(cluster, bucket, user.address, Number(values.count), Number(values.bytes)),
  );
  await s3.start();

  const command = path.join(cluster.folder, 'mail-restore.js');
  const entryPoints = [path.join(__dirname, '..', 'bin', 'mail-restore.ts')];
  buildSync({ entryPoints, outfile: command, bundle: true, platform: 'node', target: 'node20' });
  const { address, hostname } = endpointOf(cluster, node);
  const restore = (...more: string[]): Promise<Report> => {
    const from = ['--journal', `s3://${bucket}`, '--imap', `imaps://${address}`, '--tls-name', hostname];
    const how = ['--connections', values.connections, '--concurrency', values.concurrency];
    const env = { ...process.env, ...cluster.aws.environment, AWS_ENDPOINT_URL_S3: s3.endpoint };
    return new Promise((resolve, reject) => {
      const child = execFile(
        process.execPath,
        [command, ...from, ...how, '--user', user.address, '--folder', FOLDER, ...more],
        { env: { ...env, NODE_EXTRA_CA_CERTS: cluster.authority.certificateFile } },
        (_error, stdout, stderr) => {
          const last = stdout.trim().split('\n').at(-1);
          if (last) resolve(JSON.parse(last));
          else reject(new Error(stderr));
        },
      );
      child.stdin!.end(`${user.password}\n`);
    });
  };

  // moto answers each request once, which takes longer than all the rest; from then on its answers are repeated.
  const dry = await progress.longStep('dry run', () => restore('--dry-run'));
  const before = cpuSeconds(node.name);
  const first = await progress.longStep('restore', () => restore());
  const nodeCpu = cpuSeconds(node.name) - before;
  const again = await progress.longStep('restore again', () => restore());
  const found = await progress.longStep('comparison', () => digestsIn(cluster, user, node.address));
  rmSync(command, { force: true });

  const each = significant((1000 * nodeCpu) / first.restored);
  console.log(`dry run ${dry.perSecond}/s; the node took ${each} ms of processor for each message`);
  if (again.restored > 0) throw new Error(`restored again, it put in ${again.restored} messages once more`);
  console.log(
    JSON.stringify({
      restored: first.restored,
      // By what the mailbox holds, not by what the command says of itself.
      missing: digests.filter((digest) => !found.has(digest)).length,
      duplicates: [...found.values()].reduce((sum, count) => sum + count - 1, 0),
      perSecond: first.perSecond,
    }),
  );
}

/** SHA-256 of each message of the folder, and how often it is there. */
async function digestsIn(cluster: LocalCluster, user: LocalUser, address: string): Promise<Map<string, number>> {
  const client = imapClient({ ...cluster.view, address }, user);
  await client.connect();
  await client.mailboxOpen(FOLDER, { readOnly: true });
  const found = new Map<string, number>();
  for await (const { source } of client.fetch('1:*', { source: true })) {
    const digest = createHash('sha256').update(source!).digest('hex');
    found.set(digest, (found.get(digest) ?? 0) + 1);
  }
  await client.logout();
  return found;
}

runBench(main);
