import { CfnOutput, Duration, Fn, Stack, Token } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IHostedZone } from 'aws-cdk-lib/aws-route53';
import { Bucket, IBucket, LifecycleRule } from 'aws-cdk-lib/aws-s3';
import {
  DkimIdentity,
  EasyDkimSigningKeyLength,
  EmailIdentity,
  Identity,
  IReceiptRuleSet,
  ReceiptRule,
  ReceiptRuleSet,
  TlsPolicy,
} from 'aws-cdk-lib/aws-ses';
import { ITopic, Subscription, SubscriptionProtocol, Topic } from 'aws-cdk-lib/aws-sns';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { findingId } from '../compliance';
import { agentMetric } from '../node/fleet-metrics';
import { NodeConfiguration } from '../node/node-configuration';
import { checkWhole, checkWholeDays } from '../private/check-whole';
import { pinFlags } from '../private/pin-flags';
import { acknowledgeOneRegion, encryptedWith, loggedIn, PRIVATE_BUCKET } from '../private/private-bucket';
import { addTopicAlarm } from '../private/topic-alarm';
import { throughS3 } from '../private/through-s3';
import { allowReceiving } from '../security/key-policy';
import { ActiveReceiptRuleSet } from './active-receipt-rule-set';
import { MailDnsRecord } from './dns-record';
import { IInboundMail, SesInboundOptions } from './inbound-mail';

/** Properties of `SesInbound`. */
export interface SesInboundProps extends SesInboundOptions {
  /** Mail domains, the primary one first. */
  readonly domains: string[];

  /**
   * Public zones. Records of a new identity are made in the zone of the same name, if there is one.
   * @default - none; `records` has what is to be published
   */
  readonly hostedZones?: IHostedZone[];

  /** Key of bucket and topic. */
  readonly encryptionKey: IKey;

  /**
   * Bucket for S3 server access logs.
   * @default - access is not logged
   */
  readonly accessLogsBucket?: IBucket;

  /**
   * Name of the cluster, the dimension `Cluster` of its metrics.
   * @default - name of the stack
   */
  readonly clusterName?: string;
}

/** SQS keeps nothing for longer, nor does it need its object then. */
const WAITING_MAX = Duration.days(14);
/** Nobody works on the same message for that long after another one began; libexec/inbound. */
const PATIENCE = Duration.minutes(10);

/**
 * Mail that Amazon SES takes for the nodes: SES stores each message in an encrypted bucket and tells a queue of it, from which
 * nodes bring it to Postfix, once, with the envelope and the verdicts that SES found (docs/inbound.md). While no node is there,
 * mail waits for up to 14 days.
 *
 * @throws when `recipients` has an address or domain that is none of the mail domains', or when a time is out of its range
 */
export class SesInbound extends Construct implements IInboundMail {
  /** Mail on its way (`mail/`), who works on it (`claims/`), and what nobody gets (`quarantine/`). */
  public readonly bucket: Bucket;

  /** What SES tells of mail. */
  public readonly queue: Queue;

  /** What could not be brought to Postfix for days. */
  public readonly deadLetterQueue: Queue;

  /** The rule that stores mail. */
  public readonly rule: ReceiptRule;

  /** Records to publish for those new identities that no zone was given for. */
  public readonly records: MailDnsRecord[] = [];

  /** What nodes need to fetch mail. */
  public readonly configuration: NodeConfiguration;
  /** Name for MX records. */
  public readonly mailExchanger: string;

  private readonly clusterName: string;
  private readonly waitingAlarm: Duration;

