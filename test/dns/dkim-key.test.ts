import { Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { DkimKey, DkimKeyProps } from '../../lib/dns';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

function dkimKey(stack: Stack, props: Partial<DkimKeyProps> = {}): DkimKey {
  const { key } = new MailKey(stack, 'Key');
  const dkim = new DkimKey(stack, 'Dkim', {
    hostname: 'mail.example.com',
    hostedZone: PublicHostedZone.fromPublicHostedZoneAttributes(stack, 'Zone', {
      hostedZoneId: 'Z0123456789',
      zoneName: 'example.com',
    }),
    encryptionKey: key,
    ...props,
  });
  dkim.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  return dkim;
}

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = testStack(context);
  dkimKey(stack);
  const template = Template.fromStack(stack);

  test('the template has a placeholder and no key, and names the customer key', () => {
    template.hasResourceProperties('AWS::SecretsManager::Secret', {
      GenerateSecretString: { SecretStringTemplate: '{}', GenerateStringKey: 'placeholder' },
      KmsKeyId: { 'Fn::GetAtt': ['Key9BCD29C7', 'Arn'] },
    });
    expect(JSON.stringify(template.toJSON())).not.toMatch(/PRIVATE KEY|p=MII/);
  });

  test('rotates at once and every 90 days, when Secrets Manager may call the function', () => {
    template.hasResource('AWS::SecretsManager::RotationSchedule', {
      Properties: { RotateImmediatelyOnUpdate: true, RotationRules: { AutomaticallyAfterDays: 90 } },
      DependsOn: Match.arrayWith([
        Match.stringLikeRegexp('^DkimHandlerFunctionSecretsManager'),
        Match.stringLikeRegexp('^DkimHandlerPolicy'),
      ]),
    });
    template.hasResourceProperties('AWS::Lambda::Permission', {
      Action: 'lambda:InvokeFunction',
      Principal: 'secretsmanager.amazonaws.com',
      SourceAccount: { Ref: 'AWS::AccountId' },
      SourceArn: { Ref: 'DkimSecret3B02935C' },
    });
  });

  test('looks each day for a key to revoke', () => {
    template.hasResourceProperties('AWS::Events::Rule', {
      ScheduleExpression: 'rate(1 day)',
      Targets: [Match.objectLike({ Input: '{"retire":"after-overlap"}' })],
    });
    template.hasResourceProperties('AWS::Lambda::Function', {
      Timeout: 600,
      Environment: {
        Variables: {
          SECRET_ARN: { Ref: 'DkimSecret3B02935C' },
          HOSTED_ZONE_ID: 'Z0123456789',
          HOSTNAME: 'mail.example.com',
          OVERLAP_DAYS: '7',
          PROPAGATION_SECONDS: '300',
        },
      },
    });
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });
});

test('may rotate the one secret and write the two selectors, and nothing else in the zone', () => {
  const stack = testStack();
  dkimKey(stack);
  const [policy] = Object.values(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy'));
  const statements = policy.Properties.PolicyDocument.Statement as { [name: string]: unknown }[];
  expect(statements.map(({ Action }) => Action).flat()).toEqual([
    'secretsmanager:DescribeSecret',
    'secretsmanager:GetSecretValue',
    'secretsmanager:PutSecretValue',
    'secretsmanager:UpdateSecretVersionStage',
    'kms:Decrypt',
    'kms:GenerateDataKey',
    'route53:ChangeResourceRecordSets',
    'route53:ListResourceRecordSets',
    'route53:GetChange',
    'logs:CreateLogStream',
    'logs:PutLogEvents',
  ]);
  expect(statements[0].Resource).toEqual({ Ref: 'DkimSecret3B02935C' });
  expect(statements[2]).toMatchObject({
    Resource: { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':route53:::hostedzone/Z0123456789']] },
    Condition: {
      'ForAllValues:StringEquals': {
        'route53:ChangeResourceRecordSetsNormalizedRecordNames': [
          'mail1._domainkey.mail.example.com',
          'mail2._domainkey.mail.example.com',
        ],
        'route53:ChangeResourceRecordSetsRecordTypes': ['TXT'],
        'route53:ChangeResourceRecordSetsActions': ['UPSERT'],
      },
    },
  });
});

test('alarms when a step fails', () => {
  const stack = testStack();
  dkimKey(stack);
  Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', {
    MetricName: 'Errors',
    Threshold: 0,
    ComparisonOperator: 'GreaterThanThreshold',
    AlarmActions: [{ Ref: 'AlertsTopicCF7C81C9' }],
    AlarmDescription: Match.stringLikeRegexp('DKIM key could not be rotated'),
  });
});

test.each<[Partial<DkimKeyProps>, string]>([
  [{ rotateAfter: Duration.days(5) }, 'rotateAfter must be 10 to 1000 whole days, got 5'],
  [{ rotateAfter: Duration.hours(300) }, 'rotateAfter must be 10 to 1000 whole days, got 12.5'],
  [{ rotateAfter: Duration.days(12), overlap: Duration.days(7) }, 'overlap must be 5 to 6 whole days, got 7'],
  [{ hostname: 'mail.example.org' }, 'hostedZone must hold the host name mail.example.org, got example.com'],
])('fails when it is given %j', (props, message) => {
  expect(() => dkimKey(testStack(), props)).toThrow(message);
});
