import { Duration, Size, SizeRoundingBehavior, Stack } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { Grant, IGrantable, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { findingId } from '../compliance';
import { agentMetric } from '../node/fleet-metrics';
import { NodeConfiguration } from '../node/node-configuration';
import { checkWhole } from '../private/check-whole';
import { addTopicAlarm } from '../private/topic-alarm';
import { throughS3 } from '../private/through-s3';
import { decryptByS3, readFolder, useByS3 } from './archive-grants';
import { EvidenceChain } from './evidence-chain';
import { IntegrityAudit, IntegrityAuditOptions } from './integrity-audit';
import { JournalKeys } from './journal-keys';
import { JournalPacks } from './journal-packs';

/** Age up to which messages go into packs where packs are deleted by their age: they may be kept so much longer. */
const PACKED_BEFORE = Duration.days(3);

/** What nodes write: messages, and what they still have of people who are to be erased. */
const WRITTEN = ['journal/*', 'erasure/*'];

/** What an owner chooses about the journal. */
export interface MailJournalOptions {
  /**
   * Whether signed batches attest what was stored and when; see `EvidenceChain`.
   * @default true
   */
  readonly evidence?: boolean;

  /**
   * How what is stored is compared with the evidence: a sample each day, all of it each week; see `IntegrityAudit`. Without
   * evidence there is nothing to compare with, and no audit.
   * @default - 1000 messages a day, all within 7 days
   */
  readonly audit?: IntegrityAuditOptions;

  /**
   * Whether small messages are moved into packs a day later, and originals deleted; see `JournalPacks`.
   * @default - of a `MailStack`: true for an archive of its own without a lock that keeps mail for a year or longer; else false
   */
  readonly packs?: boolean;

  /**
   * Whether each message is encrypted for keys of those of ours who sent it or got it, so that `mail-erase` makes it unreadable by
   * destroying keys where a lock forbids to delete it; see `JournalKeys`. Not with `packs`. Can be turned on and off: what is stored
   * stays as it is.
   * @default false
   */
  readonly sealed?: boolean;

  /**
   * Mail that may wait for S3 on one node before the node puts new mail off (452), which senders then keep. 64 MiB or
   * more, whole MiB.
   * @default Size.gibibytes(20)
   */
  readonly waitingMax?: Size;

  /**
   * How long a message may wait for S3 until the alarm goes off. Whole minutes, 5 or more.
   * @default Duration.minutes(15)
   */
  readonly waitingAlarm?: Duration;
}

/** Properties of `MailJournal`. */
export interface MailJournalProps extends MailJournalOptions {
  /**
   * Bucket that messages are stored in, under `journal/`; it must be versioned. How long they are kept and locked are
   * settings of the bucket, see `MailArchive`.
   */
  readonly bucket: IBucket;

  /**
   * Key of the bucket's objects.
   * @default - the key that the bucket names, if any
   */
  readonly encryptionKey?: IKey;

  /**
   * When the bucket deletes mail: what is older is not missed, and messages of more than three days are not moved into packs. Whole days.
   * @default - never
   */
  readonly expireAfter?: Duration;

  /**
   * Name of the cluster, the dimension `Cluster` of its metrics.
   * @default - name of the stack
   */
  readonly clusterName?: string;

  /**
   * Key of the logs of the function that makes evidence.
   * @default - CloudWatch Logs' own key
   */
  readonly logEncryptionKey?: IKey;

  /**
   * Bucket for S3 server access logs of the keys of a sealed journal; see `AccessLogBucket`.
   * @default - access is not logged
   */
  readonly accessLogsBucket?: IBucket;
}

/**
 * A copy of every message that a cluster accepts, inwards and outwards, in S3: an object for each, with its envelope, that
 * nodes can write once and can't read, change or delete (docs/journal.md).
 *
 * A message is accepted together with its copy or not at all. While S3 is away, copies wait in the nodes' queues.
 *
 * @throws when `waitingMax` or `waitingAlarm` is out of its range, or `sealed` and `packs` are asked for together
 */
export class MailJournal extends Construct {
  /** What nodes need to write the journal. */
  public readonly configuration: NodeConfiguration;

  /** Signed batches of evidence; nothing when they were not wanted. */
  public readonly evidence?: EvidenceChain;

  /** Compares the journal with its evidence; nothing without evidence. */
  public readonly audit?: IntegrityAudit;

  /** What moves small messages into packs; nothing when that was not wanted. */
  public readonly packs?: JournalPacks;

  /** Keys that open messages; nothing when messages are not sealed. */
  public readonly keys?: JournalKeys;

  private readonly bucket: IBucket;
  private readonly encryptionKey?: IKey;
  private readonly clusterName: string;
  private readonly waitingAlarm: Duration;

  constructor(scope: Construct, id: string, props: MailJournalProps) {
    super(scope, id);
    const waitingMax = props.waitingMax ?? Size.gibibytes(20);
    this.waitingAlarm = props.waitingAlarm ?? Duration.minutes(15);
    checkWhole('waitingMax', waitingMax.toMebibytes({ rounding: SizeRoundingBehavior.NONE }), {
      min: 64,
      unit: 'MiB',
    });
    checkWhole('waitingAlarm', this.waitingAlarm.toMinutes({ integral: false }), { min: 5, unit: 'minutes' });
    if (props.sealed && props.packs) {
      throw new Error(
        'packs must be off in a sealed journal, whose messages zstd can not read out of a pack; remove one',
      );
    }
    this.clusterName = props.clusterName ?? Stack.of(this).stackName;
    this.keys = props.sealed ? new JournalKeys(this, 'Keys', { accessLogsBucket: props.accessLogsBucket }) : undefined;

    const { bucket } = props;
    const encryptionKey = props.encryptionKey ?? bucket.encryptionKey;
    this.bucket = bucket;
    this.encryptionKey = encryptionKey;
    this.configuration = {
      environment: {
        MAIL_JOURNAL_BUCKET: bucket.bucketName,
        MAIL_JOURNAL_WAITING_MAX: `${waitingMax.toBytes()}`,
        ...(this.keys && { MAIL_JOURNAL_KEYS: this.keys.bucket.bucketName }),
      },
      statements: [...this.writeStatements(bucket, encryptionKey), ...(this.keys?.nodeStatements ?? [])],
      acknowledgements: [
        ...WRITTEN.map((folder) => ({
          id: findingId(this, 'AwsSolutions-IAM5', 'Resource', bucket.arnForObjects(folder)),
          reason:
            'Messages and reports get names that are not known before. The folder is the scope, and nodes may only add to it: ' +
            'not write over an object, read or delete one (test/archive/mail-journal.test.ts).',
        })),
        ...(this.keys?.nodeAcknowledgements ?? []),
      ],
    };
    if (props.evidence ?? true) {
      this.evidence = new EvidenceChain(this, 'Evidence', {
        bucket,
        encryptionKey,
        logEncryptionKey: props.logEncryptionKey,
      });
    }
    this.audit =
      this.evidence &&
      new IntegrityAudit(this, 'Audit', {
        ...props.audit,
        bucket,
        encryptionKey,
        signingKey: this.evidence.signingKey,
        expireAfter: props.expireAfter,
        logEncryptionKey: props.logEncryptionKey,
      });
    if (props.packs) {
      this.packs = new JournalPacks(this, 'Packs', {
        bucket,
        encryptionKey,
        onlyAttested: this.evidence !== undefined,
        maxAge: props.expireAfter && PACKED_BEFORE,
        logEncryptionKey: props.logEncryptionKey,
      });
    }
  }

  /** Lets a principal read messages, sealed ones too. */
  public grantRead(grantee: IGrantable): Grant {
    return this.withKeys(
      this.grantList(grantee, 's3:ListBucket')
        .combine(readFolder(grantee, this.bucket, 'journal/*', ['s3:GetObject']))
        .combine(decryptByS3(grantee, this.encryptionKey)),
      this.keys?.grantOpen(grantee),
    );
  }

  /** Lets a principal read messages and ask for those in Glacier, to get mail back with `mail-restore`. */
  public grantRestore(grantee: IGrantable): Grant {
    return this.withKeys(
      this.grantList(grantee, 's3:ListBucket')
        .combine(readFolder(grantee, this.bucket, 'journal/*', ['s3:GetObject', 's3:RestoreObject']))
        .combine(readFolder(grantee, this.bucket, 'packs/*', ['s3:GetObject', 's3:RestoreObject']))
        .combine(decryptByS3(grantee, this.encryptionKey)),
      this.keys?.grantOpen(grantee),
    );
  }

  /**
   * Lets a principal read and delete versions of messages, write packs anew without some, read what nodes tell of people who are to
   * be erased, and destroy keys, with `mail-erase`. What is locked stays.
   */
  public grantErase(grantee: IGrantable): Grant {
    const versions = [
      's3:DeleteObjectVersion',
      's3:GetObjectLegalHold',
      's3:GetObjectRetention',
      's3:GetObjectVersion',
    ];
    const grant = this.grantList(grantee, 's3:ListBucket', 's3:ListBucketVersions')
      .combine(readFolder(grantee, this.bucket, 'journal/*', versions))
      .combine(readFolder(grantee, this.bucket, 'packs/*', [...versions, 's3:GetObject', 's3:RestoreObject']))
      .combine(readFolder(grantee, this.bucket, 'erasure/*', ['s3:GetObject']))
      .combine(
        Grant.addToPrincipal({
          grantee,
          actions: ['s3:PutObject'],
          resourceArns: [this.bucket.arnForObjects('packs/*')],
          conditions: { Null: { 's3:if-none-match': 'false' } },
        }),
      )
      .combine(useByS3(grantee, this.encryptionKey, 'kms:Decrypt', 'kms:GenerateDataKey'));
    return this.withKeys(grant, this.keys?.grantDestroy(grantee));
  }

  /** Messages stored; the sum over a period. */
  public metricStored(options?: MetricOptions): Metric {
    return agentMetric('JournalStored', this.clusterName, Stats.SUM, options);
  }

  /** Messages that wait for S3 on the node that has most. */
  public metricWaiting(options?: MetricOptions): Metric {
    return agentMetric('JournalWaiting', this.clusterName, Stats.MAXIMUM, options);
  }

  /** Bytes that wait for S3 on the node that has most. */
  public metricWaitingBytes(options?: MetricOptions): Metric {
    return agentMetric('JournalWaitingBytes', this.clusterName, Stats.MAXIMUM, options);
  }

  /** Age of the oldest message that waits for S3, seconds. */
  public metricAge(options?: MetricOptions): Metric {
    return agentMetric('JournalAge', this.clusterName, Stats.MAXIMUM, options);
  }

  /**
   * Adds the alarms `Behind` and `Silent`, and those of evidence, audit and packs.
   *
   * @param topic where they go
   */
  public addAlarms(topic: ITopic): void {
    addTopicAlarm(this, 'Behind', topic, {
      metric: this.metricAge({ period: Duration.minutes(5) }),
      threshold: this.waitingAlarm.toSeconds(),
      evaluationPeriods: 1,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        `Accepted mail has waited more than ${this.waitingAlarm.toMinutes()} minutes for its journal. It is safe in the ` +
        'queue for 5 days, but then it is dropped there. Check first: `journalctl -u mail-journal` on the node for what ' +
        'S3 says, then the policies of bucket and key, and the way to S3. If it takes days, raise maximal_queue_lifetime.',
    });
    addTopicAlarm(this, 'Silent', topic, {
      metric: this.metricAge({ period: Duration.minutes(5), statistic: Stats.SAMPLE_COUNT }),
      threshold: 1,
      evaluationPeriods: 3,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.BREACHING,
      alarmDescription:
        'No node has told of its journal for 15 minutes, so the other alarm can not be trusted. Check first: `systemctl ' +
        'status mail-journal` on a node.',
    });
    this.evidence?.addAlarms(topic);
    this.audit?.addAlarms(topic);
    this.packs?.addAlarms(topic);
  }

  private withKeys(grant: Grant, ofKeys?: Grant): Grant {
    return ofKeys ? grant.combine(ofKeys) : grant;
  }

  private grantList(grantee: IGrantable, ...actions: string[]): Grant {
    return Grant.addToPrincipal({ grantee, actions, resourceArns: [this.bucket.bucketArn] });
  }

  private writeStatements(bucket: IBucket, key?: IKey): PolicyStatement[] {
    const statements = [
      new PolicyStatement({
        sid: 'AddToJournal',
        actions: ['s3:PutObject'],
        resources: WRITTEN.map((folder) => bucket.arnForObjects(folder)),
        // Never over what is there, whatever a node does.
        conditions: { Null: { 's3:if-none-match': 'false' } },
      }),
    ];
    if (key) {
      statements.push(
        new PolicyStatement({
          sid: 'EncryptJournal',
          actions: ['kms:GenerateDataKey'],
          resources: [key.keyArn],
          conditions: throughS3(this),
        }),
      );
    }
    return statements;
  }
}
