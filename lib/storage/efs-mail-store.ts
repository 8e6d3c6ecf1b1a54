import { Annotations, RemovalPolicy, Stack, Token } from 'aws-cdk-lib';
import { IMetric, MathExpression, Metric, MetricOptions, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import { ISecurityGroup, IVpc, Port, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import {
  CfnFileSystem,
  FileSystem,
  IFileSystem,
  LifecyclePolicy,
  PerformanceMode,
  ReplicationConfiguration,
  ThroughputMode,
} from 'aws-cdk-lib/aws-efs';
import { AnyPrincipal, Effect, PolicyDocument, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { NodeConfiguration } from '../node/node-configuration';
import { pinFlags } from '../private/pin-flags';
import { IMailStore } from './mail-store';

/** A copy of the store in another region, which EFS makes and keeps up to date. */
export interface StoreReplication {
  /** Region of the copy, such as `eu-west-1`: another one than the stack's. */
  readonly region: string;

  /**
   * Key of the copy at rest, in its region. It can't be changed later.
   * @default - that region's AWS managed key for EFS
   */
  readonly encryptionKey?: IKey;
}

/** Properties of `EfsMailStore`. */
export interface EfsMailStoreProps {
  /** Network of the nodes. */
  readonly vpc: IVpc;

  /** Subnets for the mount targets, one per zone. Not used with an imported file system. */
  readonly vpcSubnets: SubnetSelection;

  /** Security group of the mount targets. Not used with an imported file system. */
  readonly securityGroup: ISecurityGroup;

  /**
   * Security group of the nodes, let in to an imported file system.
   * @default - an imported file system already lets the nodes in
   */
  readonly nodeSecurityGroup?: ISecurityGroup;

  /**
   * Key for data at rest. A file system's key can't be changed later.
   * @default - the account's AWS managed key for EFS
   */
  readonly encryptionKey?: IKey;

  /**
   * A file system to use instead of a new one; the settings below then do not apply.
   * @default - a new file system
   */
  readonly fileSystem?: IFileSystem;

  /**
   * Whether AWS Backup's daily plan for EFS, 35 days, backs it up. Turn it off where `MailBackup` does.
   * @default true
   */
  readonly automaticBackups?: boolean;

  /**
   * A copy in another region (docs/backup.md). Not with an imported file system.
   * @default - none: law may forbid that mail leaves the region
   */
  readonly replication?: StoreReplication;

  /** @default LifecyclePolicy.AFTER_30_DAYS */
  readonly infrequentAccessAfter?: LifecyclePolicy;

  /** @default LifecyclePolicy.AFTER_90_DAYS */
  readonly archiveAfter?: LifecyclePolicy;
}

/**
 * The mail store on Amazon EFS: elastic throughput, cold files in cheaper classes, backed up daily, encrypted at rest
 * and in transit, kept when the stack goes.
 *
 * Nodes reach it by NFSv4.1 through TLS to port 2049. They do not use IAM to mount (that needs the EFS helper, which
 * Debian does not package), so the security group decides who may mount.
 *
 * @throws when `archiveAfter` is not later than `infrequentAccessAfter`, which EFS refuses, and when `replication` is for an imported
 * file system, or for the region of the stack
 */
export class EfsMailStore extends Construct implements IMailStore {
  /** The file system, new or imported. */
  public readonly fileSystem: IFileSystem;
  public readonly storeId: string;
  public readonly storeArn: string;
  public readonly configuration: NodeConfiguration;
  private readonly imported: boolean;
  private readonly replicated: boolean;

  constructor(scope: Construct, id: string, props: EfsMailStoreProps) {
    super(scope, id);
    pinFlags(this, '@aws-cdk/aws-efs:mountTargetOrderInsensitiveLogicalId');

    this.imported = props.fileSystem !== undefined;
    this.replicated = props.replication !== undefined;
    if (props.replication) checkReplication(props.replication, this);
    if (props.replication && props.fileSystem) {
      throw new Error(
        'replication is for a file system that is made here; replicate the imported one where it is made',
      );
    }
    this.fileSystem = props.fileSystem ?? this.createFileSystem(props);
    if (props.fileSystem) {
      this.letNodesIn(props.fileSystem, props.nodeSecurityGroup);
    }
    this.storeId = this.fileSystem.fileSystemId;
    this.storeArn = this.fileSystem.fileSystemArn;

    const { region, urlSuffix } = Stack.of(this);
    this.configuration = {
      environment: {
        MAIL_STORE: 'efs',
        MAIL_STORE_SERVER: `${this.storeId}.efs.${region}.${urlSuffix}`,
      },
    };
  }

  /** `PercentIOLimit`: how near the file system is to the limit of the General Purpose mode, percent. */
  public metricOperationsUtilization(options?: MetricOptions): Metric {
    return this.metric('PercentIOLimit', { statistic: Stats.MAXIMUM, ...options });
  }

  /**
   * Metered throughput, percent of `PermittedThroughput`.
   *
   * @see https://docs.aws.amazon.com/efs/latest/ug/monitoring-metric-math.html
   */
  public metricThroughputUtilization(options?: MetricOptions): IMetric {
    return new MathExpression({
      expression: '100 * (metered / PERIOD(metered)) / permitted',
      label: 'Throughput used, percent of permitted',
      period: options?.period,
      usingMetrics: {
        metered: this.metric('MeteredIOBytes', { ...options, statistic: Stats.SUM }),
        permitted: this.metric('PermittedThroughput', { ...options, statistic: Stats.MINIMUM }),
      },
    });
  }

  /** `BurstCreditBalance`, bytes; only an imported file system can be of the kind that has it. */
  public metricBurstCreditBalance(options?: MetricOptions): Metric | undefined {
    return this.imported ? this.metric('BurstCreditBalance', { statistic: Stats.MINIMUM, ...options }) : undefined;
  }

  /** `StorageBytes` over all storage classes, bytes; EFS reports it every 15 minutes. */
  public metricStoredBytes(options?: MetricOptions): Metric {
    return this.metric(
      'StorageBytes',
      { statistic: Stats.MAXIMUM, ...options },
      { FileSystemId: this.storeId, StorageClass: 'Total' },
    );
  }

  /**
   * `TimeSinceLastSync`: how far the copy in the other region is behind, seconds; nothing where there is none.
   *
   * By a query, because its second dimension, the copy, is not known before it is made.
   *
   * @see https://docs.aws.amazon.com/efs/latest/ug/efs-metrics.html
   */
  public metricReplicationLag(options?: MetricOptions): IMetric | undefined {
    if (!this.replicated) return undefined;
    return new MathExpression({
      expression:
        'SELECT MAX(TimeSinceLastSync) FROM SCHEMA("AWS/EFS", FileSystemId, DestinationFileSystemId) ' +
        `WHERE FileSystemId = '${this.storeId}'`,
      label: 'Age of the copy in the other region',
      usingMetrics: {},
      period: options?.period,
    });
  }

  private metric(metricName: string, options: MetricOptions, dimensionsMap?: { [name: string]: string }): Metric {
    return new Metric({
      namespace: 'AWS/EFS',
      metricName,
      dimensionsMap: dimensionsMap ?? { FileSystemId: this.storeId },
      ...options,
    });
  }

  private createFileSystem(props: EfsMailStoreProps): FileSystem {
    const infrequentAccessAfter = props.infrequentAccessAfter ?? LifecyclePolicy.AFTER_30_DAYS;
    const archiveAfter = props.archiveAfter ?? LifecyclePolicy.AFTER_90_DAYS;
    if (days(archiveAfter) <= days(infrequentAccessAfter)) {
      throw new Error(
        `archiveAfter must be later than infrequentAccessAfter (${days(infrequentAccessAfter)} days), ` +
          `got ${days(archiveAfter)} days; choose a later class transition`,
      );
    }
    const { replication } = props;
    const fileSystem = new FileSystem(this, 'FileSystem', {
      vpc: props.vpc,
      vpcSubnets: props.vpcSubnets,
      securityGroup: props.securityGroup,
      encrypted: true,
      kmsKey: props.encryptionKey,
      performanceMode: PerformanceMode.GENERAL_PURPOSE,
      throughputMode: ThroughputMode.ELASTIC,
      lifecyclePolicy: infrequentAccessAfter,
      transitionToArchivePolicy: archiveAfter,
      enableAutomaticBackups: props.automaticBackups ?? true,
      removalPolicy: RemovalPolicy.RETAIN,
      replicationConfiguration:
        replication && ReplicationConfiguration.regionalFileSystem(replication.region, replication.encryptionKey),
      allowAnonymousAccess: true,
      fileSystemPolicy: mountTargetsAndTlsOnly(),
    });
    if (props.automaticBackups === false) {
      // Said, not left out: else a file system that has them would keep them.
      (fileSystem.node.defaultChild as CfnFileSystem).backupPolicy = { status: 'DISABLED' };
      return fileSystem;
    }
    acknowledge(
      fileSystem,
      ...['NIST.800.53.R5-EFSInBackupPlan', 'HIPAA.Security-EFSInBackupPlan'].map((rule) => ({
        id: rule,
        reason:
          'The rule looks for a backup selection in this stack. This file system has its BackupPolicy enabled, which ' +
          "puts it into AWS Backup's daily plan for EFS with 35 days of retention (test/storage/efs-mail-store.test.ts).",
      })),
    );
    return fileSystem;
  }

  private letNodesIn(fileSystem: IFileSystem, nodes?: ISecurityGroup): void {
    if (nodes) {
      fileSystem.connections.allowFrom(nodes, Port.NFS, 'Mail nodes mount the store');
    } else {
      Annotations.of(this).addWarningV2(
        'cdk-mail-platform:efsWithoutNodeRule',
        'no rule was added to the imported file system for the nodes; pass nodeSecurityGroup, or let TCP 2049 in from them',
      );
    }
  }
}

/** Anyone whom the security group lets reach a mount target may mount, and only by TLS. */
function mountTargetsAndTlsOnly(): PolicyDocument {
  return new PolicyDocument({
    statements: [
      new PolicyStatement({
        sid: 'MountTargetsOnly',
        principals: [new AnyPrincipal()],
        actions: [
          'elasticfilesystem:ClientMount',
          'elasticfilesystem:ClientWrite',
          // Postfix and Dovecot own files by several users, which root on the node sets.
          'elasticfilesystem:ClientRootAccess',
        ],
        conditions: { Bool: { 'elasticfilesystem:AccessedViaMountTarget': 'true' } },
      }),
      new PolicyStatement({
        sid: 'TlsOnly',
        effect: Effect.DENY,
        principals: [new AnyPrincipal()],
        actions: ['*'],
        conditions: { Bool: { 'aws:SecureTransport': 'false' } },
      }),
    ],
  });
}

function checkReplication({ region }: StoreReplication, scope: Construct): void {
  const own = Stack.of(scope).region;
  if (Token.isUnresolved(region)) return;
  if (!/^[a-z]{2}(-[a-z]+)+-[0-9]$/.test(region)) {
    throw new Error(`replication.region must be a region such as eu-west-1, got ${JSON.stringify(region)}`);
  }
  if (region === own) {
    throw new Error(`replication.region must be another region than ${own}, which has the store; choose one`);
  }
}

function days(policy: LifecyclePolicy): number {
  return Number(/^AFTER_(\d+)_DAYS?$/.exec(policy)![1]);
}
