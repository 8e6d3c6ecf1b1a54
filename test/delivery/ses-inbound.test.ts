import { Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { ReceiptRuleSet } from 'aws-cdk-lib/aws-ses';
import { ManagedPolicy } from 'aws-cdk-lib/aws-iam';
import { AccessLogBucket } from '../../lib/archive';
import { acknowledge } from '../../lib/compliance';
import { SesInbound, SesInboundProps } from '../../lib/delivery';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { environments, flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

function inboundIn(stack: Stack, props: Partial<SesInboundProps> = {}): SesInbound {
  const { key } = new MailKey(stack, 'Key');
  const accessLogsBucket = new AccessLogBucket(stack, 'Logs').bucket;
  const inbound = new SesInbound(stack, 'Inbound', {
    domains: ['example.com'],
    encryptionKey: key,
    accessLogsBucket,
    ...props,
  });
  inbound.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  const { statements = [], acknowledgements = [] } = inbound.configuration;
  acknowledge(new ManagedPolicy(stack, 'NodePolicy', { statements }), ...acknowledgements);
  return inbound;
}

/** What SES is allowed, wherever: only for rules of the one rule set, of this account. */
const OF_OUR_RULES = {
  StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } },
  ArnLike: {
    'aws:SourceArn': {
      'Fn::Join': ['', Match.arrayWith([':receipt-rule-set/', { Ref: Match.stringLikeRegexp('^InboundRuleSet') }])],
    },
  },
};

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = testStack(context);
  const inbound = inboundIn(stack, { domains: ['example.com', 'example.org'] });
  const template = Template.fromStack(stack);

  test('one rule scans mail of the domains, stores it and tells the topic', () => {
    template.resourceCountIs('AWS::SES::ReceiptRule', 1);
    template.hasResourceProperties('AWS::SES::ReceiptRule', {
      Rule: {
        Enabled: true,
        Recipients: ['example.com', 'example.org'],
        ScanEnabled: true,
        TlsPolicy: 'Optional',
        Actions: [
          {
            S3Action: {
              BucketName: { Ref: Match.stringLikeRegexp('^InboundBucket') },
              ObjectKeyPrefix: 'mail/',
              // S3 encrypts, with the key of the bucket; this would be a second time, at the client's side.
              KmsKeyArn: Match.absent(),
              TopicArn: { Ref: Match.stringLikeRegexp('^InboundTopic') },
            },
          },
        ],
      },
    });
  });

  test('the rule set becomes active when its rule can store mail', () => {
    const [[, { DependsOn }]] = Object.entries(template.findResources('Custom::ActiveReceiptRuleSet'));
    expect(DependsOn).toContainEqual(expect.stringMatching(/^InboundRule[0-9A-F]/));
    const [[, rule]] = Object.entries(template.findResources('AWS::SES::ReceiptRule'));
    for (const part of ['BucketPolicy', 'TopicPolicy', 'QueuePolicy', 'Subscription']) {
      expect(rule.DependsOn).toContainEqual(expect.stringMatching(new RegExp(`^Inbound.*${part}`)));
    }
  });

  test('SES may only store below mail/, tell the topic and use the key, for rules of this rule set', () => {
    const bySes = { Effect: 'Allow', Principal: { Service: 'ses.amazonaws.com' }, Condition: OF_OUR_RULES };
    template.hasResourceProperties('AWS::S3::BucketPolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({
            ...bySes,
            Action: 's3:PutObject',
            Resource: { 'Fn::Join': ['', [Match.anyValue(), '/mail/*']] },
          }),
        ]),
      },
    });
    template.hasResourceProperties('AWS::SNS::TopicPolicy', {
      PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ ...bySes, Action: 'sns:Publish' })]) },
    });
    template.hasResourceProperties('AWS::KMS::Key', {
      KeyPolicy: {
        Statement: Match.arrayWith([Match.objectLike({ ...bySes, Action: ['kms:Decrypt', 'kms:GenerateDataKey*'] })]),
      },
    });
  });

  test('only the topic writes to the queue, which keeps mail for 14 days and gives up after days', () => {
    template.hasResourceProperties('AWS::SQS::QueuePolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({
            Action: 'sqs:SendMessage',
            Principal: { Service: 'sns.amazonaws.com' },
            Condition: { ArnEquals: { 'aws:SourceArn': { Ref: Match.stringLikeRegexp('^InboundTopic') } } },
          }),
        ]),
      },
    });
    template.hasResourceProperties('AWS::SQS::Queue', {
      MessageRetentionPeriod: 14 * 24 * 3600,
      VisibilityTimeout: 600,
      SqsManagedSseEnabled: true,
      RedrivePolicy: { maxReceiveCount: 450 },
    });
    template.hasResourceProperties('AWS::SNS::Subscription', {
      Protocol: 'sqs',
      RawMessageDelivery: true,
      RedrivePolicy: Match.anyValue(),
    });
  });

  test('mail is encrypted with the customer key, and goes when no queue can ask for it any more', () => {
    template.hasResourceProperties('AWS::S3::Bucket', {
      BucketEncryption: {
        ServerSideEncryptionConfiguration: [
          { ServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: Match.anyValue() } },
        ],
      },
      LifecycleConfiguration: {
        Rules: [
          Match.objectLike({
            Prefix: 'mail/',
            ExpirationInDays: 29,
            NoncurrentVersionExpiration: { NoncurrentDays: 1 },
          }),
          Match.objectLike({ Prefix: 'claims/', ExpirationInDays: 29 }),
          Match.objectLike({ Prefix: 'quarantine/', ExpirationInDays: 30 }),
        ],
      },
    });
  });

  test('nodes may take notices, fetch and remove mail, claim it and set it aside, and nothing else', () => {
    const statements = (inbound.configuration.statements ?? []).map((statement) =>
      stack.resolve(statement.toStatementJson()),
    );
    expect(statements.map(({ Action }) => Action)).toEqual([
      ['sqs:ChangeMessageVisibility', 'sqs:DeleteMessage', 'sqs:ReceiveMessage'],
      ['s3:DeleteObject', 's3:GetObject'],
      ['s3:GetObject', 's3:PutObject'],
      's3:PutObject',
      ['kms:Decrypt', 'kms:GenerateDataKey'],
    ]);
    const folders = statements.slice(1, 4).map(({ Resource }) => Resource['Fn::Join'][1][1]);
    expect(folders).toEqual(['/mail/*', '/claims/*', '/quarantine/*']);
    expect(statements[4].Condition.StringEquals['kms:ViaService']).toEqual({
      'Fn::Join': ['', ['s3.', { Ref: 'AWS::Region' }, '.', { Ref: 'AWS::URLSuffix' }]],
    });
  });

  test('alarms: mail that nobody fetches, that nodes can not bring, that was given up', () => {
    const alarm = (MetricName: string, Threshold: number) =>
      template.hasResourceProperties('AWS::CloudWatch::Alarm', {
        MetricName,
        Threshold,
        ComparisonOperator: 'GreaterThanThreshold',
        AlarmActions: [Match.anyValue()],
      });
    alarm('ApproximateAgeOfOldestMessage', 900);
    alarm('InboundDelay', 900);
    alarm('ApproximateNumberOfMessagesVisible', 0);
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });
});

