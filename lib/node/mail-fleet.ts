import { Annotations, Duration, Size, Stack, Token } from 'aws-cdk-lib';
import {
  AdditionalHealthCheckType,
  AutoScalingGroup,
  CfnAutoScalingGroup,
  DefaultResult,
  GroupMetrics,
  HealthChecks,
  InstanceRefreshStrategy,
  LifecycleTransition,
  UpdatePolicy,
} from 'aws-cdk-lib/aws-autoscaling';
import { Metric, MetricOptions, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import {
  Connections,
  IConnectable,
  IMachineImage,
  InstanceType,
  ISecurityGroup,
  IVpc,
  LaunchTemplate,
  SubnetSelection,
} from 'aws-cdk-lib/aws-ec2';
import { INetworkTargetGroup } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { IGrantable, IPrincipal, IRole } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { MailService } from '../access/mail-service';
import { allowAutoScaling } from '../security/key-policy';
import { MailboxFormat } from '../storage/mailbox-format';
import { agentMetric, cpuMetric } from './fleet-metrics';
import { LeaseTable } from './lease-table';
import { MailBundle } from './mail-bundle';
import { NodeConfiguration } from './node-configuration';
import { mergeEnvironments } from './node-environment';
import { NodeRole } from './node-role';
import { NodeSecret } from './node-secret';
import { NodeTemplate } from './node-template';
import { connectionsPerNode } from './sizing';

/** Name of the lifecycle hook that a node completes when it is drained. */
export const DRAIN_HOOK = 'drain';

/** Properties of `MailFleet`. */
export interface MailFleetProps {
  /** Network of the nodes. */
  readonly vpc: IVpc;

  /** Subnets of the nodes, in three or more zones, with a way out to Debian's mirror and AWS. */
  readonly vpcSubnets: SubnetSelection;

  /** Security group of the nodes. */
  readonly securityGroup: ISecurityGroup;

  /** Name that clients use, such as `mail.example.com`. */
  readonly hostname: string;

  /** Mail domains, the primary one first. */
  readonly domains: string[];

  /** Services that nodes serve. */
  readonly services: MailService[];

  /** What store, directory and certificate ask of the nodes. */
  readonly configurations: NodeConfiguration[];

  /**
   * Target groups of the balancer.
   * @default - not behind a balancer
   */
  readonly targetGroups?: INetworkTargetGroup[];

  /**
   * Name of the cluster, dimension `Cluster` of its metrics.
   * @default - the stack's name
   */
  readonly clusterName?: string;

  /**
   * Where nodes hold their leases.
   * @default - a new table, kept when the stack is deleted
   */
  readonly leases?: LeaseTable;

  /**
   * Password by which nodes hand sessions over to each other.
   * @default - a new secret
   */
  readonly nodeSecret?: NodeSecret;

  /**
   * Instance type; its processor decides the image.
   * @default m7g.large
   */
  readonly instanceType?: InstanceType;

  /**
   * Image of the nodes: Debian 13 with cloud-init, awscli and python3.
   * @default - Debian's current image for the processor, looked up at each deployment
   */
  readonly machineImage?: IMachineImage;

  /**
   * Fewest nodes.
   * @default - one for each zone of `vpcSubnets`
   */
  readonly minNodes?: number;

  /**
   * Most nodes.
   * @default - twice `minNodes`
   */
  readonly maxNodes?: number;

  /**
   * Client connections that a node is sized for. Nodes are added when 70 % are in use, so 30 % is always in reserve.
   * @default - from the instance type, see `connectionsPerNode`
   */
  readonly connectionsPerNode?: number;

  /**
   * Largest message, both in and out.
   * @default Size.mebibytes(50)
   */
  readonly messageSizeMax?: Size;

  /**
   * Size of a mailbox, unless the user has a size of their own. Whole MiB.
   * @default Size.gibibytes(5)
   */
  readonly mailboxQuota?: Size;

  /**
   * How mailboxes lie on the store. It can't be changed on a store that has mail: nodes with another format than the
   * store began with refuse to start, and change nothing.
   * @default MailboxFormat.MAILDIR
   */
  readonly mailboxFormat?: MailboxFormat;

  /**
   * Root volume, gp3.
   * @default Size.gibibytes(20)
   */
  readonly rootVolumeSize?: Size;

  /**
   * Key of root volumes, and of leases and secret if they are new. A key of this app gets a statement that lets Auto
   * Scaling use it; an imported key must have it.
   * @default - the account's AWS managed key for EBS
   */
  readonly encryptionKey?: IKey;

  /**
   * Time that a node has to hand over its connections and queue before it is terminated: 30 seconds to 115 minutes.
   * @default Duration.minutes(5)
   */
  readonly drainTimeout?: Duration;

  /**
   * Time that a new node has from its start until it must be healthy.
   * @default Duration.minutes(10)
   */
  readonly bootTimeout?: Duration;

  /**
   * Time that a deployment waits after each new node before it replaces the next, and in which an unhealthy one stops
   * the deployment. Not shorter than `bootTimeout`.
   * @default Duration.minutes(15)
   */
  readonly pauseTime?: Duration;

  /**
   * Whether operators can open a shell on nodes by Session Manager. There is no SSH in any case.
   * @default true
   */
  readonly sessionManager?: boolean;

  /**
   * Where the group tells of each node that starts, stops, or can't.
   * @default - nowhere
   */
  readonly notificationsTopic?: ITopic;

  /**
   * Files that run on nodes.
   * @default - those of this package
   */
  readonly bundle?: MailBundle;
}

/**
 * The mail nodes: an Auto Scaling group over the zones that heals itself, grows with connections, and replaces its
 * nodes one batch at a time when anything on them changes.
 *
 * @throws on bad sizes and durations, on an instance type of unknown capacity, and on environment values that could not
 *   be written to a node
 */
export class MailFleet extends Construct implements IConnectable, IGrantable {
  public readonly autoScalingGroup: AutoScalingGroup;
  public readonly launchTemplate: LaunchTemplate;
  public readonly role: IRole;
  public readonly connections: Connections;
  public readonly grantPrincipal: IPrincipal;

  /** Dimension `Cluster` of the agent's metrics. */
  public readonly clusterName: string;

  /** Client connections that a node is sized for. */
  public readonly connectionsPerNode: number;

  public readonly minNodes: number;
  public readonly maxNodes: number;

  constructor(scope: Construct, id: string, props: MailFleetProps) {
    super(scope, id);
    const zones = new Set(props.vpc.selectSubnets(props.vpcSubnets).availabilityZones).size;
    this.minNodes = props.minNodes ?? zones;
    this.maxNodes = props.maxNodes ?? 2 * this.minNodes;
    checkNodes(this.minNodes, this.maxNodes);
    const instanceType = props.instanceType ?? new InstanceType('m7g.large');
    this.connectionsPerNode = props.connectionsPerNode ?? connectionsPerNode(instanceType);
    checkPositiveInteger('connectionsPerNode', this.connectionsPerNode);
    this.clusterName = props.clusterName ?? Stack.of(this).stackName;
    if (zones < 3) {
      Annotations.of(this).addWarningV2(
        'cdk-mail-platform:fewZones',
        `nodes are in ${zones} zone(s): with fewer than 3, losing one takes too much of the capacity; add subnets`,
      );
    }

    const bundle = props.bundle ?? new MailBundle(this, 'Bundle');
    const configurations = [...props.configurations, ...this.cooperation(props)];
    const nodeRole = new NodeRole(this, 'Node', {
      statements: [...bundle.statements, ...configurations.flatMap(({ statements }) => statements ?? [])],
      acknowledgements: configurations.flatMap(({ acknowledgements }) => acknowledgements ?? []),
      sessionManager: props.sessionManager ?? true,
    });
    this.role = nodeRole.role;
    this.grantPrincipal = nodeRole.role;
    this.connections = new Connections({ securityGroups: [props.securityGroup] });
    if (props.encryptionKey) {
      allowAutoScaling(this, props.encryptionKey);
    }
    this.launchTemplate = new NodeTemplate(this, 'Template', {
      instanceType,
      machineImage: props.machineImage,
      environment: this.environment(props, configurations),
      bundle,
      role: nodeRole.role,
      securityGroup: props.securityGroup,
      rootVolumeSize: props.rootVolumeSize ?? Size.gibibytes(20),
      encryptionKey: props.encryptionKey,
    }).launchTemplate;
    this.autoScalingGroup = this.createGroup(props);
    this.autoScalingGroup.node.addDependency(...nodeRole.bootPolicies);
    nodeRole.allowLifecycle(this.autoScalingGroup.node.defaultChild as CfnAutoScalingGroup);
    this.drainBeforeTermination(drainTimeout(props));
    this.scaleOnConnections();
  }

  /** Client connections of all nodes together. */
  public metricConnections(options?: MetricOptions): Metric {
    return agentMetric('Connections', this.clusterName, Stats.SUM, options);
  }

  /** Connections in use, percent of what nodes are sized for, mean over nodes. */
  public metricConnectionUtilization(options?: MetricOptions): Metric {
    return agentMetric('ConnectionUtilization', this.clusterName, Stats.AVERAGE, options);
  }

  /** Messages in the longest queue of a node. */
  public metricQueueLength(options?: MetricOptions): Metric {
    return agentMetric('QueueLength', this.clusterName, Stats.MAXIMUM, options);
  }

  /** Age of the oldest message in a queue, seconds. */
  public metricQueueAge(options?: MetricOptions): Metric {
    return agentMetric('QueueAge', this.clusterName, Stats.MAXIMUM, options);
  }

  /** Days until the first certificate of a node expires. */
  public metricCertificateDaysLeft(options?: MetricOptions): Metric {
    return agentMetric('CertificateDaysLeft', this.clusterName, Stats.MINIMUM, options);
  }

  /** Memory in use on the fullest node, percent. */
  public metricMemoryUtilization(options?: MetricOptions): Metric {
    return agentMetric('MemoryUtilization', this.clusterName, Stats.MAXIMUM, options);
  }

  /** Root disk in use on the fullest node, percent. */
  public metricDiskUtilization(options?: MetricOptions): Metric {
    return agentMetric('DiskUtilization', this.clusterName, Stats.MAXIMUM, options);
  }

  /** Time of a small write to the store, milliseconds, mean over nodes. */
  public metricStoreLatency(options?: MetricOptions): Metric {
    return agentMetric('StoreLatency', this.clusterName, Stats.AVERAGE, options);
  }

  /** Nodes in the ring as the node sees it that sees fewest. */
  public metricMembers(options?: MetricOptions): Metric {
    return agentMetric('Members', this.clusterName, Stats.MINIMUM, options);
  }

  /** Leases that nodes lost and noticed: they stopped serving at once and took new ones. */
  public metricLeasesLost(options?: MetricOptions): Metric {
    return agentMetric('LeasesLost', this.clusterName, Stats.SUM, options);
  }

  /** Longest time since a node's last successful renewal of its lease, milliseconds. */
  public metricLeaseAge(options?: MetricOptions): Metric {
    return agentMetric('LeaseAge', this.clusterName, Stats.MAXIMUM, options);
  }

  /** Version of the ring; grows with each node that joins or leaves. */
  public metricRingVersion(options?: MetricOptions): Metric {
    return agentMetric('RingVersion', this.clusterName, Stats.MAXIMUM, options);
  }

  /** Queues that nodes took over from nodes that are gone. */
  public metricQueuesAdopted(options?: MetricOptions): Metric {
    return agentMetric('QueuesAdopted', this.clusterName, Stats.SUM, options);
  }

  /** CPU in use, percent, mean over nodes. */
  public metricCpuUtilization(options?: MetricOptions): Metric {
    return cpuMetric(this.autoScalingGroup.autoScalingGroupName, options);
  }

  /** How nodes agree on who serves whom, and hand sessions over. */
  private cooperation(props: MailFleetProps): NodeConfiguration[] {
    const { encryptionKey } = props;
    const leases = props.leases ?? new LeaseTable(this, 'Leases', { encryptionKey });
    const nodeSecret = props.nodeSecret ?? new NodeSecret(this, 'NodeSecret', { encryptionKey });
    return [leases.configurationFor(this.clusterName), nodeSecret.configuration];
  }

  private environment(props: MailFleetProps, configurations: NodeConfiguration[]): { [key: string]: string } {
    const { region } = Stack.of(this);
    const own = {
      MAIL_CLUSTER: this.clusterName,
      AWS_REGION: region,
      AWS_DEFAULT_REGION: region,
      MAIL_DOMAINS: nonEmpty('domains', props.domains).join(' '),
      MAIL_HOSTNAME: props.hostname,
      MAIL_SERVICES: nonEmpty('services', props.services)
        .map(({ name }) => name)
        .join(' '),
      MAIL_NODE_NETWORK: props.vpc.vpcCidrBlock,
      MAIL_CONNECTIONS_MAX: `${this.connectionsPerNode}`,
      MAIL_MESSAGE_SIZE_MAX: `${(props.messageSizeMax ?? Size.mebibytes(50)).toBytes()}`,
      MAIL_QUOTA: dovecotSize(props.mailboxQuota ?? Size.gibibytes(5)),
      MAIL_MAILBOX_FORMAT: props.mailboxFormat ?? MailboxFormat.MAILDIR,
      MAIL_SESSION_MANAGER: (props.sessionManager ?? true) ? 'yes' : 'no',
      MAIL_DRAIN_HOOK: DRAIN_HOOK,
      MAIL_DRAIN_SECONDS: `${drainTimeout(props).toSeconds()}`,
    };
    return mergeEnvironments(own, configurations);
  }

  private createGroup(props: MailFleetProps): AutoScalingGroup {
    const bootTimeout = props.bootTimeout ?? Duration.minutes(10);
    const pauseTime = props.pauseTime ?? Duration.minutes(15);
    if (pauseTime.toSeconds() < bootTimeout.toSeconds()) {
      throw new Error(
        `pauseTime must be >= bootTimeout (${bootTimeout.toSeconds()} s), got ${pauseTime.toSeconds()} s; raise pauseTime`,
      );
    }
    const group = new AutoScalingGroup(this, 'Group', {
      vpc: props.vpc,
      vpcSubnets: props.vpcSubnets,
      launchTemplate: this.launchTemplate,
      minCapacity: this.minNodes,
      maxCapacity: this.maxNodes,
      // Exactly this one type: with more, the rule AutoScalingGroupELBHealthCheckRequired does not recognise it.
      healthChecks: HealthChecks.withAdditionalChecks({
        additionalTypes: [AdditionalHealthCheckType.ELB],
        gracePeriod: bootTimeout,
      }),
      defaultInstanceWarmup: bootTimeout,
      groupMetrics: [GroupMetrics.all()],
      notifications: props.notificationsTopic ? [{ topic: props.notificationsTopic }] : undefined,
      // A new node is there before an old one goes, and has been healthy for the pause before the next batch.
      updatePolicy: UpdatePolicy.instanceRefresh({
        strategy: InstanceRefreshStrategy.ROLLING,
        minHealthyPercentage: 100,
        maxHealthyPercentage: 110,
        instanceWarmup: pauseTime,
        skipMatching: true,
      }),
    });
    for (const targetGroup of props.targetGroups ?? []) {
      group.attachToNetworkTargetGroup(targetGroup);
    }
    // In a zonal shift the balancer keeps clients out of the zone. Nodes there are left alone: they may only look
    // unhealthy, and they hold sessions and queues of their users.
    (group.node.defaultChild as CfnAutoScalingGroup).availabilityZoneImpairmentPolicy = {
      zonalShiftEnabled: true,
      impairedZoneHealthCheckBehavior: 'IgnoreUnhealthy',
    };
    return group;
  }

  private drainBeforeTermination(timeout: Duration): void {
    this.autoScalingGroup.addLifecycleHook('Drain', {
      lifecycleHookName: DRAIN_HOOK,
      lifecycleTransition: LifecycleTransition.INSTANCE_TERMINATING,
      // The node ends by itself after the timeout; the hook gives it time to say so.
      heartbeatTimeout: timeout.plus(Duration.seconds(60)),
      // A node that does not answer is terminated with either result: its mail and its queue are on the store. CONTINUE
      // also runs the hooks that an owner may have added, where ABANDON would skip them.
      defaultResult: DefaultResult.CONTINUE,
    });
  }

  private scaleOnConnections(): void {
    this.autoScalingGroup.scaleToTrackMetric('Connections', {
      metric: this.metricConnectionUtilization(),
      targetValue: 70,
    });
  }
}

function drainTimeout(props: MailFleetProps): Duration {
  const timeout = props.drainTimeout ?? Duration.minutes(5);
  const seconds = timeout.toSeconds();
  // A hook lasts 7200 s at most, of which one minute is ours.
  if (seconds < 30 || seconds > 6900) {
    throw new Error(`drainTimeout must be 30 to 6900 seconds, got ${seconds}; choose a time in between`);
  }
  return timeout;
}

function checkNodes(minNodes: number, maxNodes: number): void {
  checkPositiveInteger('minNodes', minNodes);
  checkPositiveInteger('maxNodes', maxNodes);
  if (!Token.isUnresolved(minNodes) && !Token.isUnresolved(maxNodes) && maxNodes < minNodes) {
    throw new Error(`maxNodes must be >= minNodes (${minNodes}), got ${maxNodes}; raise maxNodes`);
  }
}

function checkPositiveInteger(name: string, value: number): void {
  if (!Token.isUnresolved(value) && (!Number.isInteger(value) || value < 1)) {
    throw new Error(`${name} must be a whole number >= 1, got ${value}; raise ${name}`);
  }
}

function nonEmpty<T>(name: string, values: T[]): T[] {
  if (values.length === 0) {
    throw new Error(`${name} must have at least one entry, got none; add one`);
  }
  return values;
}

/** Size in the notation of Dovecot's settings. */
function dovecotSize(size: Size): string {
  const mebibytes = size.toMebibytes();
  return mebibytes % 1024 === 0 ? `${mebibytes / 1024}G` : `${mebibytes}M`;
}
