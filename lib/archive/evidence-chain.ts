import { CfnOutput, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { Grant, IGrantable, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey, Key, KeySpec, KeyUsage } from 'aws-cdk-lib/aws-kms';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { METRIC_NAMESPACE } from '../node/fleet-metrics';
import { checkWhole } from '../private/check-whole';
import { HandlerFunction } from '../private/handler-function';
import { listFolders } from '../private/list-bucket';
import { callEvery } from '../private/on-schedule';
import { addTopicAlarm } from '../private/topic-alarm';
import { throughS3 } from '../private/through-s3';
import { onlySignedBy } from '../security/key-policy';
import { decryptByS3, readFolder } from './archive-grants';

/** Properties of `EvidenceChain`. */
export interface EvidenceChainProps {
  /** Bucket with the journal under `journal/`; it must be versioned. Evidence is stored in it under `evidence/`. */
  readonly bucket: IBucket;

  /**
   * Key of the bucket's objects.
   * @default - the key that the bucket names, if any
   */
  readonly encryptionKey?: IKey;

  /**
   * Key that signs: ECC_NIST_P256, SIGN_VERIFY. Its policy must let nobody but the function sign.
   * @default - a new one, kept when the stack is deleted
   */
  readonly signingKey?: IKey;

  /**
   * Key of the function's logs.
   * @default - CloudWatch Logs' own key
   */
  readonly logEncryptionKey?: IKey;

  /**
   * Time between two batches, whole minutes.
   * @default Duration.minutes(5)
   */
  readonly interval?: Duration;

  /**
   * How late after the hour in its key each batch still looks for a message, whole hours, at most 48. What comes later
   * is found by the sweep.
   * @default Duration.hours(3)
   */
  readonly recent?: Duration;

  /**
   * Objects of the whole journal that each batch looks at besides, in turn, to find what came late.
   * @default 20000 - with a batch every 5 minutes, 5.76 million a day
   */
  readonly sweepObjects?: number;
}

/**
 * Tamper-evident evidence of a mail journal: every few minutes a signed batch attests, by digest, each message that was
 * stored, and follows the batch before by its hash. Whoever has the public key can verify it (docs/evidence.md).
 *
 * @throws when `interval`, `recent` or `sweepObjects` is out of its range
 */
export class EvidenceChain extends Construct {
  /** Key that signs batches. */
  public readonly signingKey: IKey;

  /** Prints the public key in PEM, which is all that an auditor needs to be given. */
  public readonly publicKeyCommand: string;

  private readonly bucket: IBucket;
  private readonly bucketKey?: IKey;
  private readonly handler: HandlerFunction;
  private readonly interval: Duration;

  constructor(scope: Construct, id: string, props: EvidenceChainProps) {
    super(scope, id);
    this.interval = props.interval ?? Duration.minutes(5);
    const recent = props.recent ?? Duration.hours(3);
    const sweepObjects = props.sweepObjects ?? 20_000;
    checkWhole('interval', this.interval.toMinutes({ integral: false }), { min: 1, max: 60, unit: 'minutes' });
    checkWhole('recent', recent.toHours({ integral: false }), { min: 1, max: 48, unit: 'hours' });
    checkWhole('sweepObjects', sweepObjects, { min: 1000, max: 1_000_000, unit: 'objects' });

    this.bucket = props.bucket;
    this.bucketKey = props.encryptionKey ?? props.bucket.encryptionKey;
    const key = props.signingKey ?? this.createSigningKey();
    this.signingKey = key;
    this.handler = new HandlerFunction(this, 'Handler', {
      handler: 'evidence',
      description: 'Attests what came to the mail journal',
      statements: this.statements(props.bucket, this.bucketKey, key),
      encryptionKey: props.logEncryptionKey,
      environment: {
        JOURNAL_BUCKET: props.bucket.bucketName,
        SIGNING_KEY: key.keyArn,
        CHAIN: this.chainName,
        RECENT_HOURS: `${recent.toHours()}`,
        SWEEP_VERSIONS: `${sweepObjects}`,
        BATCH_ENTRIES: '50000',
        AWS_MAX_ATTEMPTS: '6',
      },
      timeout: Duration.minutes(10),
      memorySize: 512,
      calls:
        'EventBridge alone calls this function, on a schedule. A run that fails changes nothing and raises the alarms; ' +
        'the next one makes up for it, and two at once do no harm (test/archive/evidence-batches.test.ts). It talks to ' +
        'S3 and KMS only, over TLS.',
    });
    if (key instanceof Key) {
      onlySignedBy(key, 'OnlyTheChainSigns', this.handler.role);
    }
    this.acknowledgeFolders(props.bucket);
    callEvery(this, this.interval, this.handler.function, 'Next batch of mail evidence');
    this.publicKeyCommand =
      `aws kms get-public-key --region ${Stack.of(this).region} --key-id ${key.keyArn} --query PublicKey --output text ` +
      '| base64 --decode | openssl pkey -pubin -inform DER -out evidence.pem';
    new CfnOutput(this, 'PublicKeyCommand', {
      value: this.publicKeyCommand,
      description: 'Writes the public key of mail evidence to evidence.pem; verify-evidence takes it',
    });
  }

  /** Batches written; the sum over a period. */
  public metricBatches(options?: MetricOptions): Metric {
    return this.metric('EvidenceBatches', { statistic: Stats.SUM, ...options });
  }

  /** Messages attested; the sum over a period. */
  public metricCovered(options?: MetricOptions): Metric {
    return this.metric('EvidenceCovered', { statistic: Stats.SUM, ...options });
  }

  /** Objects that can not be attested: deleted before they were, or with a key that is none of the journal's. */
  public metricNotCovered(options?: MetricOptions): Metric {
    return this.metric('EvidenceNotCovered', { statistic: Stats.MAXIMUM, ...options });
  }

  /** Age of the oldest message when it was attested, seconds. */
  public metricLag(options?: MetricOptions): Metric {
    return this.metric('EvidenceLag', { statistic: Stats.MAXIMUM, ...options });
  }

  /** Runs that failed. */
  public metricFailures(options?: MetricOptions): Metric {
    return this.handler.function.metricErrors({ statistic: Stats.SUM, ...options });
  }

  /**
   * Adds the alarms `BatchStale`, `BatchFailed` and `NotCovered`.
   *
   * @param topic where they go
   */
  public addAlarms(topic: ITopic): void {
    const period = Duration.minutes(Math.max(15, 3 * this.interval.toMinutes()));
    addTopicAlarm(this, 'BatchStale', topic, {
      metric: this.metricBatches({ period }),
      threshold: 1,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.BREACHING,
      alarmDescription:
        `No batch of mail evidence for ${period.toMinutes()} minutes; new messages are not attested. Check first: the ` +
        "function's log for the error of its last run, then whether its schedule is enabled.",
    });
    addTopicAlarm(this, 'BatchFailed', topic, {
      metric: this.metricFailures({ period }),
      threshold: 1,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        'Batches of mail evidence fail. Check first: the function\'s log. "was changed" or "is missing" there means ' +
        'that somebody touched evidence: run verify-evidence before anything else.',
    });
    addTopicAlarm(this, 'NotCovered', topic, {
      metric: this.metricNotCovered({ period }),
      threshold: 0,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        "The journal holds objects that evidence can't cover. Check first: the function's log, which names them with the " +
        'reason, then who wrote or deleted them (CloudTrail data events or S3 access logs).',
    });
  }

  /** Lets a principal read batches and the public key, to verify them; no mail. */
  public grantReadEvidence(grantee: IGrantable): Grant {
    return readFolder(grantee, this.bucket, 'evidence/*', ['s3:GetObject'])
      .combine(decryptByS3(grantee, this.bucketKey))
      .combine(
        Grant.addToPrincipal({ grantee, actions: ['kms:GetPublicKey'], resourceArns: [this.signingKey.keyArn] }),
      );
  }

  private get chainName(): string {
    return Stack.of(this).stackName;
  }

  private metric(metricName: string, options: MetricOptions): Metric {
    return new Metric({
      namespace: METRIC_NAMESPACE,
      metricName,
      dimensionsMap: { EvidenceChain: this.chainName },
      period: Duration.minutes(5),
      ...options,
    });
  }

  private createSigningKey(): Key {
    return new Key(this, 'SigningKey', {
      description: `Signs mail evidence (${Stack.of(this).stackName})`,
      keySpec: KeySpec.ECC_NIST_P256,
      keyUsage: KeyUsage.SIGN_VERIFY,
      removalPolicy: RemovalPolicy.RETAIN,
    });
  }

  private statements(bucket: IBucket, bucketKey: IKey | undefined, signingKey: IKey): PolicyStatement[] {
    const statements = [
      listFolders('ListJournalAndEvidence', bucket, ['journal/*', 'evidence/*']),
      new PolicyStatement({
        // Digests come with the permission to read.
        sid: 'ReadDigestsAndEvidence',
        actions: ['s3:GetObject', 's3:GetObjectVersion'],
        resources: [bucket.arnForObjects('journal/*'), bucket.arnForObjects('evidence/*')],
      }),
      new PolicyStatement({
        sid: 'AddEvidence',
        actions: ['s3:PutObject'],
        resources: [bucket.arnForObjects('evidence/*')],
        // Never over what is there, whatever the code does.
        conditions: { Null: { 's3:if-none-match': 'false' } },
      }),
      new PolicyStatement({
        sid: 'SignBatches',
        actions: ['kms:Sign'],
        resources: [signingKey.keyArn],
        conditions: { StringEquals: { 'kms:SigningAlgorithm': 'ECDSA_SHA_256' } },
      }),
    ];
    if (bucketKey) {
      statements.push(
        new PolicyStatement({
          sid: 'UseJournalKey',
          actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
          resources: [bucketKey.keyArn],
          conditions: throughS3(this),
        }),
      );
    }
    return statements;
  }

  private acknowledgeFolders(bucket: IBucket): void {
    acknowledge(
      this.handler,
      ...['journal/*', 'evidence/*'].map((folder) => ({
        id: findingId(this, 'AwsSolutions-IAM5', 'Resource', bucket.arnForObjects(folder)),
        reason:
          'Messages and batches get names that are not known before. The folder is the scope; reading is of both, ' +
          'writing of evidence only, and never over an object (test/archive/evidence-chain.test.ts).',
      })),
    );
  }
}
