import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { ArnPrincipal } from 'aws-cdk-lib/aws-iam';
import { MailStack, MailStackProps } from '../../lib';
import { AlarmTopic } from '../../lib/observability';
import { RestoreAccess, RestoreAccessOptions } from '../../lib/operations';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

const SOURCES = ['192.0.2.7/32', '198.51.100.0/24'];

function restoreAccess(stack: Stack, options: Partial<RestoreAccessOptions> = {}): RestoreAccess {
  const { key } = new MailKey(stack, 'Key');
  const access = new RestoreAccess(stack, 'RestoreAccess', { sources: SOURCES, encryptionKey: key, ...options });
  access.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  return access;
}

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = testStack(context);
  restoreAccess(stack);
  const template = Template.fromStack(stack);

  test('the password is random, encrypted with the customer key, and replaced every 30 days', () => {
    template.hasResourceProperties('AWS::SecretsManager::Secret', {
      GenerateSecretString: { GenerateStringKey: 'password', PasswordLength: 48, ExcludePunctuation: true },
      KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] },
    });
    template.hasResource('AWS::SecretsManager::RotationSchedule', {
      Properties: { RotationRules: { AutomaticallyAfterDays: 30 } },
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('^RestoreAccessHandlerFunctionSecretsManager')]),
    });
    template.hasResourceProperties('AWS::Lambda::Permission', {
      Principal: 'secretsmanager.amazonaws.com',
      SourceAccount: { Ref: 'AWS::AccountId' },
      SourceArn: { Ref: Match.stringLikeRegexp('^RestoreAccessSecret') },
    });
  });

  test('a rotation that failed raises an alarm', () => {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'Errors',
      Threshold: 0,
      ComparisonOperator: 'GreaterThanThreshold',
    });
  });

  test('has no open findings', () => expect(openFindings(stack)).toEqual([]));
});

test('nodes read the one secret and know the addresses', () => {
  const { configuration, secret } = restoreAccess(testStack());
  expect(configuration.environment).toEqual({
    MAIL_RESTORE_SECRET: secret.secretArn,
    MAIL_RESTORE_SOURCES: '192.0.2.7/32 198.51.100.0/24',
  });
  expect(configuration.statements!.flatMap(({ actions }) => actions)).toEqual([
    'secretsmanager:GetSecretValue',
    'kms:Decrypt',
  ]);
});

describe('in a MailStack', () => {
  const mailStack = (props: Partial<MailStackProps>) =>
    Template.fromStack(new MailStack(new App(), 'MailStack', { domain: 'example.com', journal: {}, ...props }));
  const operators = { operators: [new ArnPrincipal('arn:aws:iam::111122223333:user/alice')], restore: true };
  const policies = (template: Template, description: string) =>
    JSON.stringify(template.findResources('AWS::IAM::ManagedPolicy', { Properties: { Description: description } }));

  test('there is none unless it is asked for', () => {
    expect(JSON.stringify(mailStack({}).toJSON())).not.toContain('MAIL_RESTORE_SECRET');
  });

  test('nodes get it, and operators who may restore read the password', () => {
    const template = mailStack({ restoreAccess: { sources: SOURCES }, operators });
    expect(JSON.stringify(template.toJSON())).toContain('MAIL_RESTORE_SOURCES');
    template.hasOutput('RestoreSecretArn', {});
    expect(policies(template, 'Mail operators: get mail back')).toContain('RestoreAccessSecret');
  });

  test('operators who may not restore do not', () => {
    const template = mailStack({ restoreAccess: { sources: SOURCES }, operators: { ...operators, restore: false } });
    expect(policies(template, 'Mail operators: nodes')).not.toContain('RestoreAccessSecret');
    template.resourcePropertiesCountIs('AWS::IAM::ManagedPolicy', { Description: 'Mail operators: get mail back' }, 0);
  });
});

test.each<[string, Partial<RestoreAccessOptions>, string]>([
  ['there is no source', { sources: [] }, 'restoreAccess.sources must have one range or more, got none'],
  ['everybody is a source', { sources: ['0.0.0.0/0'] }, 'must be less than the whole internet, got 0.0.0.0/0'],
  ['a source is no range', { sources: ['192.0.2.7'] }, 'restoreAccess.sources must be an IPv4 range'],
  ['a time is too long', { rotateAfter: Duration.days(1001) }, 'rotateAfter must be 1 to 1000 whole days, got 1001'],
  ['a time is no days', { rotateAfter: Duration.hours(1) }, 'rotateAfter must be 1 to 1000 whole days'],
])('fails when %s', (_name, options, message) => {
  expect(() => restoreAccess(testStack(), options)).toThrow(message);
});
