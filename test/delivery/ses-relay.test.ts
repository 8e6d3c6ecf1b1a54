import { Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { SesRelay, SesRelayProps } from '../../lib/delivery';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { environments, flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

function relayIn(stack: Stack, props: Partial<SesRelayProps> = {}): SesRelay {
  const { key } = new MailKey(stack, 'Key');
  const relay = new SesRelay(stack, 'Relay', { domains: ['example.com'], encryptionKey: key, ...props });
  relay.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  return relay;
}

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = testStack(context);
  const relay = relayIn(stack, { domains: ['example.com', 'example.org'] });
  const template = Template.fromStack(stack);

  test('each domain is an identity with 2048 bit Easy DKIM and a MAIL FROM domain', () => {
    for (const domain of ['example.com', 'example.org']) {
      template.hasResourceProperties('AWS::SES::EmailIdentity', {
        EmailIdentity: domain,
        DkimSigningAttributes: { NextSigningKeyLength: 'RSA_2048_BIT' },
        MailFromAttributes: { MailFromDomain: `bounce.${domain}` },
        ConfigurationSetAttributes: { ConfigurationSetName: { Ref: Match.stringLikeRegexp('^Relay') } },
      });
    }
    expect(relay.identities).toHaveLength(2);
  });

  test('TLS is required, and addresses that bounced or complained get no more mail', () => {
    template.hasResourceProperties('AWS::SES::ConfigurationSet', {
      DeliveryOptions: { TlsPolicy: 'REQUIRE' },
      ReputationOptions: { ReputationMetricsEnabled: true },
      SuppressionOptions: { SuppressedReasons: ['BOUNCE', 'COMPLAINT'] },
    });
  });

  test('bounces and complaints of this configuration set alone reach the log', () => {
    template.hasResourceProperties('AWS::SES::ConfigurationSetEventDestination', {
      EventDestination: {
        Enabled: true,
        MatchingEventTypes: ['bounce', 'complaint', 'deliveryDelay', 'reject'],
        EventBridgeDestination: { EventBusArn: Match.anyValue() },
      },
    });
    const [set] = Object.keys(template.findResources('AWS::SES::ConfigurationSet'));
    template.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: { source: ['aws.ses'], detail: { mail: { tags: { 'ses:configuration-set': [{ Ref: set }] } } } },
      Targets: [{ Arn: { 'Fn::GetAtt': [Match.stringLikeRegexp('^RelayEventsHandlerFunction'), 'Arn'] } }],
    });
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });
});

test('the login may send for its domains with its configuration set, and nothing else', () => {
  const stack = testStack({}, { account: '111122223333', region: 'eu-central-1' });
  relayIn(stack, { domains: ['example.com', 'example.org'], verifiedDomains: ['example.org'] });
  const template = Template.fromStack(stack);
  const [set] = Object.keys(template.findResources('AWS::SES::ConfigurationSet'));
  const arn = (rest: unknown[]) => ({ 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ...rest]] });
  template.hasResourceProperties('AWS::IAM::ManagedPolicy', {
    Description: 'Sends mail through SES',
    PolicyDocument: {
      Statement: [
        {
          Action: 'ses:SendRawEmail',
          Effect: 'Allow',
          Resource: [
            arn([':ses:eu-central-1:111122223333:identity/', { Ref: Match.stringLikeRegexp('^RelayIdentity') }]),
            arn([':ses:eu-central-1:111122223333:identity/example.org']),
            arn([':ses:eu-central-1:111122223333:configuration-set/', { Ref: set }]),
          ],
        },
      ],
    },
  });
  // No second identity: SES has it already.
  template.resourceCountIs('AWS::SES::EmailIdentity', 1);
  template.resourceCountIs('AWS::IAM::User', 1);
  template.resourceCountIs('AWS::IAM::AccessKey', 0);
});

test.each(environments)(
  'nodes are told where the relay is, and get the login once it is there, in $where',
  ({ env }) => {
    const stack = testStack({}, env);
    const { configuration } = relayIn(stack);
    const credentials = Object.keys(Template.fromStack(stack).findResources('Custom::SmtpCredentials'))[0];
    const { MAIL_RELAY_HOST: host, ...rest } = stack.resolve(configuration.environment);
    expect(rest).toEqual({
      MAIL_RELAY: 'ses',
      MAIL_RELAY_SECRET: { Ref: credentials },
      MAIL_RELAY_CONFIGURATION_SET: { Ref: expect.stringMatching(/^RelayConfigurationSet/) },
    });
    expect(JSON.stringify(host)).toContain(env ? 'email-smtp.eu-central-1.' : '{"Ref":"AWS::Region"}');
    expect(stack.resolve(configuration.statements!.map((statement) => statement.toStatementJson().Action))).toEqual([
      'secretsmanager:GetSecretValue',
      'kms:Decrypt',
    ]);
  },
);

