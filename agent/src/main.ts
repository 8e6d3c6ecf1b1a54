import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { HEALTH_PORT } from '../../lib/access/mail-service';
import { Configuration, ConfigurationError, EXIT_CONFIGURATION, readConfiguration } from './configuration';
import { Drain } from './drain/drain';
import { Lifecycle } from './drain/lifecycle';
import { readNotice } from './drain/notices';
import { dovecotCheck, postfixCheck } from './health/daemon-checks';
import { Health } from './health/health';
import { HealthCheck } from './health/health-check';
import { healthServer } from './health/health-server';
import { storeCheck } from './health/store-check';
import { messageOf, standardLog as log, Transitions } from './log';
import { nodeMetrics } from './metrics/node-metrics';
import { Publisher } from './metrics/publisher';
import { ClientConnections } from './node/client-connections';
import { InstanceMetadata } from './node/instance-metadata';
import { MailQueue } from './node/mail-queue';

const STORE = '/srv/mail-store';
const CERTIFICATE = '/etc/mail-platform/tls/fullchain.pem';
// The SDK waits without end otherwise, and one call that hangs would stop its loop.
const AWS_TIMES = { requestHandler: { connectionTimeout: 3_000, requestTimeout: 10_000, throwOnRequestTimeout: true } };

// Debian 13 has Node 20 until 2028; package-lock.json holds the SDK at a version that supports it.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

const fail = (message: string, status: number): never => {
  log.error(message);
  process.exit(status);
};

const run = (configuration: Configuration): void => {
  const { region, services } = configuration;
  const transitions = new Transitions(log);
  const metadata = new InstanceMetadata();
  const instanceId = () => metadata.instanceId();
  const queue = new MailQueue();
  const connections = new ClientConnections(services.map((service) => service.port));

  const store = new HealthCheck({ check: storeCheck({ mountPoint: STORE, instanceId }), transitions });
  const daemons = [dovecotCheck(), postfixCheck(services)].flatMap((check) => check ?? []);
  const health = new Health([store, ...daemons.map((check) => new HealthCheck({ check, transitions }))]);

  const publisher = new Publisher({
    client: new CloudWatchClient({ region, ...AWS_TIMES }),
    cluster: configuration.cluster,
    collectors: nodeMetrics({
      connections,
      connectionsMax: configuration.connectionsMax,
      queue,
      store,
      certificate: CERTIFICATE,
    }),
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
      refuseClients: () => health.drain(),
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

  const parts = [health, publisher, drain];
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
