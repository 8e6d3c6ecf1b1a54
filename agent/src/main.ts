import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { HEALTH_PORT } from '../../lib/access/mail-service';
import { Configuration, ConfigurationError, EXIT_CONFIGURATION, readConfiguration } from './configuration';
import { ControlClient } from './control/control-client';
import { Drain } from './drain/drain';
import { Lifecycle } from './drain/lifecycle';
import { readNotice } from './drain/notices';
import { dovecotCheck, postfixCheck } from './health/daemon-checks';
import { Health } from './health/health';
import { HealthCheck } from './health/health-check';
import { healthServer } from './health/health-server';
import { storeCheck } from './health/store-check';
import { LeaseKeeper } from './lease/keeper';
import { LeaseTable } from './lease/lease-table';
import { messageOf, standardLog as log, Transitions } from './log';
import { BLOCK_LISTS } from './metrics/block-lists';
import { CLIENT_AUTHORITIES } from './metrics/certificate';
import { CLIENT_REVOCATIONS } from './metrics/client-revocations';
import { DIRECTORY_SEEN } from './metrics/directory';
import { CLAMD_SOCKET, RSPAMD_SOCKET } from './metrics/filter';
import { leaseMetrics } from './metrics/lease-metrics';
import { loginMetrics } from './metrics/login-metrics';
import { nodeMetrics } from './metrics/node-metrics';
import { Publisher } from './metrics/publisher';
import { TOKEN_KEYS } from './metrics/token-keys';
import { ClientConnections } from './node/client-connections';
import { InstanceMetadata } from './node/instance-metadata';
import { MailQueue } from './node/mail-queue';
import { RING_FILE } from './ring/ring-file';

const STORE = '/srv/mail-store';
const CERTIFICATE = '/etc/mail-platform/tls/fullchain.pem';
// The SDK waits without end otherwise, and one call that hangs would stop its loop.
const AWS_TIMES = { requestHandler: { connectionTimeout: 3_000, requestTimeout: 10_000, throwOnRequestTimeout: true } };
// A renewal that gets no reply in this time has no more use; membership sends the next one meanwhile.
const LEASE_TIMES = {
  requestHandler: { connectionTimeout: 1_000, requestTimeout: 2_000, throwOnRequestTimeout: true },
  maxAttempts: 1,
};

// Debian 13 has Node 20 until 2028; package-lock.json holds the SDK at a version that supports it.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

const fail = (message: string, status: number): never => {
  log.error(message);
  process.exit(status);
};

const run = (configuration: Configuration): void => {
  const { region, services, filter } = configuration;
  const transitions = new Transitions(log);
  const metadata = new InstanceMetadata();
  const instanceId = () => metadata.instanceId();
  const queue = new MailQueue();
  const connections = new ClientConnections(services.map((service) => service.port));

  const store = new HealthCheck({ check: storeCheck({ mountPoint: STORE, instanceId }), transitions });
  const daemons = [dovecotCheck(), postfixCheck(services)].flatMap((check) => check ?? []);
  const daemonChecks = daemons.map((check) => new HealthCheck({ check, transitions }));
  const dovecot = daemonChecks.find(({ name }) => name === 'dovecot')!;

  const keeper = new LeaseKeeper({
    join: async () => {
      // A node that has drained already must not come back.
      await drain.looked;
      const [id, address, zone] = await Promise.all([
        instanceId(),
        metadata.demand('local-ipv4'),
        metadata.demand('placement/availability-zone'),
      ]);
      const client = new DynamoDBClient({ region, ...LEASE_TIMES });
      const { leaseTable, cluster, shard } = configuration;
      return {
        me: { id, address, ...(shard && { shard }) },
        table: new LeaseTable({ client, table: leaseTable, cluster, id, address, zone }),
      };
    },
    control: new ControlClient(),
    shards: configuration.shards,
    ringFile: RING_FILE,
    able: () => dovecot.result().ok,
    log,
    transitions,
  });
  const lease = new HealthCheck({ check: keeper.check, transitions, interval: 250 });
  const health = new Health([store, ...daemonChecks, lease]);

  const publisher = new Publisher({
    client: new CloudWatchClient({ region, ...AWS_TIMES }),
    cluster: configuration.cluster,
    collectors: [
      ...nodeMetrics({
        connections,
        connectionsMax: configuration.connectionsMax,
        queue,
        store,
        certificate: CERTIFICATE,
        directorySeen: DIRECTORY_SEEN,
        clientAuthorities: configuration.clientCertificates ? CLIENT_AUTHORITIES : undefined,
        clientRevocations: configuration.clientRevocations ? CLIENT_REVOCATIONS : undefined,
        volume: configuration.shard ? STORE : undefined,
        filter: filter && [RSPAMD_SOCKET, ...(filter.virusScan ? [CLAMD_SOCKET] : [])],
        blockLists: configuration.blockLists ? BLOCK_LISTS : undefined,
        tokenKeys: configuration.tokens ? TOKEN_KEYS : undefined,
      }),
      leaseMetrics(keeper),
      loginMetrics(),
    ],
    transitions,
  });

  const lifecycle = new Lifecycle({
    client: new AutoScalingClient({ region, ...AWS_TIMES }),
    hook: configuration.drainHook,
    instanceId,
  });
  const drain = new Drain({
    actions: {
      notice: () => readNotice(metadata),
      refuseClients: () => {
        health.drain();
        keeper.drain();
      },
      hasLeft: () => keeper.hasLeft(),
      depart: () => keeper.depart(),
      connections: () => connections.count(),
      queueLength: async () => (await queue.state()).length,
      flushQueue: () => queue.flush(),
      phase: () => lifecycle.phase(),
      heartbeat: () => lifecycle.heartbeat(),
      complete: () => lifecycle.complete(),
    },
    log,
    transitions,
    limitSeconds: configuration.drainSeconds,
  });

  const server = healthServer(() => health.report());
  server.on('error', (error) => fail(`health server on port ${HEALTH_PORT}: ${messageOf(error)}`, 1));
  server.listen(HEALTH_PORT, '0.0.0.0', () => log.info(`started; health on port ${HEALTH_PORT}`));

  const parts = [health, publisher, drain, keeper];
  parts.forEach((part) => part.start());

  // Stopping the agent isn't draining the node: systemd stops it for each upgrade of the bundle too.
  const stop = (signal: string) => {
    log.info(`stopped by ${signal}`);
    parts.forEach((part) => part.stop());
    // Not waiting for what is under way: a call to a hung store would hold the stop.
    process.exit(0);
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
};

// Node writes its warnings to several lines without a priority.
process.removeAllListeners('warning').on('warning', (warning) => log.warning(messageOf(warning)));
process.on('uncaughtException', (error) => fail(`unexpected: ${error.stack ?? messageOf(error)}`, 1));

try {
  run(readConfiguration(process.env));
} catch (error) {
  if (!(error instanceof ConfigurationError)) throw error;
  fail(`configuration: ${error.message}; mend /etc/mail-platform/env and restart mail-agent`, EXIT_CONFIGURATION);
}
