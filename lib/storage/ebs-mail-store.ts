import { Duration, RemovalPolicy, Stack, Token } from 'aws-cdk-lib';
import { IMetric, MathExpression, Metric, MetricOptions, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import { CfnVolume, InstanceType } from 'aws-cdk-lib/aws-ec2';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { acknowledge, Acknowledgement, findingId } from '../compliance';
import { NodeConfiguration } from '../node/node-configuration';
import { checkWholeDays } from '../private/check-whole';
import { EfsMailStore } from './efs-mail-store';
import { IMailShard, IMailStore, ShardTag } from './mail-store';
import { ShardSnapshots } from './shard-snapshots';
import { ShardVolume } from './shard-volume';

/** Key of the tag by which a volume and the instances that may have it know each other. */
const SHARD_TAG = 'mail-platform:shard';

/** Key of the tag that all volumes of a store have, by which their snapshots are made. */
const STORE_TAG = 'mail-platform:store';

/** Key of the tag that a node puts on a volume once it is formatted. */
const FORMATTED_TAG = 'mail-platform:formatted';

/** Groups whose CPU one alarm can watch (CloudWatch, metrics in an alarm). */
const SHARDS_MAX = 10;

/** A snapshot of a shard's volume. */
export interface ShardSnapshot {
  /** Id, such as `snap-0123456789abcdef0`. */
  readonly snapshotId: string;

  /**
   * Zone of the new volume and its node, when the shard's own zone is lost. The network must have subnets there.
   * @default - the shard's zone
   */
  readonly availabilityZone?: string;
}

/** Where mail goes when it is old. */
export interface OldMailOptions {
  /** File system that all shards share. */
  readonly store: EfsMailStore;

  /** Age at which mail moves. Whole days, one or more. */
  readonly after: Duration;
}

/** Properties of `EbsMailStore`. */
export interface EbsMailStoreProps {
  /** Zones of the shards, each one once; shards are spread over them in turn. */
  readonly availabilityZones: string[];

  /**
   * Shards in each zone; ten together at most. It can't be changed once there is mail: nodes refuse to start then.
   * @default 1
   */
  readonly shardsPerZone?: number;

  /**
   * The disk of each shard.
   * @default ShardVolume.gp3()
   */
  readonly volume?: ShardVolume;

  /**
   * Key for data at rest. A volume's key can't be changed later.
   * @default - the account's AWS managed key for EBS
   */
  readonly encryptionKey?: IKey;

  /**
   * Time between snapshots: 1, 2, 3, 4, 6, 8, 12 or 24 hours.
   * @default Duration.hours(1)
   */
  readonly snapshotEvery?: Duration;

  /**
   * Snapshots to keep of each shard, 1 to 1000.
   * @default 72
   */
  readonly snapshotsKept?: number;

  /**
   * Snapshots to make volumes from, by the name of the shard (`shard-1`). To name another one makes a new volume and
   * replaces the node; the old volume stays in the account.
   * @default - empty volumes
   */
  readonly restoreFrom?: { [shard: string]: ShardSnapshot };

  /**
   * Where mail goes when it is old, in the nightly window. Needs `MailboxFormat.SDBOX`.
   * @default - it stays on the volume
   */
  readonly oldMail?: OldMailOptions;
}

/**
 * The mail store on EBS: zonal shards, each a volume that exactly one node has (docs/storage.md). Volumes are encrypted, have
 * snapshots, and stay when the stack goes.
 *
 * EC2 has no deletion protection for volumes. One that is attached can't be deleted, and nodes have no right to delete or
 * detach any.
 *
 * @throws when there are too many shards, or none, and on bad snapshot times and names
 */
export class EbsMailStore extends Construct implements IMailStore {
  public readonly shards: IMailShard[];
  public readonly storeId: string;
  public readonly configuration: NodeConfiguration;

  constructor(scope: Construct, id: string, props: EbsMailStoreProps) {
    super(scope, id);
    const count = checkShards(props);
    const volume = props.volume ?? ShardVolume.gp3();
    const names = Array.from({ length: count }, (_, index) => `shard-${index + 1}`);
    const unknown = Object.keys(props.restoreFrom ?? {}).filter((name) => !names.includes(name));
    if (unknown.length > 0) {
      throw new Error(`restoreFrom must name shards from shard-1 to shard-${count}, got ${unknown.join(', ')}`);
    }
    for (const [name, { snapshotId }] of Object.entries(props.restoreFrom ?? {})) {
      if (!/^snap-[0-9a-f]+$/.test(snapshotId)) {
        throw new Error(`restoreFrom of ${name} must be an id such as snap-0123456789abcdef0, got ${snapshotId}`);
      }
    }
    this.shards = names.map((name, index) => this.createShard(name, index, volume, props));
    this.storeId = this.shards.map(({ volumeId }) => volumeId).join(' ');
    new ShardSnapshots(this, 'Snapshots', {
      tag: { key: STORE_TAG, value: this.storeName },
      volumeArns: this.shards.map(({ volumeId }) => this.arn('volume', volumeId)),
      every: props.snapshotEvery ?? Duration.hours(1),
      kept: props.snapshotsKept ?? 72,
    });
    this.configuration = {
      environment: {
        MAIL_STORE: 'ebs',
        MAIL_STORE_NAME: this.storeName,
        MAIL_SHARDS: names.join(' '),
        ...(props.oldMail && oldMailSettings(props.oldMail)),
      },
      statements: this.statements(props.encryptionKey),
      acknowledgements: this.acknowledgements(),
    };
  }

  /** Highest of all shards; an alarm takes the shards' own. */
  public metricOperationsUtilization(options?: MetricOptions): IMetric {
    return this.highest('Operations', options, (shard) => shard.metricOperationsUtilization(options));
  }

  /** Highest of all shards; an alarm takes the shards' own. */
  public metricThroughputUtilization(options?: MetricOptions): IMetric {
    return this.highest('Throughput', options, (shard) => shard.metricThroughputUtilization(options));
  }

  /** gp3 and io2 have no credits. */
  public metricBurstCreditBalance(): undefined {
    return undefined;
  }

  /** EBS knows what is provisioned, not what is stored: `MailFleet.metricStoreUtilization`. */
  public metricStoredBytes(): undefined {
    return undefined;
  }

  /** EBS keeps no copy of a volume elsewhere. */
  public metricReplicationLag(): undefined {
    return undefined;
  }

  private get storeName(): string {
    return Stack.of(this).stackName;
  }

  private highest(what: string, options: MetricOptions | undefined, of: (shard: IMailShard) => IMetric): IMetric {
    const usingMetrics = Object.fromEntries(this.shards.map((shard, index) => [`shard${index + 1}`, of(shard)]));
    return new MathExpression({
      expression: `MAX([${Object.keys(usingMetrics).join(', ')}])`,
      label: `${what} used, percent, of the busiest shard`,
      period: options?.period,
      usingMetrics,
    });
  }

  private createShard(name: string, index: number, disk: ShardVolume, props: EbsMailStoreProps): IMailShard {
    const restored: Partial<ShardSnapshot> = props.restoreFrom?.[name] ?? {};
    const { snapshotId } = restored;
    const availabilityZone =
      restored.availabilityZone ?? props.availabilityZones[index % props.availabilityZones.length];
    const tag: ShardTag = { key: SHARD_TAG, value: `${this.storeName}/${name}` };
    // CloudFormation can't give a volume another snapshot: another one is another resource. Not the L2, which knows less
    // than half of io2's operations and a quarter of its size.
    const volume = new CfnVolume(this, `Shard${index + 1}${snapshotId ? `From-${snapshotId}` : ''}`, {
      availabilityZone,
      volumeType: disk.type,
      size: disk.size.toGibibytes(),
      iops: disk.iops,
      throughput: disk.throughput,
      encrypted: true,
      kmsKeyId: props.encryptionKey?.keyArn,
      multiAttachEnabled: false,
      snapshotId,
      tags: [tag, { key: STORE_TAG, value: this.storeName }, { key: 'Name', value: tag.value }],
    });
    volume.applyRemovalPolicy(RemovalPolicy.RETAIN);
    acknowledge(
      volume,
      ...['NIST.800.53.R5-EC2EBSInBackupPlan', 'HIPAA.Security-EC2EBSInBackupPlan'].map((id) => ({
        id,
        reason:
          'The rule looks for AWS Backup. This volume has snapshots by a Data Lifecycle Manager policy of this stack, which ' +
          'selects it by its tag (test/storage/ebs-mail-store.test.ts).',
      })),
    );
    return new Shard(name, availabilityZone, volume.ref, tag, disk);
  }

  private arn(resource: string, resourceName: string): string {
    return Stack.of(this).formatArn({ service: 'ec2', resource, resourceName });
  }

  private statements(key?: IKey): PolicyStatement[] {
    const volumes = this.shards.map(({ volumeId }) => this.arn('volume', volumeId));
    return [
      new PolicyStatement({ sid: 'SeeVolumes', actions: ['ec2:DescribeVolumes'], resources: ['*'] }),
      new PolicyStatement({ sid: 'AttachVolumes', actions: ['ec2:AttachVolume'], resources: volumes }),
      new PolicyStatement({
        sid: 'AttachToNodes',
        actions: ['ec2:AttachVolume'],
        resources: [this.arn('instance', '*')],
        conditions: {
          StringEquals: { [`aws:ResourceTag/${SHARD_TAG}`]: this.shards.map(({ instanceTag }) => instanceTag.value) },
        },
      }),
      new PolicyStatement({
        sid: 'NoteThatFormatted',
        actions: ['ec2:CreateTags'],
        resources: volumes,
        conditions: { 'ForAllValues:StringEquals': { 'aws:TagKeys': [FORMATTED_TAG] } },
      }),
      ...(key ? this.useKey(key) : []),
    ];
  }

  /** @see https://docs.aws.amazon.com/ebs/latest/userguide/how-ebs-encryption-works.html */
  private useKey(key: IKey): PolicyStatement[] {
    const { region, urlSuffix } = Stack.of(this);
    const viaEc2 = { 'kms:ViaService': `ec2.${region}.${urlSuffix}` };
    return [
      new PolicyStatement({
        sid: 'UseVolumeKey',
        actions: ['kms:Decrypt', 'kms:DescribeKey'],
        resources: [key.keyArn],
        conditions: { StringEquals: viaEc2 },
      }),
      new PolicyStatement({
        sid: 'LendVolumeKey',
        actions: ['kms:CreateGrant'],
        resources: [key.keyArn],
        conditions: { StringEquals: viaEc2, Bool: { 'kms:GrantIsForAWSResource': 'true' } },
      }),
    ];
  }

  private acknowledgements(): Acknowledgement[] {
    return [
      {
        id: 'AwsSolutions-IAM5[Resource::*]',
        reason: 'DescribeVolumes has no resource in IAM, and only reads (test/storage/ebs-mail-store.test.ts).',
      },
      {
        id: findingId(this, 'AwsSolutions-IAM5', 'Resource', this.arn('instance', '*')),
        reason:
          'Instances of an Auto Scaling group have ids that nobody knows before. A condition allows those with the tag of a ' +
          "shard, and the volume must be one of the shards' own (test/storage/ebs-mail-store.test.ts).",
      },
    ];
  }
}

class Shard implements IMailShard {
  public readonly configuration: NodeConfiguration;

  constructor(
    public readonly name: string,
    public readonly availabilityZone: string,
    public readonly volumeId: string,
    public readonly instanceTag: ShardTag,
    private readonly disk: ShardVolume,
  ) {
    this.configuration = { environment: { MAIL_SHARD: name, MAIL_STORE_VOLUME: volumeId } };
  }

  public metricOperationsUtilization(options?: MetricOptions): IMetric {
    return this.utilization('Operations', 'Ops', this.disk.iops, options);
  }

  public metricThroughputUtilization(options?: MetricOptions): IMetric {
    // io2: 256 KiB to an operation, up to 4000 MiB a second.
    const mebibytes = this.disk.throughput ?? Math.min(this.disk.iops / 4, 4_000);
    return this.utilization('Throughput', 'Bytes', mebibytes * 1024 * 1024, options);
  }

  public metricBurstCreditBalance(): undefined {
    return undefined;
  }

  public shortcomingOn(instanceType: InstanceType): string | undefined {
    return this.disk.shortcomingOn(instanceType);
  }

  private utilization(what: string, suffix: string, limit: number, options?: MetricOptions): IMetric {
    const metric = (metricName: string) =>
      new Metric({
        namespace: 'AWS/EBS',
        metricName,
        dimensionsMap: { VolumeId: this.volumeId },
        ...options,
        statistic: Stats.SUM,
      });
    // Ids of their own: an expression over all shards has those of each.
    const id = this.name.replace('-', '');
    return new MathExpression({
      expression: `100 * (${id}read + ${id}written) / PERIOD(${id}read) / ${limit}`,
      label: `${what} used by ${this.name}, percent`,
      period: options?.period,
      usingMetrics: { [`${id}read`]: metric(`VolumeRead${suffix}`), [`${id}written`]: metric(`VolumeWrite${suffix}`) },
    });
  }
}

function oldMailSettings({ store, after }: OldMailOptions): { [key: string]: string } {
  checkWholeDays('oldMailAfter', after, 1);
  return { MAIL_OLD_SERVER: store.configuration.environment.MAIL_STORE_SERVER, MAIL_OLD_DAYS: `${after.toDays()}` };
}

function checkShards({ availabilityZones, shardsPerZone = 1 }: EbsMailStoreProps): number {
  const zones = new Set(availabilityZones).size;
  if (zones === 0 || zones !== availabilityZones.length) {
    throw new Error(`availabilityZones must be zones, each one once, got [${availabilityZones.join(', ')}]`);
  }
  if (Token.isUnresolved(shardsPerZone) || !Number.isInteger(shardsPerZone) || shardsPerZone < 1) {
    throw new Error(`shardsPerZone must be a whole number >= 1, got ${shardsPerZone}`);
  }
  const count = zones * shardsPerZone;
  if (count > SHARDS_MAX) {
    throw new Error(
      `shards must be ${SHARDS_MAX} at most, got ${count} (${zones} zones x ${shardsPerZone}); ` +
        'lower shardsPerZone and choose larger volumes, or make several stacks',
    );
  }
  return count;
}
