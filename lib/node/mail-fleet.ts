import { Annotations, Duration, Size, Stack, Token } from 'aws-cdk-lib';
import { AutoScalingGroup, CfnAutoScalingGroup } from 'aws-cdk-lib/aws-autoscaling';
import { IAlarm, IMetric, MathExpression, Metric, MetricOptions, Stats } from 'aws-cdk-lib/aws-cloudwatch';
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
import { IMailShard } from '../storage/mail-store';
import { agentMetric, cpuMetric } from './fleet-metrics';
import { FleetOptions } from './fleet-options';
import { settleTimes } from './fleet-times';
import { LeaseTable } from './lease-table';
import { MailBundle } from './mail-bundle';
import { NodeConfiguration } from './node-configuration';
import { mergeEnvironments } from './node-environment';
import { createNodeGroup } from './node-group';
import { NodeRole } from './node-role';
import { NodeSecret } from './node-secret';
import { nodeSettings } from './node-settings';
import { NodeTemplate } from './node-template';
import { rollBackOnAlarms } from './rollback-alarms';
import { checkFitsShards, createShardGroup, subnetsIn } from './shard-group';
import { checkMemory, connectionsPerNode } from './sizing';

/** Properties of `MailFleet`. */
export interface MailFleetProps extends FleetOptions {
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
   * Shards of the store: one group of exactly one node for each, in its zone. Nodes are then as many as shards.
   * @default - one group over all zones
   */
  readonly shards?: IMailShard[];

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
   * Image of the nodes: Debian 13 with cloud-init, awscli and python3.
   * @default - Debian's current image for the processor, looked up at each deployment
   */
  readonly machineImage?: IMachineImage;

  /**
   * Root volume, gp3. Whole GiB, 8 or more.
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
 * nodes one batch at a time when anything on them changes. With shards it is a group of one node for each of them, which heals
 * itself too; what is changed replaces the nodes one after the other.
 *
 * @throws on bad sizes and durations, on an instance type of unknown capacity or too little memory, on environment values that
 *   could not be written to a node; with shards on `minNodes` and `maxNodes`, and on a shard whose zone has no subnet
 */
export class MailFleet extends Construct implements IConnectable, IGrantable {
  /** The group of all nodes, or one group for each shard, in their order. */
  public readonly autoScalingGroups: AutoScalingGroup[];

  /** What nodes are made of, one for each group. */
  public readonly launchTemplates: LaunchTemplate[];

  /** Role of nodes. */
  public readonly role: IRole;
  /** Of the security group of nodes. */
  public readonly connections: Connections;
  /** The role of nodes. */
  public readonly grantPrincipal: IPrincipal;

  /** Dimension `Cluster` of the agent's metrics. */
  public readonly clusterName: string;

  /** Client connections that a node is sized for. */
  public readonly connectionsPerNode: number;

  /** Fewest nodes; with shards as many as shards. */
  public readonly minNodes: number;
  /** Most nodes. */
  public readonly maxNodes: number;

  /** Time that a new node has from its start until it must be healthy. */
  public readonly bootTimeout: Duration;

  /** Files that run on nodes. */
  public readonly bundle: MailBundle;

  /** Environment file of the nodes, without what is a shard's own. */
  public readonly environment: { [key: string]: string };

  private readonly rollbackAlarms: IAlarm[] = [];

