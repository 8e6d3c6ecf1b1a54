import { Duration, Stack } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { METRIC_NAMESPACE } from '../node/fleet-metrics';
import { checkWholeDays } from '../private/check-whole';
import { HandlerFunction } from '../private/handler-function';
import { listFolders } from '../private/list-bucket';
import { callEvery } from '../private/on-schedule';
import { addTopicAlarm } from '../private/topic-alarm';
import { throughS3 } from '../private/through-s3';

/** Properties of `JournalPacks`. */
export interface JournalPacksProps {
  /** Bucket with the journal under `journal/`; it must be versioned and lock nothing. Packs are stored in it under `packs/`. */
  readonly bucket: IBucket;

  /**
   * Key of the bucket's objects.
   * @default - the key that the bucket names, if any
   */
  readonly encryptionKey?: IKey;

  /**
   * Whether only messages are moved that a batch of evidence attests. Without evidence in the bucket none would be.
   * @default true
   */
  readonly onlyAttested?: boolean;

  /**
   * Age from which messages are left where they are: a pack is deleted by its own age, so that old mail in a new pack would
   * be kept for too long. Whole days, 2 or more.
   * @default - any age, for a bucket that keeps mail for ever
   */
  readonly maxAge?: Duration;

  /**
   * Key of the function's logs.
   * @default - CloudWatch Logs' own key
   */
  readonly logEncryptionKey?: IKey;
}

/**
 * Moves small messages of a journal into packs of up to 8 MiB, a day after the day on which they were stored is over, so that
 * Glacier's classes, which bill 128 KB for the smallest object, store them at the price of what is in them (docs/journal.md,
 * "Packs"). Originals are deleted once S3 has confirmed pack and index.
 *
 * @throws when `maxAge` is out of its range
 */
export class JournalPacks extends Construct {
  private readonly handler: HandlerFunction;

  constructor(scope: Construct, id: string, props: JournalPacksProps) {
    super(scope, id);
    if (props.maxAge) {
      checkWholeDays('maxAge', props.maxAge, 2);
    }
    const { bucket } = props;
    const onlyAttested = props.onlyAttested ?? true;
    const folders = ['journal/*', 'packs/*', ...(onlyAttested ? ['evidence/*'] : [])];
    this.handler = new HandlerFunction(this, 'Handler', {
      handler: 'packs',
      description: 'Moves small messages of the mail journal into packs',
      statements: this.statements(bucket, folders, props.encryptionKey ?? bucket.encryptionKey),
      encryptionKey: props.logEncryptionKey,
      environment: {
        JOURNAL_BUCKET: bucket.bucketName,
        JOURNAL: this.journalName,
        ONLY_ATTESTED: `${onlyAttested}`,
        MAX_AGE_DAYS: `${props.maxAge?.toDays() ?? 0}`,
        AWS_MAX_ATTEMPTS: '6',
      },
      timeout: Duration.minutes(15),
      memorySize: 512,
      calls:
        'EventBridge alone calls this function, on a schedule. A run that fails or dies loses nothing and stores nothing ' +
        'twice, the next one goes on, and two at once do no harm (test/archive/journal-packs-objects.test.ts). It talks to S3 only, ' +
        'over TLS.',
    });
    acknowledge(
      this.handler,
      ...folders.map((folder) => ({
        id: findingId(this, 'AwsSolutions-IAM5', 'Resource', bucket.arnForObjects(folder)),
        reason:
          'Messages, packs and batches get names that are not known before. The folder is the scope; nothing is written ' +
          'over, and evidence neither written nor deleted (test/archive/journal-packs.test.ts).',
      })),
    );
    callEvery(this, Duration.hours(1), this.handler.function, 'Moves small messages of the mail journal into packs');
  }

  /** Runs that came to their end; the sum over a period. */
  public metricRuns(options?: MetricOptions): Metric {
    return this.metric('PackRuns', { statistic: Stats.SUM, ...options });
  }

  /** Packs stored; the sum over a period. */
  public metricPacks(options?: MetricOptions): Metric {
    return this.metric('PacksStored', { statistic: Stats.SUM, ...options });
  }

  /** Messages moved into packs; the sum over a period. */
  public metricPacked(options?: MetricOptions): Metric {
    return this.metric('PackedMessages', { statistic: Stats.SUM, ...options });
  }

  /** Messages that are not what evidence attests, and were left alone. */
  public metricNotPacked(options?: MetricOptions): Metric {
    return this.metric('NotPacked', { statistic: Stats.MAXIMUM, ...options });
  }

  /**
   * Adds the alarms `Stale` and `NotPacked`.
   *
   * @param topic where they go
   */
  public addAlarms(topic: ITopic): void {
    addTopicAlarm(this, 'Stale', topic, {
      metric: this.metricRuns({ period: Duration.days(1) }),
      threshold: 1,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.BREACHING,
      alarmDescription:
        'For a day no run that moves small messages into packs has come to its end. Nothing is lost, storage costs more. ' +
        "Check first: the function's log for the error of its last run.",
    });
    addTopicAlarm(this, 'NotPacked', topic, {
      metric: this.metricNotPacked({ period: Duration.hours(1) }),
      threshold: 0,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        "Messages of the journal are not what evidence attests, and were left where they are. Check first: the function's " +
        'log, which names them, then verify-evidence, and who wrote them (S3 access logs).',
    });
  }

  private get journalName(): string {
    return Stack.of(this).stackName;
  }

  private metric(metricName: string, options: MetricOptions): Metric {
    return new Metric({
      namespace: METRIC_NAMESPACE,
      metricName,
      dimensionsMap: { Journal: this.journalName },
      period: Duration.hours(1),
      ...options,
    });
  }

  private statements(bucket: IBucket, folders: string[], key?: IKey): PolicyStatement[] {
    const statements = [
      listFolders('ListJournalAndPacks', bucket, folders),
      new PolicyStatement({
        sid: 'ReadJournalAndPacks',
        actions: ['s3:GetObject', 's3:GetObjectVersion'],
        resources: folders.map((folder) => bucket.arnForObjects(folder)),
      }),
      new PolicyStatement({
        // What is locked is left alone.
        sid: 'SeeLocks',
        actions: ['s3:GetObjectRetention', 's3:GetObjectLegalHold'],
        resources: [bucket.arnForObjects('journal/*')],
      }),
      new PolicyStatement({
        sid: 'AddPacks',
        actions: ['s3:PutObject'],
        resources: [bucket.arnForObjects('packs/*')],
        // Never over what is there, whatever the code does.
        conditions: { Null: { 's3:if-none-match': 'false' } },
      }),
      new PolicyStatement({
        // Of packs, those that a run left that was killed.
        sid: 'DeleteOriginals',
        actions: ['s3:DeleteObjectVersion'],
        resources: [bucket.arnForObjects('journal/*'), bucket.arnForObjects('packs/*')],
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
