import {
  CloudWatchClient,
  GetMetricStatisticsCommand,
  ListMetricsCommand,
  StandardUnit,
} from '@aws-sdk/client-cloudwatch';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HealthCheck } from '../../src/health/health-check';
import { Transitions } from '../../src/log';
import { nodeMetrics, type NodeMetricsOptions } from '../../src/metrics/node-metrics';
import { Collector, Publisher } from '../../src/metrics/publisher';
import { ClientConnections } from '../../src/node/client-connections';
import { MailQueue } from '../../src/node/mail-queue';
import { selfSigned } from '../support/certificate';
import { MotoServer, startMotoServer } from '../../../test/support/moto-server';
import { RecordingLog } from '../support/recording-log';
import { httpServer } from '../support/servers';
import { temporaryFolder } from '../support/temporary-folder';

let moto: MotoServer;
let client: CloudWatchClient;
let log: RecordingLog;
beforeAll(async () => {
  moto = await startMotoServer();
  client = new CloudWatchClient(moto.clientOptions);
}, 30_000);
afterAll(async () => {
  client?.destroy();
  await moto?.stop();
});
beforeEach(() => (log = new RecordingLog()));

const publisher = (cluster: string, collectors: Collector[], to = client) =>
  new Publisher({ client: to, cluster, collectors, transitions: new Transitions(log) });

/** The cluster's metrics as CloudWatch has them: name → value and unit. */
const published = async (cluster: string): Promise<{ [name: string]: [number?, string?] }> => {
  const Dimensions = [{ Name: 'Cluster', Value: cluster }];
  const { Metrics = [] } = await client.send(new ListMetricsCommand({ Namespace: 'MailPlatform', Dimensions }));
  const span = { StartTime: new Date(Date.now() - 600_000), EndTime: new Date(Date.now() + 60_000), Period: 3600 };
  const entries = Metrics.map(async ({ MetricName }) => {
    const { Datapoints: [point] = [] } = await client.send(
      new GetMetricStatisticsCommand({
        Namespace: 'MailPlatform',
        MetricName,
        Dimensions,
        ...span,
        Statistics: ['Maximum'],
      }),
    );
    return [MetricName, [point?.Maximum, point?.Unit]];
  });
  return Object.fromEntries(await Promise.all(entries));
};

const store = async (fault?: string): Promise<HealthCheck> => {
  const run = async () => {
    if (fault) throw new Error(fault);
  };
  const check = new HealthCheck({ check: { name: 'store', limit: 1000, run }, transitions: new Transitions(log) });
  await check.measure();
  return check;
};

/** A node with two clients, one message queued for 100 s, a certificate for 45 days and users as of 200 s ago. */
const node = (): Pick<NodeMetricsOptions, 'connections' | 'queue' | 'certificate' | 'directorySeen'> => {
  const folder = temporaryFolder();
  const connection = (remote: string) => `   0: 0A01000A:03E1 ${remote}:C001 01 00000000:00000000`;
  mkdirSync(join(folder, 'net'));
  writeFileSync(join(folder, 'net', 'tcp'), ['header', connection('057100CB'), connection('067100CB'), ''].join('\n'));
  const message = `{"queue_id": "4Zb1", "arrival_time": ${Math.round(Date.now() / 1000) - 100}}`;
  writeFileSync(join(folder, 'postqueue'), `#!/bin/sh\necho '${message}'\n`);
  chmodSync(join(folder, 'postqueue'), 0o755);
  writeFileSync(join(folder, 'fullchain.pem'), selfSigned(45).certificate);
  writeFileSync(join(folder, 'directory-seen'), `${Math.round(Date.now() / 1000) - 200}\n`);
  return {
    connections: new ClientConnections([993], join(folder, 'net')),
    queue: new MailQueue(join(folder, 'postqueue')),
    certificate: join(folder, 'fullchain.pem'),
    directorySeen: join(folder, 'directory-seen'),
  };
};

test('puts every metric of a node to CloudWatch', async () => {
  await publisher('Whole', nodeMetrics({ ...node(), connectionsMax: 40, store: await store() })).publish();
  const metrics = await published('Whole');
  expect(metrics).toEqual({
    Connections: [2, 'Count'],
    ConnectionUtilization: [5, 'Percent'],
    QueueLength: [1, 'Count'],
    QueueAge: [expect.any(Number), 'Seconds'],
    CertificateDaysLeft: [expect.closeTo(45, 1), 'Count'],
    DirectoryAge: [expect.closeTo(200, -1), 'Seconds'],
    MemoryUtilization: [expect.any(Number), 'Percent'],
    DiskUtilization: [expect.any(Number), 'Percent'],
    StoreLatency: [expect.any(Number), 'Milliseconds'],
  });
  expect(metrics.QueueAge[0]).toBeGreaterThanOrEqual(99);
  expect(log.lines).toEqual([]);
});

