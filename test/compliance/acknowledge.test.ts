import { Stack, Token } from 'aws-cdk-lib';
import { ManagedPolicy, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AwsSolutionsChecks } from 'cdk-nag';
import { acknowledge, findingId } from '../../lib/compliance';
import { testStack } from '../support/apps';

const REASON = 'this bucket is where access logs go';

function findings(stack: Stack): string[] {
  return new AwsSolutionsChecks(stack).validateScope(stack).violations.map((violation) => violation.ruleName);
}

test('an acknowledged finding is not open any more', () => {
  const stack = testStack();
  const bucket = new Bucket(stack, 'Bucket');
  expect(findings(stack)).toContain('AwsSolutions-S1');
  acknowledge(bucket, { id: 'AwsSolutions-S1', reason: REASON });
  expect(findings(stack)).not.toContain('AwsSolutions-S1');
});

test('the same finding of another construct stays open', () => {
  const stack = testStack();
  acknowledge(new Bucket(stack, 'Known'), { id: 'AwsSolutions-S1', reason: REASON });
  new Bucket(stack, 'Other');
  expect(findings(stack)).toContain('AwsSolutions-S1');
});

test('a finding about a token is acknowledged by findingId as cdk-nag writes it', () => {
  const stack = testStack();
  const bucket = new Bucket(stack, 'Bucket');
  const resource = bucket.arnForObjects('*');
  const policy = new ManagedPolicy(stack, 'Policy', {
    statements: [new PolicyStatement({ actions: ['s3:GetObject'], resources: [resource] })],
  });
  const id = findingId(stack, 'AwsSolutions-IAM5', 'Resource', resource);
  expect(id).toBe('AwsSolutions-IAM5[Resource::<Bucket83908E77.Arn>/*]');
  expect(findings(stack)).toContain(id);
  acknowledge(policy, { id, reason: REASON });
  expect(findings(stack)).not.toContain(id);
});

test.each([
  ['text', 'a', 'a'],
  ['Fn::Sub', { 'Fn::Sub': 'x-${AWS::Region}' }, 'x-<AWS::Region>'],
  ['Fn::ImportValue', { 'Fn::ImportValue': 'Other' }, 'Other'],
  ['anything else', { 'Fn::Select': [0, ['a']] }, '{"Fn::Select":[0,["a"]]}'],
])('findingId flattens %s', (_what, value, flat) => {
  const stack = testStack();
  const text = typeof value === 'string' ? value : Token.asString(value);
  expect(findingId(stack, 'Rule', 'Resource', text)).toBe(`Rule[Resource::${flat}]`);
});

test.each(['AwsSolutions::AwsSolutions-S1', 'AwsSolutions-S1 ', Token.asString({ Ref: 'Bucket' })])(
  'fails when the id %j would not be matched',
  (id) => {
    expect(() => acknowledge(testStack(), { id, reason: REASON })).toThrow(
      /must be a finding id as the pack reports it/,
    );
  },
);

test('fails when the reason says nothing', () => {
  expect(() => acknowledge(testStack(), { id: 'AwsSolutions-S1', reason: 'ok' })).toThrow(/reason of 20 characters/);
});