test.each(environments)('names the mail exchanger in $where', ({ env }) => {
  const stack = testStack({}, env);
  expect(stack.resolve(inboundIn(stack).mailExchanger)).toEqual(
    env
      ? 'inbound-smtp.eu-central-1.amazonaws.com'
      : { 'Fn::Join': ['', ['inbound-smtp.', { Ref: 'AWS::Region' }, '.amazonaws.com']] },
  );
});

test.each(['by its name', 'as a construct'])('adds to a rule set that is active, %s, and activates none', (how) => {
  const stack = testStack();
  const ruleSet = ReceiptRuleSet.fromReceiptRuleSetName(stack, 'Theirs', 'theirs');
  inboundIn(stack, {
    ...(how === 'by its name' ? { ruleSetName: 'theirs' } : { ruleSet }),
    recipients: ['bob@example.com'],
    requireTls: true,
  });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::SES::ReceiptRuleSet', 0);
  template.resourceCountIs('Custom::ActiveReceiptRuleSet', 0);
  template.hasResourceProperties('AWS::SES::ReceiptRule', {
    RuleSetName: 'theirs',
    Rule: { Recipients: ['bob@example.com'], TlsPolicy: 'Require' },
  });
});

test('a domain gets an identity unless SES has it: with records in its zone, or told', () => {
  const stack = testStack();
  const zone = new PublicHostedZone(stack, 'Zone', { zoneName: 'example.org' });
  const inbound = inboundIn(stack, {
    domains: ['example.com', 'example.org', 'example.net'],
    hostedZones: [zone],
    verifiedDomains: ['example.net'],
  });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::SES::EmailIdentity', 2);
  expect(inbound.records).toHaveLength(3);
  template.resourceCountIs('AWS::Route53::RecordSet', 3);
});

test('warns when the policy of an imported key can not be changed', () => {
  const stack = testStack();
  const key = Key.fromKeyArn(stack, 'Imported', 'arn:aws:kms:eu-central-1:111122223333:key/1');
  new SesInbound(stack, 'Inbound', { domains: ['example.com'], encryptionKey: key });
  const warnings = stack.node.findChild('Inbound').node.metadata.map(({ data }) => String(data));
  expect(warnings).toContainEqual(expect.stringContaining('it must let Amazon SES use the key'));
});

test.each<[string, Partial<SesInboundProps>, string]>([
  ['no domain', { domains: [] }, 'domains must have at least one entry, got none; add one'],
  [
    'an address elsewhere',
    { recipients: ['bob@example.org'] },
    'recipients must be of the mail domains (example.com), got bob@example.org; remove it',
  ],
  [
    'no recipients',
    { recipients: [] },
    'recipients must be 1 to 500 domains or addresses, got 0; give domains instead',
  ],
  [
    'a domain of others',
    { verifiedDomains: ['example.org'] },
    'verifiedDomains must be of the mail domains (example.com), got example.org; remove it',
  ],
  [
    'half a day',
    { quarantineFor: Duration.hours(12) },
    'quarantineFor must be whole days, 1 or more, got 0.5; raise quarantineFor',
  ],
  [
    'a minute',
    { waitingAlarm: Duration.minutes(1) },
    'waitingAlarm must be whole minutes, 5 or more, got 1; raise waitingAlarm',
  ],
])('fails when given %s', (_what, props, message) => {
  expect(() => inboundIn(testStack(), props)).toThrow(message);
});

test('fails when it is to add to a rule set that is given twice', () => {
  const stack = testStack();
  const ruleSet = ReceiptRuleSet.fromReceiptRuleSetName(stack, 'Theirs', 'theirs');
  expect(() => inboundIn(stack, { ruleSet, ruleSetName: 'theirs' })).toThrow('ruleSet and ruleSetName are both set');
});

test('fails when it is to replace a rule set and to add to it', () => {
  const stack = testStack();
  const ruleSet = ReceiptRuleSet.fromReceiptRuleSetName(stack, 'Theirs', 'theirs');
  expect(() => inboundIn(stack, { ruleSet, takeOver: true })).toThrow(
    'takeOver is for a new rule set, got ruleSet, which must be active; remove takeOver',
  );
});
