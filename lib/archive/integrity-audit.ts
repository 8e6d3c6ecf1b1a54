import { Duration, Stack } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { METRIC_NAMESPACE } from '../node/fleet-metrics';
import { checkWhole, checkWholeDays } from '../private/check-whole';
import { HandlerFunction } from '../private/handler-function';
import { listFolders } from '../private/list-bucket';
import { callEvery } from '../private/on-schedule';
import { addTopicAlarm } from '../private/topic-alarm';
import { throughS3 } from '../private/through-s3';

const FOLDERS = ['journal/*', 'packs/*', 'evidence/*', 'audit/*'];

/** What an owner chooses about the audit. */
export interface IntegrityAuditOptions {
  /**
   * Messages that are picked at random and read whole each day.
   * @default 1000
   */
  readonly sampleSize?: number;

  /**
   * Time in which all messages are compared by S3's own SHA-256, whole days, at most 365. A million messages that are objects
   * of their own are 0.40 USD each time, in packs less than a cent.
   * @default Duration.days(7)
   */
  readonly fullPeriod?: Duration;
}

/** Properties of `IntegrityAudit`. */
export interface IntegrityAuditProps extends IntegrityAuditOptions {
  /** Bucket with the journal and its evidence. The audit keeps where it has come to in it, under `audit/`. */
  readonly bucket: IBucket;

  /** Key that signs the evidence. */
  readonly signingKey: IKey;

  /**
   * Key of the bucket's objects.
   * @default - the key that the bucket names, if any
   */
  readonly encryptionKey?: IKey;

  /**
   * When the bucket deletes mail by its age; what is older is not missed. Whole days.
   * @default - never
   */
  readonly expireAfter?: Duration;

  /**
   * Key of the function's logs.
   * @default - CloudWatch Logs' own key
   */
  readonly logEncryptionKey?: IKey;
}

/**
 * Compares a journal with the digests that its evidence recorded: a sample each day, everything each week, and the chain of
 * evidence with it (docs/evidence.md, "The audit").
 *
 * @throws when `sampleSize` or `fullPeriod` is out of its range
 */
export class IntegrityAudit extends Construct {
  private readonly fullPeriod: Duration;

  constructor(scope: Construct, id: string, props: IntegrityAuditProps) {
    super(scope, id);
    const sampleSize = props.sampleSize ?? 1000;
    this.fullPeriod = props.fullPeriod ?? Duration.days(7);
    checkWhole('sampleSize', sampleSize, { min: 1, max: 10_000, unit: 'messages' });
    checkWholeDays('fullPeriod', this.fullPeriod, 1, 365);
    const { bucket } = props;
    const handler = new HandlerFunction(this, 'Handler', {
      handler: 'audit',
      description: 'Compares the mail journal with its evidence',
      statements: this.statements(bucket, props.signingKey, props.encryptionKey ?? bucket.encryptionKey),
      encryptionKey: props.logEncryptionKey,
      environment: {
        JOURNAL_BUCKET: bucket.bucketName,
        SIGNING_KEY: props.signingKey.keyArn,
        CHAIN: Stack.of(this).stackName,
        SAMPLE: `${sampleSize}`,
        PERIOD_DAYS: `${this.fullPeriod.toDays()}`,
        KEPT_DAYS: `${props.expireAfter?.toDays() ?? 0}`,
        AWS_MAX_ATTEMPTS: '6',
      },
      timeout: Duration.minutes(15),
      memorySize: 512,
      calls:
        'EventBridge alone calls this function, on a schedule. A run that fails or dies has changed nothing but where the ' +
        'audit has come to, the next one goes on there, and an alarm tells when none does (test/archive/integrity-audit-runs.test.ts). ' +
        'It talks to S3 and KMS only, over TLS.',
    });
    acknowledge(
      handler,
      ...FOLDERS.map((folder) => ({
        id: findingId(this, 'AwsSolutions-IAM5', 'Resource', bucket.arnForObjects(folder)),
        reason:
          'Messages, packs and batches get names that are not known before. The folder is the scope; the function reads, and ' +
          'writes its own state only (test/archive/integrity-audit.test.ts).',
      })),
    );
    callEvery(this, Duration.hours(1), handler.function, 'Compares the mail journal with its evidence');
  }