test('a node with a volume of its own says how full it is', async () => {
  const volume = temporaryFolder();
  await publisher('Shard', nodeMetrics({ ...node(), connectionsMax: 40, store: await store(), volume })).publish();
  expect((await published('Shard')).StoreUtilization).toEqual([expect.any(Number), 'Percent']);
});

test('a node that filters mail says how many of the daemons are away', async () => {
  const filter = ['/nowhere/milter.sock', '/nowhere/clamd.ctl'];
  await publisher('Filter', nodeMetrics({ ...node(), connectionsMax: 40, store: await store(), filter })).publish();
  expect((await published('Filter')).FilterDaemonsDown).toEqual([2, 'Count']);
});

test('a node whose clients need certificates says when the first of their authorities expires', async () => {
  const clientAuthorities = join(temporaryFolder(), 'client-ca.pem');
  const options = { ...node(), connectionsMax: 40, store: await store(), clientAuthorities };
  writeFileSync(clientAuthorities, [200, 80, 300].map((days) => selfSigned(days).certificate).join(''));
  await publisher('Authorities', nodeMetrics(options)).publish();
  expect((await published('Authorities')).ClientAuthorityDaysLeft).toEqual([expect.closeTo(80, 1), 'Count']);
});

test('a node that looks at revocation lists says when they end', async () => {
  const clientRevocations = join(temporaryFolder(), 'ends');
  const options = { ...node(), connectionsMax: 40, store: await store(), clientRevocations };
  writeFileSync(clientRevocations, `${Math.round(Date.now() / 1000) + 36_000}\n`);
  await publisher('Revocations', nodeMetrics(options)).publish();
  expect((await published('Revocations')).ClientRevocationHoursLeft).toEqual([expect.closeTo(10, 1), 'Count']);
});

test('a node that refuses who is on a block list says how old the list is', async () => {
  const blockLists = join(temporaryFolder(), 'state.json');
  writeFileSync(blockLists, JSON.stringify({ fetched: Date.now() / 1000 - 600 }));
  await publisher('Lists', nodeMetrics({ ...node(), connectionsMax: 40, store: await store(), blockLists })).publish();
  expect((await published('Lists')).BlockListAge).toEqual([expect.closeTo(600, -1), 'Seconds']);
});

test('leaves out what can not be measured and says so once', async () => {
  const options = {
    ...node(),
    connectionsMax: 40,
    certificate: '/nowhere/fullchain.pem',
    store: await store('stalled'),
  };
  log.lines.length = 0;
  const broken = publisher('Broken', nodeMetrics(options));
  await broken.publish();
  await broken.publish();
  const names = Object.keys(await published('Broken'));
  expect(names).toContain('QueueLength');
  expect(names).not.toContain('CertificateDaysLeft');
  expect(names).not.toContain('StoreLatency');
  expect(log.lines).toEqual([expect.stringMatching(/^warning metric certificate: failing: ENOENT/)]);
});

test('leaves out values that CloudWatch would refuse', async () => {
  const value = (name: string, number: number): Collector => ({
    name,
    collect: async () => [{ name, unit: StandardUnit.Count, value: number }],
  });
  await publisher('Odd', [value('Good', 1), value('Bad', NaN)]).publish();
  expect(Object.keys(await published('Odd'))).toEqual(['Good']);
  expect(log.lines).toEqual(['warning metric Bad: failing: Bad is NaN']);
});

test('outlives a CloudWatch that refuses, logs it once and recovers', async () => {
  let refuse = true;
  const front = await httpServer((request, response) => {
    if (refuse) return void response.writeHead(403).end();
    response.writeHead(307, { location: moto.clientOptions.endpoint + request.url }).end();
  });
  const refused = new CloudWatchClient({ ...moto.clientOptions, endpoint: front.url, maxAttempts: 1 });
  const one: Collector = { name: 'one', collect: async () => [{ name: 'One', unit: StandardUnit.Count, value: 1 }] };
  const stubborn = publisher('Refused', [one], refused);
  await stubborn.publish();
  await stubborn.publish();
  expect(log.lines).toEqual([expect.stringMatching(/^warning CloudWatch PutMetricData: failing: /)]);
  refuse = false;
  refused.destroy();
  await front.stop();
});