  constructor(scope: Construct, id: string, props: MailFleetProps) {
    super(scope, id);
    const zones = new Set(props.vpc.selectSubnets(props.vpcSubnets).availabilityZones).size;
    const shards = props.shards;
    checkFitsShards(props, props.shards);
    this.minNodes = shards?.length ?? props.minNodes ?? zones;
    this.maxNodes = shards?.length ?? props.maxNodes ?? 2 * this.minNodes;
    checkNodes(this.minNodes, this.maxNodes);
    const instanceType = props.instanceType ?? new InstanceType('m7g.large');
    const taken = Size.bytes(props.configurations.reduce((sum, { memory }) => sum + (memory?.toBytes() ?? 0), 0));
    checkMemory(instanceType, taken);
    this.connectionsPerNode = props.connectionsPerNode ?? connectionsPerNode(instanceType, taken);
    checkPositiveInteger('connectionsPerNode', this.connectionsPerNode);
    const times = settleTimes(props, shards !== undefined);
    this.bootTimeout = times.bootTimeout;
    this.clusterName = props.clusterName ?? Stack.of(this).stackName;
    if (zones < 3) {
      Annotations.of(this).addWarningV2(
        'cdk-mail-platform:fewZones',
        `nodes are in ${zones} zone(s): with fewer than 3, losing one takes too much of the capacity; add subnets`,
      );
    }

    if (this.minNodes === 1) {
      Annotations.of(this).addWarningV2(
        'cdk-mail-platform:oneNode',
        'one node: nobody has mail while it is replaced, in each deployment and when its zone fails; raise minNodes',
      );
    }
    const shortcoming = shards?.map((shard) => shard.shortcomingOn(instanceType)).find((found) => found !== undefined);
    if (shortcoming) {
      Annotations.of(this).addWarningV2('cdk-mail-platform:slowInstanceType', shortcoming);
    }

    const bundle = props.bundle ?? new MailBundle(this, 'Bundle');
    this.bundle = bundle;
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
    const settings = nodeSettings(this, {
      ...props,
      clusterName: this.clusterName,
      connectionsPerNode: this.connectionsPerNode,
      drainTimeout: times.drainTimeout,
    });
    this.environment = mergeEnvironments(settings, configurations);
    const createTemplate = (templateId: string, parts: NodeConfiguration[]) =>
      new NodeTemplate(this, templateId, {
        instanceType,
        machineImage: props.machineImage,
        environment: mergeEnvironments(settings, parts),
        bundle,
        role: nodeRole.role,
        securityGroup: props.securityGroup,
        rootVolumeSize: props.rootVolumeSize ?? Size.gibibytes(20),
        encryptionKey: props.encryptionKey,
      }).launchTemplate;
    const common = {
      vpc: props.vpc,
      ...times,
      targetGroups: props.targetGroups ?? [],
      notificationsTopic: props.notificationsTopic,
    };
    this.launchTemplates = shards
      ? shards.map(({ configuration }, index) =>
          createTemplate(`Shard${index + 1}Template`, [...configurations, configuration]),
        )
      : [createTemplate('Template', configurations)];
    this.autoScalingGroups = shards
      ? shards.map((shard, index) =>
          createShardGroup(this, `Shard${index + 1}`, {
            ...common,
            vpcSubnets: { subnets: subnetsIn(props.vpc, props.vpcSubnets, shard) },
            shard,
            launchTemplate: this.launchTemplates[index],
          }),
        )
      : [
          createNodeGroup(this, 'Group', {
            ...common,
            vpcSubnets: props.vpcSubnets,
            launchTemplate: this.launchTemplates[0],
            minNodes: this.minNodes,
            maxNodes: this.maxNodes,
            utilization: this.metricConnectionUtilization(),
          }),
        ];
    this.autoScalingGroups.forEach((group, index) => {
      group.node.addDependency(...nodeRole.bootPolicies);
      // One shard is without its node at a time.
      if (index > 0) group.node.addDependency(this.autoScalingGroups[index - 1]);
    });
    this.rollBackOn(...(props.rollbackAlarms ?? []));
    nodeRole.allowLifecycle(this.autoScalingGroups.map((group) => group.node.defaultChild as CfnAutoScalingGroup));
  }

  /**
   * The group of all nodes.
   *
   * @throws when each shard has a group of its own
   */
  public get autoScalingGroup(): AutoScalingGroup {
    return only('autoScalingGroup', this.autoScalingGroups);
  }

