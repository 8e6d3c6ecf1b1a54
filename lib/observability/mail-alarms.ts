import { Duration, Size, Token } from 'aws-cdk-lib';
import { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import { Alarm, ComparisonOperator, IMetric, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { ISingleSignOn } from '../directory';
import { MailEdge } from '../edge';
import { MailFleet } from '../node';
import { addTopicAlarm } from '../private/topic-alarm';
import { IMailStore, IMeasuredStore } from '../storage';
import { AlarmThresholds } from './alarm-thresholds';
import { AlarmTopic } from './alarm-topic';

/** Properties of `MailAlarms`. */
export interface MailAlarmsProps extends AlarmThresholds {
  /**
   * Nodes to watch.
   * @default - no alarms on nodes
   */
  readonly fleet?: MailFleet;

  /**
   * Balancer to watch.
   * @default - no alarms on the balancer
   */
  readonly edge?: MailEdge;

  /**
   * Store to watch.
   * @default - no alarms on the store
   */
  readonly store?: IMailStore;

  /**
   * The balancer's certificate.
   * @default - no alarm on its expiry
   */
  readonly certificate?: ICertificate;

  /**
   * Identity provider whose keys nodes fetch.
   * @default - no alarm on them
   */
  readonly singleSignOn?: ISingleSignOn;

  /**
   * Where alarms go.
   * @default - a new encrypted topic, see `AlarmTopic`
   */
  readonly topic?: ITopic;

  /**
   * Key of a new topic.
   * @default - a new key
   */
  readonly encryptionKey?: IKey;
}

interface Rule {
  readonly metric: IMetric;
  readonly threshold: number;
  /** @default GREATER_THAN_THRESHOLD */
  readonly comparison?: ComparisonOperator;
  /** @default 3 */
  readonly evaluationPeriods?: number;
  /** Of `evaluationPeriods`. @default - all */
  readonly datapointsToAlarm?: number;
  /** @default NOT_BREACHING */
  readonly missing?: TreatMissingData;
  /** What happened, and what to check first. */
  readonly description: string;
}

const FIVE_MINUTES = { period: Duration.minutes(5) };

/**
 * What new nodes that are bad set off, and a deployment of good ones does not. Not among them: QueueOld, which one message
 * to a server that is down sets off, and what depends on load (docs/adr/0007-rollback-on-alarm.md).
 */
const SIGNS_OF_BAD_NODES = ['NodesNotReady', 'MembersLow', 'LeaseLost', 'QueueLong', 'TargetTlsErrors'];

/**
 * The alarms of a mail system. Each tells one topic when it starts and when it ends, and says in its description what
 * to check first.
 *
 * @throws when a threshold is such that its alarm would always or never go off
 */
export class MailAlarms extends Construct {
  /** Where they go. */
  public readonly topic: ITopic;

  /** Alarms by construct id, such as `CpuHigh`. */
  public readonly alarms: { [id: string]: Alarm } = {};

  constructor(scope: Construct, id: string, props: MailAlarmsProps) {
    super(scope, id);
    checkThresholds(props);
    this.topic = props.topic ?? new AlarmTopic(this, 'Topic', { encryptionKey: props.encryptionKey }).topic;
    if (props.fleet) {
      this.watchMachines(props.fleet);
      this.watchMail(props.fleet, props);
      this.watchRing(props.fleet);
      this.watchLogins(props.fleet, props);
      if (props.singleSignOn) {
        this.watchTokenKeys(props.fleet, props.singleSignOn);
      }
    }
    if (props.edge) {
      this.watchEdge(props.edge, props.clientTlsErrorsMax ?? 100);
    }
    if (props.edge && props.fleet) {
      this.watchNewNodes(props.edge, props.fleet.bootTimeout);
    }
    if (props.store) {
      this.watchStore(props.store, props.storeSizeMax);
      if (props.store.shards && props.fleet) {
        this.watchVolumes(props.fleet);
      }
    }
    if (props.certificate) {
      this.add('BalancerCertificateExpires', {
        metric: props.certificate.metricDaysToExpiry(),
        threshold: props.certificateDaysMin ?? 30,
        comparison: ComparisonOperator.LESS_THAN_THRESHOLD,
        evaluationPeriods: 1,
        description:
          "The balancer's certificate was not renewed. Check first: the renewal status in ACM, and that the DNS record " +
          'which validates it is still in the zone.',
      });
    }
  }

  /** Those alarms that mean that new nodes are bad, for `rollbackAlarms` of a fleet. */
  public get rollbackAlarms(): Alarm[] {
    return SIGNS_OF_BAD_NODES.filter((id) => id in this.alarms).map((id) => this.alarms[id]);
  }

  private watchMachines(fleet: MailFleet): void {
    this.add('NodesSilent', {
      metric: fleet.metricConnections({ ...FIVE_MINUTES, statistic: Stats.SAMPLE_COUNT }),
      threshold: 1,
      comparison: ComparisonOperator.LESS_THAN_THRESHOLD,
      missing: TreatMissingData.BREACHING,
      description:
        'No node has sent metrics for 15 minutes, so no other alarm on nodes can be trusted. Check first: instances in ' +
        'the Auto Scaling group, then `systemctl status mail-agent` on one of them by Session Manager.',
    });
    this.add('CpuHigh', {
      metric: fleet.metricCpuUtilization(FIVE_MINUTES),
      threshold: 80,
      description:
        'Nodes use more than 80 % CPU for 15 minutes. Check first: whether the group is at its largest size, then ' +
        '`systemd-cgtop` on a node for the service that uses it.',
    });
    this.add('MemoryHigh', {
      metric: fleet.metricMemoryUtilization(FIVE_MINUTES),
      threshold: 85,
      description:
        'A node uses more than 85 % of its memory. Check first: sessions per node against connectionsPerNode, then ' +
        '`systemd-cgtop -m` for a service that grows.',
    });
    this.add('DiskFull', {
      metric: fleet.metricDiskUtilization(FIVE_MINUTES),
      threshold: 80,
      description:
        "A node's root disk is more than 80 % full; mail is not on it. Check first: `journalctl --disk-usage` and /var. " +
        'Terminating the node replaces it.',
    });
    this.add('ConnectionsHigh', {
      metric: fleet.metricConnectionUtilization(FIVE_MINUTES),
      threshold: 85,
      description:
        'Nodes serve more than 85 % of the connections that they are sized for; growth does not keep up. Check first: ' +
        'whether the group is at maxNodes, then its activity history for launches that failed.',
    });
  }

  private watchMail(fleet: MailFleet, props: MailAlarmsProps): void {
    this.add('QueueLong', {
      metric: fleet.metricQueueLength(FIVE_MINUTES),
      threshold: props.queueLengthMax ?? 1000,
      description:
        'Mail piles up on a node. Check first: `postqueue -p` for the reason given most often, then whether one sender ' +
        'has most messages (a stolen password) or one destination refuses.',
    });
    this.add('QueueOld', {
      metric: fleet.metricQueueAge(FIVE_MINUTES),
      threshold: (props.queueAgeMax ?? Duration.minutes(30)).toSeconds(),
      description:
        'A message has waited too long. Check first: `postqueue -p` for the reason; for local users Dovecot LMTP and the ' +
        'store, for others DNS and port 25 out of the account, which AWS opens on request.',
    });
    this.add('NodeCertificateExpires', {
      metric: fleet.metricCertificateDaysLeft({ period: Duration.hours(1) }),
      threshold: props.certificateDaysMin ?? 30,
      comparison: ComparisonOperator.LESS_THAN_THRESHOLD,
      description:
        'The certificate of a node was not renewed. Check first: the log of the renewal on the node, then the ACME ' +
        "endpoint's domain validation or the secret that it comes from.",
    });
    // Nodes go on with the users that they have, so nobody notices until a change does not come.
    this.add('DirectoryOld', {
      metric: fleet.metricDirectoryAge(FIVE_MINUTES),
      threshold: Duration.minutes(15).toSeconds(),
      evaluationPeriods: 1,
      description:
        'A node has not got the users for more than 15 minutes; it asks once a minute. People log in as before, but whoever was ' +
        'added is unknown there and whoever was disabled is let in. Check first: `journalctl -u mail-directory-sync` on the ' +
        'nodes, which names a wrong line, a missing right or a database that is away.',
    });
    this.add('StoreSlow', {
      metric: fleet.metricStoreLatency(FIVE_MINUTES),
      threshold: 50,
      description:
        'Small writes to the store take more than 50 ms. Check first: the store alarms, then `nfsstat -c` and the ' +
        'stunnel unit on a node.',
    });
  }

  private watchRing(fleet: MailFleet): void {
    this.add('MembersLow', {
      metric: fleet.metricMembers({ period: Duration.minutes(1) }),
      threshold: fleet.minNodes,
      comparison: ComparisonOperator.LESS_THAN_THRESHOLD,
      evaluationPeriods: 10,
      description:
        `Fewer nodes than the ${fleet.minNodes} that there should be have served mailboxes for 10 minutes. Check first: ` +
        'instances in the Auto Scaling group, then `curl localhost:8080/health` on those that are not in the ring.',
    });
    this.add('LeaseSlow', {
      metric: fleet.metricLeaseAge(FIVE_MINUTES),
      threshold: 2000,
      description:
        'Leases are renewed each second, and a node stops after 3 seconds without: one comes close again and again. Check ' +
        "first: the table's latency and throttled requests in CloudWatch, then CPU and memory of the node.",
    });
    this.add('LeaseLost', {
      metric: fleet.metricLeasesLost(FIVE_MINUTES),
      threshold: 0,
      evaluationPeriods: 1,
      description:
        'A node could not renew its lease and ended all sessions, before others took over. Check first: `journalctl -u ' +
        "mail-agent -p warning` on the node, then the table's throttled requests and the way to DynamoDB.",
    });
  }

  private watchLogins(fleet: MailFleet, props: MailAlarmsProps): void {
    const hour = { period: Duration.hours(1) };
    const first =
      'Check first: `journalctl -u mail-logins` on the nodes for sources that were refused, then `journalctl -u dovecot -g ' +
      "'auth failed'` for whether one user fails (an old password in a device), one source (add it to connectionLimits.exempt " +
      'if it is an office), or many of both (somebody guesses).';
    this.add('LoginsFail', {
      metric: fleet.metricFailedLogins(hour),
      threshold: props.failedLoginsMax ?? 50,
      evaluationPeriods: 1,
      description: `More logins failed within an hour than people mistype. ${first}`,
    });
    this.add('LoginFailureRateHigh', {
      metric: fleet.metricLoginFailureRate(props.loginFailureRateFrom ?? 100, hour),
      threshold: props.loginFailureRateMax ?? 5,
      evaluationPeriods: 1,
      description: `Too large a share of the logins within an hour failed. ${first}`,
    });
  }

  /** Keys of before go on, so nobody notices until the provider signs with a new one. */
  private watchTokenKeys(fleet: MailFleet, { issuer }: ISingleSignOn): void {
    this.add('TokenKeysOld', {
      metric: fleet.metricTokenKeysAge(FIVE_MINUTES),
      threshold: Duration.hours(1).toSeconds(),
      description:
        `A node has not got the keys of ${issuer} for more than an hour; they are asked for every five minutes. Tokens that ` +
        'are signed by a new key will be refused there. Check first: `journalctl -u mail-token-keys` on the nodes, then ' +
        "the provider's /.well-known/openid-configuration and the way out to port 443.",
    });
  }

  /** A node that boots is unhealthy until it has booted, so this waits longer than UnhealthyHosts. */
  private watchNewNodes(edge: MailEdge, bootTimeout: Duration): void {
    const minutes = Math.ceil(bootTimeout.toMinutes({ integral: false }));
    this.add('NodesNotReady', {
      metric: edge.metricUnhealthyHosts({ period: Duration.minutes(1) }),
      threshold: 0,
      // A node that the group gave up is replaced by another one that boots: some healthy minutes lie between.
      evaluationPeriods: minutes + 5,
      datapointsToAlarm: minutes,
      description:
        `For longer than the ${minutes} minutes that a boot may take, a node has failed its health checks. A deployment ` +
        'under way is rolled back. Check first: `journalctl -t mail-bootstrap.sh` on the node, then `curl ' +
        'localhost:8080/health`.',
    });
  }

  private watchEdge(edge: MailEdge, clientTlsErrorsMax: number): void {
    this.add('UnhealthyHosts', {
      metric: edge.metricUnhealthyHosts({ period: Duration.minutes(1) }),
      threshold: 0,
      evaluationPeriods: 5,
      description:
        'A node has failed health checks for 5 minutes. Check first: `curl localhost:8080/health` on the node, which ' +
        'gives the reasons; the group replaces the node by itself.',
    });
    this.add('ClientTlsErrors', {
      metric: edge.metricClientTlsErrors(FIVE_MINUTES),
      threshold: clientTlsErrorsMax,
      description:
        "TLS handshakes between clients and the balancer fail. Check first: the balancer's certificate and names, then " +
        'the access logs for clients with TLS 1.1 or older.',
    });
    this.add('TargetTlsErrors', {
      metric: edge.metricTargetTlsErrors(FIVE_MINUTES),
      threshold: 10,
      description:
        'TLS handshakes between the balancer and nodes fail. Check first: that Dovecot and Postfix of the unhealthy node ' +
        'run and have a certificate (`openssl s_client -connect localhost:993`).',
    });
  }

  private watchStore(store: IMailStore, sizeMax?: Size): void {
    if (store.shards) {
      // One alarm can't watch the operations of all.
      store.shards.forEach((shard, index) => this.watchLoad(shard, `Shard${index + 1}`));
    } else {
      this.watchLoad(store);
    }
    const lag = store.metricReplicationLag(FIVE_MINUTES);
    if (lag) this.watchReplication(lag);
    const storedBytes = sizeMax && store.metricStoredBytes({ period: Duration.hours(1) });
    if (storedBytes) {
      this.add('StoreLarge', {
        metric: storedBytes,
        threshold: sizeMax.toBytes(),
        description:
          'The store is larger than planned. Check first: `doveadm quota get -A` for the largest mailboxes, then the ' +
          'budget.',
      });
    }
  }

  private watchReplication(lag: IMetric): void {
    this.add('StoreReplicationLate', {
      metric: lag,
      threshold: Duration.minutes(15).toSeconds(),
      missing: TreatMissingData.BREACHING,
      description:
        'The copy of the store in the other region is more than 15 minutes behind, or has never been whole: making it the first ' +
        'time takes hours. Check first: `aws efs describe-replication-configurations` for its status, then how much was ' +
        'written (MeteredIOBytes).',
    });
  }

  private watchVolumes(fleet: MailFleet): void {
    this.add('StoreFull', {
      metric: fleet.metricStoreUtilization(FIVE_MINUTES),
      threshold: 80,
      description:
        'The volume of a shard is more than 80 % full; when it is full, its users get no more mail. Check first: which one ' +
        '(`df /srv/mail-store`, `df -i`), then give MailStorage.ebs() a larger volume and deploy: it grows in place.',
    });
  }

  private watchLoad(store: IMeasuredStore, suffix = ''): void {
    this.add(`StoreOperationsHigh${suffix}`, {
      metric: store.metricOperationsUtilization(FIVE_MINUTES),
      threshold: 80,
      description:
        'The store is near its limit of operations. Check first: which users or searches cause them (`doveadm who`), ' +
        'then spread users over another store.',
    });
    this.add(`StoreThroughputHigh${suffix}`, {
      metric: store.metricThroughputUtilization(FIVE_MINUTES),
      threshold: 80,
      description:
        'The store uses more than 80 % of its throughput. Check first: backups, index rebuilds and mailbox imports that ' +
        'run now.',
    });
    const burstCredits = store.metricBurstCreditBalance(FIVE_MINUTES);
    if (burstCredits) {
      this.add('StoreBurstCreditsLow', {
        metric: burstCredits,
        threshold: Size.gibibytes(100).toBytes(),
        comparison: ComparisonOperator.LESS_THAN_THRESHOLD,
        description:
          'The store lives on burst credits and has less than 100 GiB of them. Check first: its throughput mode; elastic ' +
          'has no credits to run out of.',
      });
    }
  }

  private add(id: string, rule: Rule): void {
    this.alarms[id] = addTopicAlarm(this, id, this.topic, {
      metric: rule.metric,
      threshold: rule.threshold,
      comparisonOperator: rule.comparison ?? ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: rule.evaluationPeriods ?? 3,
      datapointsToAlarm: rule.datapointsToAlarm,
      treatMissingData: rule.missing ?? TreatMissingData.NOT_BREACHING,
      alarmDescription: rule.description,
    });
  }
}

function checkThresholds(thresholds: AlarmThresholds): void {
  const { queueAgeMax, storeSizeMax } = thresholds;
  const ranges: [string, number | undefined, number, number][] = [
    ['queueLengthMax', thresholds.queueLengthMax, 1, Infinity],
    ['queueAgeMax', queueAgeMax?.toSeconds(), 60, Infinity],
    ['certificateDaysMin', thresholds.certificateDaysMin, 1, Infinity],
    ['clientTlsErrorsMax', thresholds.clientTlsErrorsMax, 0, Infinity],
    ['failedLoginsMax', thresholds.failedLoginsMax, 0, Infinity],
    ['loginFailureRateMax', thresholds.loginFailureRateMax, 0, 99],
    ['loginFailureRateFrom', thresholds.loginFailureRateFrom, 1, Infinity],
    ['storeSizeMax', storeSizeMax?.isUnresolved() ? undefined : storeSizeMax?.toBytes(), 1, Infinity],
  ];
  for (const [name, value, min, max] of ranges) {
    if (value !== undefined && !Token.isUnresolved(value) && !(value >= min && value <= max)) {
      const bounds = max === Infinity ? `${min} or more` : `${min} to ${max}`;
      throw new Error(`alarmThresholds.${name} must be ${bounds}, got ${value}; change ${name}`);
    }
  }
}