  constructor(scope: Construct, id: string, props: SesInboundProps) {
    super(scope, id);
    pinFlags(this, '@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy');
    this.waitingAlarm = props.waitingAlarm ?? Duration.minutes(15);
    const quarantineFor = props.quarantineFor ?? Duration.days(30);
    checkProps(props, quarantineFor, this.waitingAlarm);
    this.clusterName = props.clusterName ?? Stack.of(this).stackName;
    const { region } = Stack.of(this);
    this.mailExchanger = `inbound-smtp.${region}.amazonaws.com`;

    const active = activeRuleSet(this, props);
    const ruleSet = active ?? new ReceiptRuleSet(this, 'RuleSet');
    const rulesArn = this.arnOfRules(ruleSet.receiptRuleSetName);
    // The policy of another stack's key must not name what this stack makes.
    const isOurKey = Stack.of(props.encryptionKey) === Stack.of(this);
    allowReceiving(this, props.encryptionKey, isOurKey ? rulesArn : this.arnOfRules('*'));
    this.bucket = this.createBucket(props, quarantineFor, rulesArn);
    this.deadLetterQueue = this.createQueue('DeadLetters');
    this.queue = this.createQueue('Queue', this.deadLetterQueue);
    const topic = this.createTopic(props.encryptionKey, rulesArn);
    const subscription = this.subscribeQueue(topic);
    for (const domain of props.domains) {
      this.identify(domain, props);
    }
    this.rule = this.createRule(ruleSet, topic, props);
    // SES tries bucket and topic when the rule is made, and tells of mail from then on.
    this.rule.node.addDependency(this.bucket, topic, this.queue, subscription);
    if (!active) {
      const activation = new ActiveReceiptRuleSet(this, 'Active', {
        ruleSet,
        takeOver: props.takeOver,
        encryptionKey: props.encryptionKey,
      });
      // Mail that came before the rule would be refused.
      activation.node.addDependency(this.rule);
    }
    this.configuration = {
      environment: {
        MAIL_INBOUND_QUEUE: this.queue.queueUrl,
        MAIL_INBOUND_BUCKET: this.bucket.bucketName,
        MAIL_INBOUND_PATIENCE: `${PATIENCE.toSeconds()}`,
      },
      statements: this.nodeStatements(props.encryptionKey),
      acknowledgements: ['mail/*', 'claims/*', 'quarantine/*'].map((folder) => ({
        id: findingId(this, 'AwsSolutions-IAM5', 'Resource', this.bucket.arnForObjects(folder)),
        reason:
          'Messages get names from SES that are not known before. Each folder of this one bucket is a scope of its own, and the ' +
          'actions are listed one by one (test/delivery/ses-inbound.test.ts).',
      })),
    };
    new CfnOutput(this, 'MailExchanger', {
      value: `10 ${this.mailExchanger}`,
      description: `MX record of ${props.domains.join(', ')}`,
    });
    if (this.records.length > 0) {
      new CfnOutput(this, 'Records', {
        value: Fn.join(
          '; ',
          this.records.map(({ name, type, value }) => `${name} ${type} ${value}`),
        ),
        description: 'DNS records to publish, by which SES knows the domains; until then it takes no mail for them',
      });
    }
  }

  /** Messages that Postfix has; the sum over a period. */
  public metricAccepted(options?: MetricOptions): Metric {
    return agentMetric('InboundAccepted', this.clusterName, Stats.SUM, options);
  }

  /** Messages set aside, wholly or for some of their recipients; the sum over a period. */
  public metricSetAside(options?: MetricOptions): Metric {
    return agentMetric('InboundSetAside', this.clusterName, Stats.SUM, options);
  }

  /** Attempts that failed and are repeated; the sum over a period. */
  public metricRetried(options?: MetricOptions): Metric {
    return agentMetric('InboundRetried', this.clusterName, Stats.SUM, options);
  }

  /** Age of the oldest message that a node had in hand, brought or to be tried again; seconds. */
  public metricDelay(options?: MetricOptions): Metric {
    return agentMetric('InboundDelay', this.clusterName, Stats.MAXIMUM, options);
  }

  /** Age of the oldest message that waits, seconds. SQS leaves out those that were tried three times and more. */
  public metricAge(options?: MetricOptions): Metric {
    return this.queue.metricApproximateAgeOfOldestMessage({ statistic: Stats.MAXIMUM, ...options });
  }

  /** Messages that were given up after days, and SES's notices of them that never reached the queue. */
  public metricDeadLetters(options?: MetricOptions): Metric {
    return this.deadLetterQueue.metricApproximateNumberOfMessagesVisible({ statistic: Stats.MAXIMUM, ...options });
  }

