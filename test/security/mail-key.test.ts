import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { MailKey } from '../../lib/security';
import { testStack } from '../support/apps';
import { openFindings } from '../support/nag';

test('is rotated, kept, and usable by logs, alarms and Auto Scaling of this account only', () => {
  const stack = testStack();
  new MailKey(stack, 'Key');
  const template = Template.fromStack(stack);
  template.hasResource('AWS::KMS::Key', {
    DeletionPolicy: 'Retain',
    UpdateReplacePolicy: 'Retain',
    Properties: { EnableKeyRotation: true },
  });
  const [key] = Object.values(template.findResources('AWS::KMS::Key'));
  const [account, ...services] = key.Properties.KeyPolicy.Statement;
  expect(JSON.stringify(account.Principal)).toContain(':root');
  expect(services.map(({ Sid }: { Sid: string }) => Sid)).toEqual([
    'LogsUseKey',
    'AlarmsUseKey',
    'AutoScalingUsesKey',
    'AutoScalingAttachesVolumes',
  ]);
  for (const { Condition } of services) {
    expect(JSON.stringify(Condition)).toContain('AWS::AccountId');
  }
  template.hasResourceProperties('AWS::KMS::Key', {
    KeyPolicy: {
      Statement: Match.arrayWith([
        Match.objectLike({
          Sid: 'AutoScalingAttachesVolumes',
          Action: 'kms:CreateGrant',
          Condition: Match.objectLike({ Bool: { 'kms:GrantIsForAWSResource': 'true' } }),
        }),
      ]),
    },
  });
  expect(openFindings(stack)).toEqual([]);
});

test('takes a key that is there already', () => {
  const stack = testStack();
  const encryptionKey = Key.fromKeyArn(stack, 'Imported', 'arn:aws:kms:eu-central-1:111122223333:key/k');
  expect(new MailKey(stack, 'Key', { encryptionKey }).key).toBe(encryptionKey);
  Template.fromStack(stack).resourceCountIs('AWS::KMS::Key', 0);
});
