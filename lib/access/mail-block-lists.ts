import { CustomResource, Duration, RemovalPolicy, Stack, Token } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { Rule, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey, Key, KeySpec, KeyUsage } from 'aws-cdk-lib/aws-kms';
import { Bucket, IBucket } from 'aws-cdk-lib/aws-s3';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { agentMetric, METRIC_NAMESPACE } from '../node/fleet-metrics';
import { NodeConfiguration } from '../node/node-configuration';
import { checkWhole } from '../private/check-whole';
import { parseCidr, parseCidrs } from '../private/cidr';
import { HandlerFunction } from '../private/handler-function';
import { tellMissing } from '../private/list-bucket';
import { pinFlags } from '../private/pin-flags';
import { acknowledgeOneRegion, encryptedWith, loggedIn, OLD_VERSIONS, PRIVATE_BUCKET } from '../private/private-bucket';
import { addTopicAlarm } from '../private/topic-alarm';
import { throughS3 } from '../private/through-s3';
import { onlySignedBy } from '../security/key-policy';
import { BlockList, BlockListSource } from './block-list';
import { MailService } from './mail-service';

/** What an owner chooses about block lists. */
export interface MailBlockListsOptions {
  /**
   * Who is refused.
   * @default [BlockList.torExits(), BlockList.spamhausDrop()]
   */
  readonly lists?: BlockList[];

  /**
   * Services that those on the lists are refused at.
   * @default - those that people log in to: all that are offered but MX
   */
  readonly services?: MailService[];

  /**
   * How often lists are fetched. 1 to 12 whole hours; Spamhaus asks for an hour between at least.
   * @default Duration.hours(3)
   */
  readonly refreshEvery?: Duration;

  /**
   * Age of a list from which it is stale and alarmed; it is used nevertheless. Whole hours, from twice `refreshEvery` to a week.
   * @default Duration.days(1)
   */
  readonly staleAfter?: Duration;

  /**
   * Percent by which a list may grow from one time to the next, and 100 networks more, before it is refused. 1 to 1000.
   * @default 50
   */
  readonly growthMax?: number;
}

/** Properties of `MailBlockLists`. */
export interface MailBlockListsProps extends MailBlockListsOptions {
  /** Services that are offered. */
  readonly offered: MailService[];

  /**
   * Ranges that no list may touch, in CIDR notation: one that does is refused. Private ones never may.
   * @default - none
   */
  readonly protectedRanges?: string[];

  /** Key of the bucket and of the function's logs. */
  readonly encryptionKey: IKey;

  /**
   * Bucket for S3 server access logs.
   * @default - access is not logged
   */
  readonly accessLogsBucket?: IBucket;

  /**
   * Name of the cluster, the dimension `Cluster` of the nodes' metrics.
   * @default - name of the stack
   */
  readonly clusterName?: string;
}

const OBJECT_KEY = 'block-lists';

/** Lambda takes 4 KB of environment. */
const LISTS_MAX = 3000;

/**
 * Refuses networks of bad repute at the nodes' firewall. A function fetches the lists, checks them, and stores them signed;
 * nodes verify the signature with the public key that they were deployed with, check again, and replace all of their list in
 * one step. What is no list, or would shut out the owner, is refused as a whole and the list in use stays (docs/block-lists.md).
 *
 * @throws when two lists have the same name, one has networks of ours, `services` names one that is not offered, or a number is out of
 *   its range
 */
export class MailBlockLists extends Construct {
  /** Bucket with the signed lists, in versions. */
  public readonly bucket: Bucket;

  /** Key that signs them. */
  public readonly signingKey: Key;

  /** What nodes need. */
  public readonly configuration: NodeConfiguration;

  private readonly handler: HandlerFunction;
  private readonly refreshEvery: Duration;
  private readonly staleAfter: Duration;
  private readonly clusterName: string;
  private readonly encryptionKey: IKey;