  /** Messages of samples that were read; the sum over a period. */
  public metricSampled(options?: MetricOptions): Metric {
    return this.metric('AuditSampled', { statistic: Stats.SUM, ...options });
  }

  /** Messages, and pieces of evidence, that are not what was recorded; the sum over a period. */
  public metricBroken(options?: MetricOptions): Metric {
    return this.metric('AuditBroken', { statistic: Stats.SUM, ...options });
  }

  /** Messages more that are not there than when all were looked at the time before. */
  public metricNewlyMissing(options?: MetricOptions): Metric {
    return this.metric('AuditNewlyMissing', { statistic: Stats.MAXIMUM, ...options });
  }

  /** Time since the last sample, seconds. */
  public metricSampleAge(options?: MetricOptions): Metric {
    return this.metric('AuditSampleAge', { statistic: Stats.MAXIMUM, ...options });
  }

  /** Time since the beginning of the last look at all messages that came to its end, seconds. */
  public metricPassAge(options?: MetricOptions): Metric {
    return this.metric('AuditPassAge', { statistic: Stats.MAXIMUM, ...options });
  }

  /**
   * Adds the alarms `Broken`, `NewlyMissing`, `SampleStale` and `PassStale`.
   *
   * @param topic where they go
   */
  public addAlarms(topic: ITopic): void {
    const above = { comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD };
    const quiet = { ...above, threshold: 0, treatMissingData: TreatMissingData.NOT_BREACHING };
    addTopicAlarm(this, 'Broken', topic, {
      ...quiet,
      metric: this.metricBroken(),
      alarmDescription:
        'Messages of the journal, or evidence, are not what was recorded. Check first: the log of the function, which names ' +
        'them, then verify-evidence, and who wrote them (S3 access logs). A copy of the archive may have the right ones.',
    });
    addTopicAlarm(this, 'NewlyMissing', topic, {
      ...quiet,
      metric: this.metricNewlyMissing(),
      alarmDescription:
        'More attested messages are missing than when all were looked at the time before. After an erasure that is right: its ' +
        'proof names them. Check first: the log of the function, which names the first hundred of a run, against the proof.',
    });
    addTopicAlarm(this, 'SampleStale', topic, {
      ...above,
      metric: this.metricSampleAge(),
      threshold: Duration.days(2).toSeconds(),
      evaluationPeriods: 3,
      treatMissingData: TreatMissingData.BREACHING,
      alarmDescription:
        "No sample of the journal was compared with its evidence for two days. Check first: the function's log for the error " +
        'of its last run.',
    });
    addTopicAlarm(this, 'PassStale', topic, {
      ...above,
      metric: this.metricPassAge(),
      threshold: 2 * this.fullPeriod.toSeconds(),
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        `Not all of the journal was compared with its evidence within ${2 * this.fullPeriod.toDays()} days. Check first: the ` +
        "function's log; when runs end well, there is too much for an hour of each: raise fullPeriod, or move small messages into packs.",
    });
  }

  private metric(metricName: string, options: MetricOptions): Metric {
    return new Metric({
      namespace: METRIC_NAMESPACE,
      metricName,
      dimensionsMap: { EvidenceChain: Stack.of(this).stackName },
      period: Duration.hours(1),
      ...options,
    });
  }

  private statements(bucket: IBucket, signingKey: IKey, key?: IKey): PolicyStatement[] {
    const statements = [
      listFolders('ListPacksAndEvidence', bucket, FOLDERS),
      new PolicyStatement({
        sid: 'ReadJournalAndEvidence',
        actions: ['s3:GetObject', 's3:GetObjectVersion'],
        resources: FOLDERS.map((folder) => bucket.arnForObjects(folder)),
      }),
      new PolicyStatement({
        sid: 'KeepState',
        actions: ['s3:PutObject'],
        resources: [bucket.arnForObjects('audit/state.json')],
      }),
      new PolicyStatement({
        sid: 'VerifySignatures',
        actions: ['kms:GetPublicKey'],
        resources: [signingKey.keyArn],
      }),
    ];
    if (key) {
      statements.push(
        new PolicyStatement({
          sid: 'UseJournalKey',
          actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
          resources: [key.keyArn],
          conditions: throughS3(this),
        }),
      );
    }
    return statements;
  }
}
