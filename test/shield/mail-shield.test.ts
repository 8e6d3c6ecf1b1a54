import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { MailShield, MailShieldProps } from '../../lib/shield';
import { environments, flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

const ALLOCATION_IDS = ['eipalloc-1', 'eipalloc-2', 'eipalloc-3'];

function shield(props: Partial<MailShieldProps> = {}, stack = testStack()) {
  new MailShield(stack, 'Shield', { allocationIds: ALLOCATION_IDS, ...props });
  return { stack, template: Template.fromStack(stack) };
}

describe.each(flagSets)('with $flags', ({ context }) => {
  test.each(environments)('has no open findings in $where', ({ env }) => {
    expect(openFindings(shield({}, testStack(context, env)).stack)).toEqual([]);
  });

  test('protects each address, not the balancer', () => {
    const { template } = shield({}, testStack(context));
    template.resourceCountIs('AWS::Shield::Protection', 3);
    template.hasResourceProperties('AWS::Shield::Protection', {
      ResourceArn: { 'Fn::Join': ['', Match.arrayWith([':eip-allocation/eipalloc-2'])] },
    });
  });
});

test('asserts the subscription first, by one call and no other permission', () => {
  const { template } = shield();
  const calls = Object.values(template.findResources('Custom::ShieldSubscription'));
  expect(calls).toHaveLength(1);
  const { Create, Update, Delete, InstallLatestAwsSdk } = calls[0].Properties;
  expect(JSON.parse(Create)).toMatchObject({ service: 'Shield', action: 'DescribeSubscription', region: 'us-east-1' });
  expect(JSON.parse(Update)).toEqual(JSON.parse(Create));
  expect(Delete).toBeUndefined();
  expect(InstallLatestAwsSdk).toBe(false);
  template.allResources('AWS::Shield::Protection', {
    DependsOn: Match.arrayWith([Match.stringLikeRegexp('Subscription')]),
  });
  template.resourceCountIs('AWS::IAM::Policy', 0);
  template.hasResourceProperties('AWS::IAM::ManagedPolicy', {
    PolicyDocument: {
      Statement: [
        { Action: 'shield:DescribeSubscription', Effect: 'Allow', Resource: '*' },
        Match.objectLike({ Action: ['logs:CreateLogStream', 'logs:PutLogEvents'] }),
      ],
    },
  });
});

test('never subscribes, which would cost 3000 USD a month for a year', () => {
  expect(JSON.stringify(shield().template.toJSON())).not.toContain('CreateSubscription');
});

test('health checks and a key are used', () => {
  const stack = testStack();
  const healthCheckArns = [1, 2, 3].map((index) => `arn:aws:route53:::healthcheck/${index}`);
  const { template } = shield({ healthCheckArns, encryptionKey: new Key(stack, 'MyKey') }, stack);
  template.resourceCountIs('AWS::KMS::Key', 1);
  template.hasResourceProperties('AWS::Shield::Protection', { HealthCheckArns: [healthCheckArns[2]] });
});

test.each<[string, Partial<MailShieldProps>, RegExp]>([
  ['there is no address', { allocationIds: [] }, /^allocationIds must have one Elastic IP or more, got none/],
  [
    'health checks are missing',
    { healthCheckArns: ['arn'] },
    /^healthCheckArns must have one for each of the 3 .* got 1/,
  ],
])('fails when %s', (_what, props, message) => {
  expect(() => shield(props)).toThrow(message);
});