test('a domain whose zone is given gets its records there, the others are told', () => {
  const stack = testStack({}, { account: '111122223333', region: 'eu-central-1' });
  const zone = new PublicHostedZone(stack, 'Zone', { zoneName: 'example.com' });
  const { records } = relayIn(stack, { domains: ['example.com', 'example.org'], hostedZones: [zone] });
  const template = Template.fromStack(stack);
  const types = Object.values(template.findResources('AWS::Route53::RecordSet')).map(
    ({ Properties }) => Properties.Type,
  );
  expect(types.sort()).toEqual(['CNAME', 'CNAME', 'CNAME', 'MX', 'TXT']);
  expect(stack.resolve(records)).toEqual([
    ...[1, 2, 3].map((number) => ({
      name: { 'Fn::GetAtt': [expect.stringMatching(/^RelayIdentityexampleorg/), `DkimDNSTokenName${number}`] },
      type: 'CNAME',
      value: { 'Fn::GetAtt': [expect.stringMatching(/^RelayIdentityexampleorg/), `DkimDNSTokenValue${number}`] },
    })),
    { name: 'bounce.example.org', type: 'MX', value: '10 feedback-smtp.eu-central-1.amazonses.com' },
    { name: 'bounce.example.org', type: 'TXT', value: '"v=spf1 include:amazonses.com ~all"' },
  ]);
  const outputs = Object.entries(template.findOutputs('*'));
  const [, output] = outputs.find(([id]) => id.startsWith('RelayRecords'))!;
  expect(JSON.stringify(output.Value)).toContain(
    'bounce.example.org MX 10 feedback-smtp.eu-central-1.amazonses.com; bounce.example.org TXT ',
  );
});

test('the login is renewed every 45 days, and another time on request', () => {
  const rotation = (props: Partial<SesRelayProps>) => {
    const stack = testStack();
    relayIn(stack, props);
    const template = Template.fromStack(stack);
    return Object.values(template.findResources('AWS::SecretsManager::RotationSchedule'))[0];
  };
  expect(rotation({}).Properties).toMatchObject({
    RotationRules: { AutomaticallyAfterDays: 45 },
    RotateImmediatelyOnUpdate: false,
  });
  expect(rotation({}).DependsOn).toEqual(expect.arrayContaining([expect.stringMatching(/^RelayCredentials/)]));
  expect(rotation({ rotateAfter: Duration.days(30) }).Properties.RotationRules.AutomaticallyAfterDays).toBe(30);
});

test("the login's function may renew one user's keys and write one secret", () => {
  const stack = testStack();
  relayIn(stack);
  const policies = Object.values(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy'));
  const { Statement: statements } = policies.find(({ Properties }) => /^Fills/.test(Properties.Description))!.Properties
    .PolicyDocument;
  expect(statements.flatMap(({ Action }: { Action: string | string[] }) => Action)).toEqual([
    'iam:CreateAccessKey',
    'iam:DeleteAccessKey',
    'iam:ListAccessKeys',
    'secretsmanager:GetSecretValue',
    'kms:Decrypt',
    'secretsmanager:PutSecretValue',
    'kms:Decrypt',
    'kms:GenerateDataKey',
    'secretsmanager:DescribeSecret',
    'secretsmanager:UpdateSecretVersionStage',
    'logs:CreateLogStream',
    'logs:PutLogEvents',
  ]);
  expect(statements[0].Resource).toEqual({ 'Fn::GetAtt': [expect.stringMatching(/^RelayCredentialsUser/), 'Arn'] });
});

test('alarms at the rates from which AWS reviews an account, of the whole account', () => {
  const stack = testStack();
  relayIn(stack);
  const template = Template.fromStack(stack);
  for (const [MetricName, Threshold] of [
    ['Reputation.BounceRate', 0.05],
    ['Reputation.ComplaintRate', 0.001],
  ] as const) {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      Namespace: 'AWS/SES',
      MetricName,
      Dimensions: Match.absent(),
      Statistic: 'Maximum',
      Threshold,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      TreatMissingData: 'ignore',
      AlarmActions: [{ Ref: 'AlertsTopicCF7C81C9' }],
    });
  }
  template.resourcePropertiesCountIs('AWS::CloudWatch::Alarm', { Namespace: 'AWS/Lambda', MetricName: 'Errors' }, 2);
});

test.each<[Partial<SesRelayProps>, string]>([
  [{ domains: [] }, 'domains must have at least one entry, got none; add one'],
  [
    { verifiedDomains: ['example.net'] },
    'verifiedDomains must be among the mail domains (example.com), got example.net; remove it',
  ],
  [{ mailFromSubdomain: 'a.b' }, 'mailFromSubdomain must be one lower-case label such as bounce, got a.b'],
  [{ rotateAfter: Duration.hours(36) }, 'rotateAfter must be 1 to 365 whole days, got 1.5'],
])('fails when it is given %j', (props, message) => {
  expect(() => relayIn(testStack(), props)).toThrow(message);
});
