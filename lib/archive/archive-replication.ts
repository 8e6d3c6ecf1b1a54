import { Duration, Stack, Token } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Bucket, CfnBucket, IBucket } from 'aws-cdk-lib/aws-s3';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { addTopicAlarm } from '../private/topic-alarm';
import { throughS3 } from '../private/through-s3';

const RULE = 'second-copy';

/** Where a copy in another region goes. */
export interface ArchiveReplicationOptions {
  /**
   * Bucket for the copies, in another region; versioned, with Object Lock if the archive has it. In another account its
   * policy must let the role in.
   */
  readonly destination: IBucket;

  /** Key for the copies, in the region of `destination`. */
  readonly destinationKey: IKey;

  /** Region of `destination`, which the role may use the key in. */
  readonly destinationRegion: string;
}

/** Properties of `ArchiveReplication`. */
export interface ArchiveReplicationProps extends ArchiveReplicationOptions {
  /** Bucket of the archive; it must be one of this app, because replication is a setting of the bucket. */
  readonly bucket: IBucket;

  /** Key of the archive's objects. */
  readonly encryptionKey: IKey;
}

/**
 * A second copy of the archive in another region, by S3 replication with Replication Time Control: S3 promises 99.9 %
 * of new objects within 15 minutes, and measures it. Versions keep their ids, so evidence holds for the copy too.
 *
 * What was in the archive before is not copied: S3 Batch Replication does that, once. Deletions are not copied.
 *
 * @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-time-control.html
 * @throws when `bucket` is imported, or the destination is in the same region
 */
export class ArchiveReplication extends Construct {
  /** Role that S3 copies with. */
  public readonly role: Role;

  private readonly dimensions: { [name: string]: string };

  constructor(scope: Construct, id: string, props: ArchiveReplicationProps) {
    super(scope, id);
    if (!(props.bucket instanceof Bucket)) {
      throw new Error('bucket must be made in this app, got an imported one; set replication where it is made');
    }
    const { region } = Stack.of(this);
    if (!Token.isUnresolved(region) && region === props.destinationRegion) {
      throw new Error(`destinationRegion must be another region than that of the archive, got ${region}`);
    }
    this.dimensions = {
      SourceBucket: props.bucket.bucketName,
      DestinationBucket: props.destination.bucketName,
      RuleId: RULE,
    };
    this.role = new Role(this, 'Role', {
      description: 'Copies the mail archive to a second region',
      assumedBy: new ServicePrincipal('s3.amazonaws.com'),
    });
    const policy = new ManagedPolicy(this, 'Policy', {
      description: 'Copies the mail archive to a second region',
      roles: [this.role],
      statements: this.statements(props),
    });
    acknowledge(
      policy,
      ...[props.bucket, props.destination].map((bucket) => ({
        id: findingId(this, 'AwsSolutions-IAM5', 'Resource', bucket.arnForObjects('*')),
        reason:
          'Each object of the archive is copied, so the scope is one bucket to read from and one to copy to; the role ' +
          "can't delete, nor write to the archive (test/archive/archive-replication.test.ts).",
      })),
    );
    const cfnBucket = props.bucket.node.defaultChild as CfnBucket;
    cfnBucket.replicationConfiguration = {
      role: this.role.roleArn,
      rules: [
        {
          id: RULE,
          status: 'Enabled',
          priority: 1,
          filter: { prefix: '' },
          deleteMarkerReplication: { status: 'Disabled' },
          sourceSelectionCriteria: { sseKmsEncryptedObjects: { status: 'Enabled' } },
          destination: {
            bucket: props.destination.bucketArn,
            encryptionConfiguration: { replicaKmsKeyId: props.destinationKey.keyArn },
            replicationTime: { status: 'Enabled', time: { minutes: 15 } },
            metrics: { status: 'Enabled', eventThreshold: { minutes: 15 } },
          },
        },
      ],
    };
  }

  /** How far the copy is behind, seconds. */
  public metricLatency(options?: MetricOptions): Metric {
    return this.metric('ReplicationLatency', { statistic: Stats.MAXIMUM, ...options });
  }

  /** Operations that wait to be copied. */
  public metricPending(options?: MetricOptions): Metric {
    return this.metric('OperationsPendingReplication', { statistic: Stats.MAXIMUM, ...options });
  }

  /** Operations that could not be copied, which S3 does not try again. */
  public metricFailed(options?: MetricOptions): Metric {
    return this.metric('OperationsFailedReplication', { statistic: Stats.SUM, ...options });
  }

  /**
   * Adds the alarms `Late` and `Failed`.
   *
   * @param topic where they go
   */
  public addAlarms(topic: ITopic): void {
    const period = Duration.minutes(5);
    const rules: [string, Metric, number, string][] = [
      ['Late', this.metricLatency({ period }), 900, 'The second copy of the archive is more than 15 minutes behind.'],
      [
        'Failed',
        this.metricFailed({ period }),
        0,
        'Objects of the archive could not be copied, and will not be by themselves.',
      ],
    ];
    for (const [id, metric, threshold, what] of rules) {
      addTopicAlarm(this, id, topic, {
        metric,
        threshold,
        comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
        treatMissingData: TreatMissingData.NOT_BREACHING,
        alarmDescription:
          `${what} Check first: that the role may use both keys and write to the other bucket; then S3 Batch ` +
          'Replication for what is missing.',
      });
    }
  }

  private metric(metricName: string, options: MetricOptions): Metric {
    return new Metric({ namespace: 'AWS/S3', metricName, dimensionsMap: this.dimensions, ...options });
  }

  /** @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html */
  private statements(props: ArchiveReplicationProps): PolicyStatement[] {
    return [
      new PolicyStatement({
        sid: 'SeeArchive',
        actions: ['s3:GetReplicationConfiguration', 's3:ListBucket'],
        resources: [props.bucket.bucketArn],
      }),
      new PolicyStatement({
        sid: 'ReadArchive',
        actions: [
          's3:GetObjectVersionForReplication',
          's3:GetObjectVersionAcl',
          's3:GetObjectVersionTagging',
          's3:GetObjectRetention',
          's3:GetObjectLegalHold',
        ],
        resources: [props.bucket.arnForObjects('*')],
      }),
      new PolicyStatement({
        sid: 'WriteCopies',
        actions: ['s3:ReplicateObject', 's3:ReplicateTags'],
        resources: [props.destination.arnForObjects('*')],
      }),
      new PolicyStatement({
        sid: 'DecryptArchive',
        actions: ['kms:Decrypt'],
        resources: [props.encryptionKey.keyArn],
        conditions: throughS3(this),
      }),
      new PolicyStatement({
        sid: 'EncryptCopies',
        actions: ['kms:Encrypt', 'kms:GenerateDataKey'],
        resources: [props.destinationKey.keyArn],
        conditions: throughS3(this, props.destinationRegion),
      }),
    ];
  }
}