  /**
   * What all nodes are made of.
   *
   * @throws when each shard has a launch template of its own
   */
  public get launchTemplate(): LaunchTemplate {
    return only('launchTemplate', this.launchTemplates);
  }

  /**
   * Rolls a deployment back when one of these alarms, too, goes off while nodes are replaced.
   *
   * @throws as for `rollbackAlarms`
   */
  public rollBackOn(...alarms: IAlarm[]): void {
    this.rollbackAlarms.push(...alarms);
    for (const group of this.autoScalingGroups) {
      rollBackOnAlarms(group, this.rollbackAlarms);
    }
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

  /**
   * Seconds since the node whose users are oldest last heard from the directory which users there are; of one that never did,
   * since it was started.
   */
  public metricDirectoryAge(options?: MetricOptions): Metric {
    return agentMetric('DirectoryAge', this.clusterName, Stats.MAXIMUM, options);
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

  /** Logins that succeeded, on all nodes together. */
  public metricLogins(options?: MetricOptions): Metric {
    return agentMetric('Logins', this.clusterName, Stats.SUM, options);
  }

  /** Logins that were refused for a wrong password, token or user, on all nodes together. */
  public metricFailedLogins(options?: MetricOptions): Metric {
    return agentMetric('FailedLogins', this.clusterName, Stats.SUM, options);
  }

  /**
   * Share of logins that were refused, percent.
   *
   * @param loginsMin fewer logins in a period, good and bad together, count as 0 %: one of three says nothing
   */
  public metricLoginFailureRate(loginsMin: number, options?: MetricOptions): IMetric {
    const good = this.metricLogins(options);
    return new MathExpression({
      expression: `IF(good + failed >= ${loginsMin}, 100 * failed / (good + failed), 0)`,
      usingMetrics: { good, failed: this.metricFailedLogins(options) },
      label: 'Login failure rate',
      period: good.period,
    });
  }

  /**
   * Seconds since the node that is furthest behind fetched the keys of the identity provider; of one that never could, since it was
   * started. Nodes without `singleSignOn` send none.
   */
  public metricTokenKeysAge(options?: MetricOptions): Metric {
    return agentMetric('TokenKeysAge', this.clusterName, Stats.MAXIMUM, options);
  }

  /** Space in use on the fullest volume of a shard, percent of blocks or of inodes; nodes of a shared store send none. */
  public metricStoreUtilization(options?: MetricOptions): Metric {
    return agentMetric('StoreUtilization', this.clusterName, Stats.MAXIMUM, options);
  }

  /** CPU in use, percent, mean over nodes. */
  public metricCpuUtilization(options?: MetricOptions): IMetric {
    const metrics = this.autoScalingGroups.map((group) => cpuMetric(group.autoScalingGroupName, options));
    if (metrics.length === 1) {
      return metrics[0];
    }
    const usingMetrics = Object.fromEntries(metrics.map((metric, index) => [`shard${index + 1}`, metric]));
    return new MathExpression({
      expression: `AVG([${Object.keys(usingMetrics).join(', ')}])`,
      label: 'CPU in use, percent, mean over nodes',
      period: metrics[0].period,
      usingMetrics,
    });
  }

  /** How nodes agree on who serves whom, and hand sessions over. */
  private cooperation(props: MailFleetProps): NodeConfiguration[] {
    const { encryptionKey } = props;
    const leases = props.leases ?? new LeaseTable(this, 'Leases', { encryptionKey });
    const nodeSecret = props.nodeSecret ?? new NodeSecret(this, 'NodeSecret', { encryptionKey });
    return [leases.configurationFor(this.clusterName), nodeSecret.configuration];
  }
}

function only<T>(name: string, all: T[]): T {
  if (all.length !== 1) {
    throw new Error(`${name} must be asked of a fleet with one group, got ${all.length} shards; use ${name}s`);
  }
  return all[0];
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