  constructor(scope: Construct, id: string, props: MailBlockListsProps) {
    super(scope, id);
    pinFlags(this, '@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy');
    const sources = (props.lists ?? [BlockList.torExits(), BlockList.spamhausDrop()]).flatMap((list) => list.sources);
    checkSources(sources);
    checkProtected(sources, props.protectedRanges ?? []);
    const services = props.services ?? props.offered.filter((service) => service !== MailService.MX);
    checkOffered(services, props.offered);
    this.refreshEvery = props.refreshEvery ?? Duration.hours(3);
    this.staleAfter = props.staleAfter ?? Duration.days(1);
    const growthMax = props.growthMax ?? 50;
    const hours = this.refreshEvery.toHours({ integral: false });
    checkWhole('refreshEvery of block lists', hours, { min: 1, max: 12, unit: 'hours' });
    const stale = this.staleAfter.toHours({ integral: false });
    checkWhole('staleAfter of block lists', stale, { min: 2 * hours, max: 168, unit: 'hours' });
    checkWhole('growthMax of block lists', growthMax, { min: 1, max: 1000, unit: 'percent' });

    this.clusterName = props.clusterName ?? Stack.of(this).stackName;
    this.encryptionKey = props.encryptionKey;
    this.bucket = this.createBucket(props.accessLogsBucket);
    this.signingKey = this.createSigningKey();
    const publicKey = this.readPublicKey();
    const protectedRanges = (props.protectedRanges ?? []).join(' ');
    this.handler = this.createHandler(sources, { publicKey, protectedRanges, growthMax });
    onlySignedBy(this.signingKey, 'OnlyTheFunctionSigns', this.handler.role);
    new Rule(this, 'Schedule', {
      description: 'Fetches block lists of the mail system',
      schedule: Schedule.rate(this.refreshEvery),
      targets: [new LambdaFunction(this.handler.function, { retryAttempts: 1, maxEventAge: Duration.hours(1) })],
    });
    this.configuration = {
      environment: {
        MAIL_BLOCK_LISTS_OBJECT: `s3://${this.bucket.bucketName}/${OBJECT_KEY}`,
        MAIL_BLOCK_LISTS_KEY: publicKey,
        MAIL_BLOCK_LISTS_SERVICES: services.map(({ name }) => name).join(' '),
        ...(protectedRanges && { MAIL_BLOCK_LISTS_PROTECTED: protectedRanges }),
      },
      statements: this.bucketStatements(['s3:GetObject'], ['kms:Decrypt']),
    };
  }

  /** Age of the oldest list that the function has, seconds, at each of its runs; of one that never came, since it was first asked for. */
  public metricAge(options?: MetricOptions): Metric {
    return this.metric('BlockListAge', { statistic: Stats.MAXIMUM, ...options });
  }

  /** Age of the oldest list that a node uses, seconds; of a node that has none, the time since it was started. */
  public metricNodeAge(options?: MetricOptions): Metric {
    return agentMetric('BlockListAge', this.clusterName, Stats.MAXIMUM, options);
  }

  /** Networks on all lists together. */
  public metricNetworks(options?: MetricOptions): Metric {
    return this.metric('BlockListNetworks', { statistic: Stats.MAXIMUM, ...options });
  }

  /** Lists that were fetched and refused, at a run. */
  public metricRefused(options?: MetricOptions): Metric {
    return this.metric('BlockListsRefused', { statistic: Stats.MAXIMUM, ...options });
  }

  /** Lists that could not be fetched, at a run. */
  public metricMissed(options?: MetricOptions): Metric {
    return this.metric('BlockListsMissed', { statistic: Stats.MAXIMUM, ...options });
  }

  /**
   * Adds the alarms `Refused`, `Stale` and `NodesStale`.
   *
   * @param topic where they go
   */
  public addAlarms(topic: ITopic): void {
    const hours = this.staleAfter.toHours();
    const stale = {
      threshold: this.staleAfter.toSeconds(),
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
    };
    addTopicAlarm(this, 'Refused', topic, {
      metric: this.metricRefused({ period: this.refreshEvery }),
      threshold: 0,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        'A block list was fetched and refused, because it can not be meant; the one of before stays in use. Check first: ' +
        "the function's log, which says why, and then the list itself. Where it is right, raise growthMax, or take your " +
        'network off it.',
    });
    addTopicAlarm(this, 'Stale', topic, {
      ...stale,
      metric: this.metricAge({ period: this.refreshEvery }),
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        `A block list has not come for more than ${hours} hours. Check first: the function's log for what the list's server ` +
        'answers, and whether the list was refused.',
    });
    addTopicAlarm(this, 'NodesStale', topic, {
      ...stale,
      metric: this.metricNodeAge({ period: Duration.hours(1) }),
      evaluationPeriods: 2,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        `A node uses a block list that is more than ${hours} hours old, or has none. When Stale is on, begin there. Otherwise ` +
        "check first the function's log for whether it runs and may sign, then `journalctl -u mail-block-lists` on the nodes " +
        'for why they do not take what it has.',
    });
  }

  private metric(metricName: string, options: MetricOptions): Metric {
    return new Metric({
      namespace: METRIC_NAMESPACE,
      metricName,
      dimensionsMap: { BlockLists: Stack.of(this).stackName },
      period: Duration.hours(1),
      ...options,
    });
  }

  private createBucket(accessLogsBucket?: IBucket): Bucket {
    const bucket = new Bucket(this, 'Bucket', {
      ...PRIVATE_BUCKET,
      ...encryptedWith(this.encryptionKey),
      ...loggedIn(accessLogsBucket, 'block-lists'),
      lifecycleRules: [OLD_VERSIONS],
    });
    acknowledgeOneRegion(
      bucket,
      'Lists are fetched anew every few hours, and each node keeps its own (test/access/mail-block-lists.test.ts).',
    );
    return bucket;
  }

