import { Duration, Stack, Token } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { Rule } from 'aws-cdk-lib/aws-events';
import { SqsQueue } from 'aws-cdk-lib/aws-events-targets';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { EventSourceMapping } from 'aws-cdk-lib/aws-lambda';
import { Bucket, CfnBucket, IBucket } from 'aws-cdk-lib/aws-s3';
import { ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { METRIC_NAMESPACE } from '../node/fleet-metrics';
import { checkWhole } from '../private/check-whole';
import { HandlerFunction } from '../private/handler-function';
import { listFolders } from '../private/list-bucket';
import { readSecret } from '../private/secret-access';
import { addTopicAlarm } from '../private/topic-alarm';
import { throughS3 } from '../private/through-s3';

/** What is written once and never changed. */
const FOLDERS = ['journal/', 'packs/', 'evidence/'];

/** Where a copy outside AWS goes. */
export interface ArchiveCopyOptions {
  /** URL of an S3-compatible service, such as `https://s3.example.net`; https, without a path. */
  readonly endpoint: string;

  /** Bucket there, which exists. */
  readonly bucketName: string;

  /**
   * Secret with JSON: `accessKeyId` and `secretAccessKey`, which may read and write objects of the bucket there. They
   * need not delete any. A new value counts from the next batch on.
   */
  readonly credentials: ISecret;

  /**
   * Region that requests are signed for.
   * @default us-east-1
   */
  readonly region?: string;

  /**
   * Batches copied at the same time, 2 to 1000. One copies its objects one after the other, some 5 a second.
   * @default 10
   */
  readonly concurrency?: number;

  /**
   * How far the copy may be behind until the alarm goes off. Whole minutes, 4 or more: an object that failed is tried
   * again after 3.
   * @default Duration.minutes(5)
   */
  readonly lateAfter?: Duration;
}

/** Properties of `ArchiveCopy`. */
export interface ArchiveCopyProps extends ArchiveCopyOptions {
  /** Bucket of the archive; versioned. An imported one must send its events to EventBridge. */
  readonly bucket: IBucket;

  /**
   * Key of the archive's objects.
   * @default - the key that the bucket names, if any
   */
  readonly encryptionKey?: IKey;

  /**
   * Key of the function's logs.
   * @default - CloudWatch Logs' own key
   */
  readonly logEncryptionKey?: IKey;
}

/**
 * A copy of journal and evidence outside AWS, within seconds, in any service that speaks S3's protocol. Each object is
 * copied when the other side has confirmed its SHA-256. What fails is tried again for two days, and its event is kept in
 * a dead-letter queue until it is 14 days old.
 *
 * What was in the archive before is not copied. Deletions are not copied, and nothing there is written over.
 *
 * @throws when `endpoint`, `bucketName`, `concurrency` or `lateAfter` can't be right
 */
export class ArchiveCopy extends Construct {
  /** What could not be copied. */
  public readonly deadLetterQueue: Queue;

  /** Events that wait to be copied. */
  public readonly queue: Queue;

  private readonly handler: HandlerFunction;
  private readonly lateAfter: Duration;

  constructor(scope: Construct, id: string, props: ArchiveCopyProps) {
    super(scope, id);
    checkTarget(props.endpoint, props.bucketName);
    this.lateAfter = props.lateAfter ?? Duration.minutes(5);
    const concurrency = props.concurrency ?? 10;
    checkWhole('lateAfter', this.lateAfter.toMinutes({ integral: false }), { min: 4, max: 1440, unit: 'minutes' });
    checkWhole('concurrency', concurrency, { min: 2, max: 1000, unit: 'batches' });

    this.deadLetterQueue = this.createQueue('DeadLetters');
    this.queue = this.createQueue('Queue', this.deadLetterQueue);
    this.sendEvents(props.bucket);
    this.handler = this.createHandler(props);
    new EventSourceMapping(this, 'Batches', {
      target: this.handler.function,
      eventSourceArn: this.queue.queueArn,
      batchSize: 50,
      maxBatchingWindow: Duration.seconds(10),
      maxConcurrency: concurrency,
      reportBatchItemFailures: true,
    });
  }

  /** Objects copied; the sum over a period. */
  public metricCopied(options?: MetricOptions): Metric {
    return this.metric('ArchiveCopied', { statistic: Stats.SUM, ...options });
  }

  /** Attempts that failed; the sum over a period. */
  public metricFailed(options?: MetricOptions): Metric {
    return this.metric('ArchiveCopyFailed', { statistic: Stats.SUM, ...options });
  }

  /** Age of the oldest object when it was copied, or when that failed; seconds. */
  public metricLag(options?: MetricOptions): Metric {
    return this.metric('ArchiveCopyLag', { statistic: Stats.MAXIMUM, ...options });
  }

  /** Age of the oldest event in the queue, seconds. SQS leaves out those that were tried three times and more. */
  public metricWaiting(options?: MetricOptions): Metric {
    return this.queue.metricApproximateAgeOfOldestMessage({ statistic: Stats.MAXIMUM, ...options });
  }

  /** Objects that could not be copied and are not tried any more. */
  public metricGivenUp(options?: MetricOptions): Metric {
    return this.deadLetterQueue.metricApproximateNumberOfMessagesVisible({ statistic: Stats.MAXIMUM, ...options });
  }

  /**
   * Adds the alarms `Late`, `Waiting` and `GivenUp`.
   *
   * @param topic where they go
   */
  public addAlarms(topic: ITopic): void {
    const period = Duration.minutes(1);
    const minutes = this.lateAfter.toMinutes();
    const threshold = this.lateAfter.toSeconds();
    const rules: [string, Metric, number, string][] = [
      [
        'Late',
        this.metricLag({ period }),
        threshold,
        `The copy of the archive outside AWS is more than ${minutes} minutes behind. Check first: the function's log for ` +
          'what the other side answers, then the credentials, the bucket and its quota there.',
      ],
      [
        'Waiting',
        this.metricWaiting({ period }),
        threshold,
        `Objects have waited more than ${minutes} minutes to be copied outside AWS. Check first: whether the function ` +
          'runs and can read its secret (its log), then whether concurrency is enough for what comes.',
      ],
      [
        'GivenUp',
        this.metricGivenUp({ period }),
        0,
        'Objects could not be copied outside AWS and are not tried any more; events go when they are 14 days old. Check ' +
          'first: the function\'s log. "with another content" there means that somebody changed the archive or the ' +
          'copy: run verify-evidence. Then start a redrive of the dead-letter queue.',
      ],
    ];
    for (const [id, metric, limit, alarmDescription] of rules) {
      addTopicAlarm(this, id, topic, {
        metric,
        threshold: limit,
        comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
        treatMissingData: TreatMissingData.NOT_BREACHING,
        alarmDescription,
      });
    }
  }

  private get archiveName(): string {
    return Stack.of(this).stackName;
  }

  private metric(metricName: string, options: MetricOptions): Metric {
    return new Metric({
      namespace: METRIC_NAMESPACE,
      metricName,
      dimensionsMap: { ArchiveCopy: this.archiveName },
      period: Duration.minutes(5),
      ...options,
    });
  }

  private createQueue(id: string, deadLetterQueue?: Queue): Queue {
    return new Queue(this, id, {
      // Names of objects, no mail and no address, so that SQS's own key is enough.
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
      // Longer than the function runs; what failed is tried again after it, 1000 times in 50 hours.
      visibilityTimeout: Duration.minutes(3),
      deadLetterQueue: deadLetterQueue && { queue: deadLetterQueue, maxReceiveCount: 1000 },
    });
  }

  /**
   * By EventBridge: a notification to the queue itself would need the queue's policy to name the bucket and the bucket
   * to name the queue, which CloudFormation can't make in one go.
   */
  private sendEvents(bucket: IBucket): void {
    if (bucket instanceof Bucket) {
      const cfnBucket = bucket.node.defaultChild as CfnBucket;
      cfnBucket.addPropertyOverride('NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled', true);
    }
    new Rule(this, 'Rule', {
      description: 'New objects of the mail archive, to be copied outside AWS',
      eventPattern: {
        source: ['aws.s3'],
        detailType: ['Object Created'],
        detail: {
          bucket: { name: [bucket.bucketName] },
          object: { key: FOLDERS.map((prefix) => ({ prefix })) },
        },
      },
      targets: [new SqsQueue(this.queue)],
    });
  }

  private createHandler(props: ArchiveCopyProps): HandlerFunction {
    const { bucket, credentials } = props;
    const handler = new HandlerFunction(this, 'Handler', {
      handler: 'archive-copy',
      description: 'Copies the mail archive outside AWS',
      statements: [
        ...this.readStatements(bucket, props.encryptionKey ?? bucket.encryptionKey),
        ...readSecret(this, credentials),
        new PolicyStatement({
          sid: 'TakeFromQueue',
          actions: ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:ChangeMessageVisibility', 'sqs:GetQueueAttributes'],
          resources: [this.queue.queueArn],
        }),
      ],
      encryptionKey: props.logEncryptionKey,
      environment: {
        ARCHIVE_BUCKET: bucket.bucketName,
        COPY_ENDPOINT: props.endpoint,
        COPY_REGION: props.region ?? 'us-east-1',
        COPY_BUCKET: props.bucketName,
        COPY_SECRET: credentials.secretArn,
        ARCHIVE: this.archiveName,
      },
      timeout: Duration.minutes(2),
      memorySize: 512,
      calls:
        'A queue alone calls this function, with a bound on how many run at once. What fails goes back to the queue and ' +
        'after 50 hours to its dead-letter queue, which an alarm tells (test/archive/archive-copy-objects.test.ts). It ' +
        'reads S3 and one secret, and writes to one service outside, over TLS.',
    });
    acknowledge(
      handler,
      ...FOLDERS.map((folder) => ({
        id: findingId(this, 'AwsSolutions-IAM5', 'Resource', bucket.arnForObjects(`${folder}*`)),
        reason:
          'Each object of the folder is copied, and names are not known before. The function may read there, and write ' +
          'and delete nothing (test/archive/archive-copy.test.ts).',
      })),
    );
    return handler;
  }

  private readStatements(bucket: IBucket, key?: IKey): PolicyStatement[] {
    const statements = [
      listFolders(
        'TellMissingFromForbidden',
        bucket,
        FOLDERS.map((folder) => `${folder}*`),
      ),
      new PolicyStatement({
        sid: 'ReadArchive',
        actions: ['s3:GetObject', 's3:GetObjectVersion'],
        resources: FOLDERS.map((folder) => bucket.arnForObjects(`${folder}*`)),
      }),
    ];
    if (key) {
      statements.push(
        new PolicyStatement({
          sid: 'DecryptArchive',
          actions: ['kms:Decrypt'],
          resources: [key.keyArn],
          conditions: throughS3(this),
        }),
      );
    }
    return statements;
  }
}

function checkTarget(endpoint: string, bucketName: string): void {
  // Credentials in a URL would be in the template.
  if (!Token.isUnresolved(endpoint) && !/^https:\/\/[a-z0-9.-]+(:\d{1,5})?$/.test(endpoint)) {
    throw new Error(`endpoint must be https:// and a host such as https://s3.example.net, got ${endpoint}`);
  }
  if (!Token.isUnresolved(bucketName) && !/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucketName)) {
    throw new Error(
      `bucketName must be 3 to 63 of lower-case letters, digits, dots and hyphens, got ${JSON.stringify(bucketName)}`,
    );
  }
}