  /**
   * Adds the alarms `Behind`, `Late` and `GivenUp`.
   *
   * @param topic where they go
   */
  public addAlarms(topic: ITopic): void {
    const minutes = this.waitingAlarm.toMinutes();
    addTopicAlarm(this, 'Behind', topic, {
      metric: this.metricAge({ period: Duration.minutes(5) }),
      threshold: this.waitingAlarm.toSeconds(),
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        `Mail that SES took has waited more than ${minutes} minutes, and no node fetches it. It is safe for 14 days. Check first: whether ` +
        'nodes serve at all, then `journalctl -u mail-inbound` on one.',
    });
    addTopicAlarm(this, 'Late', topic, {
      metric: this.metricDelay({ period: Duration.minutes(5) }),
      threshold: this.waitingAlarm.toSeconds(),
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        `Nodes try to bring mail that SES took more than ${minutes} minutes ago. Check first: \`journalctl -u mail-inbound\` on the ` +
        'nodes for what Postfix or S3 says. If mail waited while nodes were away, it is being brought now.',
    });
    addTopicAlarm(this, 'GivenUp', topic, {
      metric: this.metricDeadLetters({ period: Duration.minutes(5) }),
      threshold: 0,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        'Mail that SES took could not be brought to Postfix for days and is kept for 14 days after it came. Check first: ' +
        '`journalctl -u mail-inbound` for the reason, repair it, then start a redrive of the dead-letter queue.',
    });
  }

  private arnOfRules(ruleSetName: string): string {
    const { partition, region, account } = Stack.of(this);
    return `arn:${partition}:ses:${region}:${account}:receipt-rule-set/${ruleSetName}:receipt-rule/*`;
  }

  /** @see https://docs.aws.amazon.com/ses/latest/dg/receiving-email-permissions.html */
  private createBucket(props: SesInboundProps, quarantineFor: Duration, rulesArn: string): Bucket {
    const expire = (prefix: string, expiration: Duration): LifecycleRule => ({
      id: `expire-${prefix}`,
      prefix: `${prefix}/`,
      expiration,
      // What nodes delete once it is delivered.
      noncurrentVersionExpiration: Duration.days(1),
      abortIncompleteMultipartUploadAfter: Duration.days(1),
    });
    const bucket = new Bucket(this, 'Bucket', {
      ...PRIVATE_BUCKET,
      ...encryptedWith(props.encryptionKey),
      ...loggedIn(props.accessLogsBucket, 'inbound'),
      lifecycleRules: [
        // Longer than the queues keep anything that could ask for them.
        expire('mail', Duration.days(2 * WAITING_MAX.toDays() + 1)),
        expire('claims', Duration.days(2 * WAITING_MAX.toDays() + 1)),
        expire('quarantine', quarantineFor),
      ],
    });
    acknowledgeOneRegion(
      bucket,
      'Mail is in it for seconds, until a node fetches it (test/delivery/ses-inbound.test.ts).',
    );
    bucket.addToResourcePolicy(
      new PolicyStatement({
        sid: 'SesStoresMail',
        principals: [new ServicePrincipal('ses.amazonaws.com')],
        actions: ['s3:PutObject'],
        resources: [bucket.arnForObjects('mail/*')],
        conditions: this.ofOurRules(rulesArn),
      }),
    );
    return bucket;
  }

  private createQueue(id: string, deadLetterQueue?: Queue): Queue {
    return new Queue(this, id, {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: WAITING_MAX,
      visibilityTimeout: PATIENCE,
      // Each ten minutes in the end: three days.
      deadLetterQueue: deadLetterQueue && { queue: deadLetterQueue, maxReceiveCount: 450 },
    });
  }

  private createTopic(masterKey: IKey, rulesArn: string): Topic {
    const topic = new Topic(this, 'Topic', { displayName: 'Mail that SES took', masterKey, enforceSSL: true });
    topic.addToResourcePolicy(
      new PolicyStatement({
        sid: 'SesTellsOfMail',
        principals: [new ServicePrincipal('ses.amazonaws.com')],
        actions: ['sns:Publish'],
        resources: [topic.topicArn],
        conditions: this.ofOurRules(rulesArn),
      }),
    );
    return topic;
  }

  private subscribeQueue(topic: Topic): Subscription {
    this.queue.addToResourcePolicy(
      new PolicyStatement({
        sid: 'TopicTellsQueue',
        principals: [new ServicePrincipal('sns.amazonaws.com')],
        actions: ['sqs:SendMessage'],
        resources: [this.queue.queueArn],
        conditions: { ArnEquals: { 'aws:SourceArn': topic.topicArn } },
      }),
    );
    return new Subscription(this, 'Subscription', {
      topic,
      protocol: SubscriptionProtocol.SQS,
      endpoint: this.queue.queueArn,
      rawMessageDelivery: true,
      deadLetterQueue: this.deadLetterQueue,
    });
  }