  private createSigningKey(): Key {
    return new Key(this, 'SigningKey', {
      description: `Signs block lists for mail nodes (${Stack.of(this).stackName})`,
      keySpec: KeySpec.ECC_NIST_P256,
      keyUsage: KeyUsage.SIGN_VERIFY,
      // Another key signs as well: nodes get its public half with the deployment.
      removalPolicy: RemovalPolicy.DESTROY,
    });
  }

  /** The public half, base64. CloudFormation has no attribute for it. */
  private readPublicKey(): string {
    const handler = new HandlerFunction(this, 'PublicKeyHandler', {
      handler: 'public-key',
      description: 'Reads the public key that block lists of the mail system are verified with',
      encryptionKey: this.encryptionKey,
      statements: [new PolicyStatement({ actions: ['kms:GetPublicKey'], resources: [this.signingKey.keyArn] })],
    });
    return new CustomResource(this, 'PublicKey', {
      resourceType: 'Custom::PublicKey',
      serviceToken: handler.function.functionArn,
      serviceTimeout: Duration.minutes(2),
      properties: { KeyArn: this.signingKey.keyArn },
    }).getAttString('PublicKey');
  }

  private createHandler(
    sources: BlockListSource[],
    settings: { publicKey: string; protectedRanges: string; growthMax: number },
  ): HandlerFunction {
    return new HandlerFunction(this, 'Handler', {
      handler: 'block-lists',
      description: 'Fetches block lists of the mail system, checks and signs them',
      encryptionKey: this.encryptionKey,
      statements: [
        ...this.bucketStatements(['s3:GetObject', 's3:PutObject'], ['kms:Decrypt', 'kms:GenerateDataKey']),
        new PolicyStatement({
          sid: 'SignLists',
          actions: ['kms:Sign'],
          resources: [this.signingKey.keyArn],
          conditions: { StringEquals: { 'kms:SigningAlgorithm': 'ECDSA_SHA_256' } },
        }),
      ],
      environment: {
        BUCKET: this.bucket.bucketName,
        OBJECT_KEY,
        SIGNING_KEY: this.signingKey.keyArn,
        PUBLIC_KEY: settings.publicKey,
        LISTS: JSON.stringify(sources),
        PROTECTED: settings.protectedRanges,
        GROWTH_MAX: `${settings.growthMax}`,
        BLOCK_LISTS: Stack.of(this).stackName,
      },
      timeout: Duration.minutes(2),
      memorySize: 512,
      calls:
        'EventBridge alone calls this function, on a schedule. A run that fails changes nothing; the next one makes up for ' +
        'it, and alarms tell when lists become stale (test/access/block-lists-handler.test.ts). It fetches public lists ' +
        'by https from the internet, talks to S3 and KMS, and reaches no mail.',
    });
  }

  private bucketStatements(actions: string[], keyActions: string[]): PolicyStatement[] {
    return [
      new PolicyStatement({
        sid: actions.length > 1 ? 'ReplaceBlockLists' : 'ReadBlockLists',
        actions,
        resources: [this.bucket.arnForObjects(OBJECT_KEY)],
      }),
      tellMissing('SeeThatThereAreNoBlockListsYet', this.bucket),
      new PolicyStatement({
        sid: 'UseKeyOfBlockLists',
        actions: keyActions,
        resources: [this.encryptionKey.keyArn],
        conditions: throughS3(this),
      }),
    ];
  }
}

function checkSources(sources: BlockListSource[]): void {
  const names = sources.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice) {
    throw new Error(`lists must have each name once, got ${twice} twice; remove one`);
  }
  if (names.length === 0) {
    throw new Error('lists must have one list or more, got none; leave blockLists out to refuse nobody');
  }
  const length = JSON.stringify(sources).length;
  if (length > LISTS_MAX) {
    throw new Error(
      `lists must be ${LISTS_MAX} characters or fewer as JSON, got ${length}; put networks at an address (fromUrl)`,
    );
  }
}

/** The function would refuse such a list at each of its runs. */
function checkProtected(sources: BlockListSource[], protectedRanges: string[]): void {
  const ours = protectedRanges.filter((range) => !Token.isUnresolved(range));
  for (const { name, networks = [] } of sources) {
    for (const network of parseCidrs(name, networks)) {
      const hit = ours
        .map((range) => parseCidr('protectedRanges', range))
        .find(({ first, last }) => network.first <= last && first <= network.last);
      if (hit) {
        throw new Error(
          `the block list ${name} must not have networks of ours, or such as are let in, got ${network.text}, in which ` +
            `${hit.text} is; remove one of them`,
        );
      }
    }
  }
}

function checkOffered(services: MailService[], offered: MailService[]): void {
  const missing = services.find((service) => !offered.includes(service));
  if (missing || services.length === 0) {
    throw new Error(
      `services of block lists must be some of those that are offered (${offered.map(({ name }) => name).join(', ')}), ` +
        `got ${missing?.name ?? 'none'}`,
    );
  }
}
