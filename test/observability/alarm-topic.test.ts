import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { AlarmTopic } from '../../lib/observability';
import { testStack } from '../support/apps';
import { openFindings } from '../support/nag';

test.each([
  ['a key of its own', false],
  ["the owner's key", true],
])('encrypts with %s, which alarms may use, and takes TLS only', (_name, bring) => {
  const stack = testStack();
  new AlarmTopic(stack, 'Alarms', {
    encryptionKey: bring ? new Key(stack, 'Mine', { enableKeyRotation: true }) : undefined,
    email: 'ops@example.net',
  });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::KMS::Key', 1);
  template.hasResourceProperties('AWS::KMS::Key', {
    KeyPolicy: {
      Statement: Match.arrayWith([
        Match.objectLike({
          Principal: { Service: 'cloudwatch.amazonaws.com' },
          Condition: { StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } } },
        }),
      ]),
    },
  });
  template.hasResourceProperties('AWS::SNS::Topic', { KmsMasterKeyId: Match.anyValue() });
  template.hasResourceProperties('AWS::SNS::TopicPolicy', {
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({ Effect: 'Deny', Condition: { Bool: { 'aws:SecureTransport': 'false' } } }),
        Match.objectLike({ Effect: 'Allow', Principal: { Service: 'cloudwatch.amazonaws.com' } }),
      ]),
    },
  });
  template.hasResourceProperties('AWS::SNS::Subscription', { Protocol: 'email', Endpoint: 'ops@example.net' });
  expect(openFindings(stack)).toEqual([]);
});

test('takes a topic that is there already', () => {
  const stack = testStack();
  const topic = Topic.fromTopicArn(stack, 'Imported', 'arn:aws:sns:eu-central-1:111122223333:ops');
  expect(new AlarmTopic(stack, 'Alarms', { topic }).topic).toBe(topic);
  Template.fromStack(stack).resourceCountIs('AWS::SNS::Topic', 0);
});

test('says what the policy of an imported key must allow', () => {
  const stack = testStack();
  const encryptionKey = Key.fromKeyArn(stack, 'K', 'arn:aws:kms:eu-central-1:111122223333:key/k');
  new AlarmTopic(stack, 'Alarms', { encryptionKey });
  Annotations.fromStack(stack).hasWarning('/Test/Alarms', Match.stringLikeRegexp('AlarmsUseKey'));
});

test('fails when the address is none', () => {
  expect(() => new AlarmTopic(testStack(), 'Alarms', { email: 'ops' })).toThrow('email must be an address');
});