  private createRule(ruleSet: IReceiptRuleSet, topic: Topic, props: SesInboundProps): ReceiptRule {
    return new ReceiptRule(this, 'Rule', {
      ruleSet,
      recipients: props.recipients ?? props.domains,
      scanEnabled: true,
      tlsPolicy: props.requireTls ? TlsPolicy.REQUIRE : TlsPolicy.OPTIONAL,
      actions: [
        {
          // S3 encrypts with the bucket's key. A key here would be for the client's side, and each reader had to decrypt.
          bind: () => ({
            s3Action: { bucketName: this.bucket.bucketName, objectKeyPrefix: 'mail/', topicArn: topic.topicArn },
          }),
        },
      ],
    });
  }

  private ofOurRules(rulesArn: string): { [operator: string]: { [key: string]: string } } {
    return {
      StringEquals: { 'aws:SourceAccount': Stack.of(this).account },
      ArnLike: { 'aws:SourceArn': rulesArn },
    };
  }

  private identify(domain: string, props: SesInboundProps): void {
    if (props.verifiedDomains?.includes(domain)) {
      return;
    }
    const zone = props.hostedZones?.find(({ zoneName }) => zoneName === domain);
    const identity = new EmailIdentity(this, `Identity-${domain}`, {
      identity: zone ? Identity.publicHostedZone(zone) : Identity.domain(domain),
      dkimIdentity: DkimIdentity.easyDkim(EasyDkimSigningKeyLength.RSA_2048_BIT),
    });
    if (!zone) {
      this.records.push(...identity.dkimRecords.map(({ name, value }) => ({ name, type: 'CNAME', value })));
    }
  }

  private nodeStatements(key: IKey): PolicyStatement[] {
    const objects = (sid: string, folder: string, actions: string[]) =>
      new PolicyStatement({ sid, actions, resources: [this.bucket.arnForObjects(`${folder}/*`)] });
    return [
      new PolicyStatement({
        sid: 'TakeInboundNotices',
        actions: ['sqs:ChangeMessageVisibility', 'sqs:DeleteMessage', 'sqs:ReceiveMessage'],
        resources: [this.queue.queueArn],
      }),
      objects('FetchInboundMail', 'mail', ['s3:DeleteObject', 's3:GetObject']),
      objects('ClaimInboundMail', 'claims', ['s3:GetObject', 's3:PutObject']),
      objects('SetInboundMailAside', 'quarantine', ['s3:PutObject']),
      new PolicyStatement({
        sid: 'InboundMailKey',
        actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
        resources: [key.keyArn],
        conditions: throughS3(this),
      }),
    ];
  }
}

function activeRuleSet(scope: Construct, { ruleSet, ruleSetName }: SesInboundProps): IReceiptRuleSet | undefined {
  return ruleSetName === undefined
    ? ruleSet
    : ReceiptRuleSet.fromReceiptRuleSetName(scope, 'ImportedRuleSet', ruleSetName);
}

function checkProps(props: SesInboundProps, quarantineFor: Duration, waitingAlarm: Duration): void {
  const { domains, recipients, verifiedDomains = [] } = props;
  if (domains.length === 0) {
    throw new Error('domains must have at least one entry, got none; add one');
  }
  if (recipients && (recipients.length === 0 || recipients.length > 500)) {
    throw new Error(`recipients must be 1 to 500 domains or addresses, got ${recipients.length}; give domains instead`);
  }
  const foreign = (name: string) =>
    !Token.isUnresolved(name) && !domains.includes(name.slice(name.lastIndexOf('@') + 1));
  for (const [field, names] of [
    ['recipients', recipients ?? []],
    ['verifiedDomains', verifiedDomains],
  ] as const) {
    const stranger = names.find(foreign);
    if (stranger !== undefined) {
      throw new Error(`${field} must be of the mail domains (${domains.join(', ')}), got ${stranger}; remove it`);
    }
  }
  if (props.ruleSet && props.ruleSetName !== undefined) {
    throw new Error('ruleSet and ruleSetName are both set; remove one');
  }
  if ((props.ruleSet || props.ruleSetName !== undefined) && props.takeOver !== undefined) {
    throw new Error('takeOver is for a new rule set, got ruleSet, which must be active; remove takeOver');
  }
  checkWholeDays('quarantineFor', quarantineFor, 1);
  checkWhole('waitingAlarm', waitingAlarm.toMinutes({ integral: false }), { min: 5, unit: 'minutes' });
}
