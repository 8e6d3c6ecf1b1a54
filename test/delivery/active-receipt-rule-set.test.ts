import { Template } from 'aws-cdk-lib/assertions';
import { ReceiptRuleSet } from 'aws-cdk-lib/aws-ses';
import { ActiveReceiptRuleSet } from '../../lib/delivery';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

test.each(flagSets)('activates the rule set after its rules, with $flags', ({ context }) => {
  const stack = testStack(context);
  const ruleSet = new ReceiptRuleSet(stack, 'Rules');
  ruleSet.addRule('Inbox', { recipients: ['example.com'] });
  const { key } = new MailKey(stack, 'Key');
  const { ruleSetName } = new ActiveReceiptRuleSet(stack, 'Active', { ruleSet, encryptionKey: key });

  const template = Template.fromStack(stack);
  const [logicalId, resource] = Object.entries(template.findResources('Custom::ActiveReceiptRuleSet'))[0];
  expect(resource.Properties).toMatchObject({
    RuleSetName: { Ref: expect.stringMatching(/^Rules/) },
    TakeOver: false,
    ServiceTimeout: '180',
  });
  expect(resource.DependsOn).toEqual([
    expect.stringMatching(/^RulesInbox/),
    expect.stringMatching(/^Rules[0-9A-F]{8}$/),
  ]);
  // Whoever uses the name waits until it is active.
  expect(stack.resolve(ruleSetName)).toEqual({ Ref: logicalId });
  expect(openFindings(stack)).toEqual([]);
});

test('may look and activate, nothing else', () => {
  const stack = testStack();
  const ruleSet = ReceiptRuleSet.fromReceiptRuleSetName(stack, 'Rules', 'existing');
  new ActiveReceiptRuleSet(stack, 'Active', { ruleSet, takeOver: true });
  const template = Template.fromStack(stack);
  const [policy] = Object.values(template.findResources('AWS::IAM::ManagedPolicy'));
  expect(policy.Properties.PolicyDocument.Statement.flatMap(({ Action }: { Action: string }) => Action)).toEqual([
    'ses:DescribeActiveReceiptRuleSet',
    'ses:SetActiveReceiptRuleSet',
    'logs:CreateLogStream',
    'logs:PutLogEvents',
  ]);
  template.hasResourceProperties('Custom::ActiveReceiptRuleSet', { RuleSetName: 'existing', TakeOver: true });
});
