import { Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { BackupVault } from 'aws-cdk-lib/aws-backup';
import { BackupLock, MailBackup, MailBackupProps } from '../../lib/storage';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

const STORE = 'arn:aws:elasticfilesystem:eu-central-1:111122223333:file-system/fs-0123456789abcdef0';

function backup(stack: Stack, props: Partial<MailBackupProps> = {}): MailBackup {
  const { key } = new MailKey(stack, 'Key');
  const made = new MailBackup(stack, 'Backup', { fileSystemArn: STORE, fileSystemKey: key, ...props });
  made.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  return made;
}

function rules(template: Template): { [name: string]: unknown }[] {
  const [plan] = Object.values(template.findResources('AWS::Backup::BackupPlan'));
  return plan.Properties.BackupPlan.BackupPlanRule;
}

/** Statements of a role's policy, by sid. */
function statements(
  template: Template,
  role: 'BackupRole' | 'RestoreRole',
): { [sid: string]: { [name: string]: unknown } } {
  const policies = template.findResources('AWS::IAM::ManagedPolicy');
  const [id] = Object.keys(policies).filter((name) => name.includes(role));
  const all = policies[id].Properties.PolicyDocument.Statement as { Sid: string }[];
  return Object.fromEntries(all.map(({ Sid, ...statement }) => [Sid, statement]));
}

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = testStack(context);
  backup(stack);
  const template = Template.fromStack(stack);

  test('backs up hourly, daily and monthly, after the nightly window', () => {
    expect(rules(template)).toMatchObject([
      { RuleName: 'Hourly', ScheduleExpression: 'cron(10 * * * ? *)', Lifecycle: { DeleteAfterDays: 2 } },
      { RuleName: 'Daily', ScheduleExpression: 'cron(40 3 * * ? *)', Lifecycle: { DeleteAfterDays: 35 } },
      {
        RuleName: 'Monthly',
        ScheduleExpression: 'cron(40 4 1 * ? *)',
        Lifecycle: { DeleteAfterDays: 365, MoveToColdStorageAfterDays: 30 },
      },
    ]);
    for (const rule of rules(template)) {
      expect(rule.EnableContinuousBackup).toBeUndefined(); // EFS has none, and the plan would be refused.
      expect(rule.CopyActions).toBeUndefined();
    }
    template.hasResourceProperties('AWS::Backup::BackupSelection', { BackupSelection: { Resources: [STORE] } });
  });

  test('keeps backups in an encrypted vault that stays, from which nobody deletes them', () => {
    template.hasResource('AWS::Backup::BackupVault', {
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        EncryptionKeyArn: { 'Fn::GetAtt': [Match.stringLikeRegexp('^BackupKey'), 'Arn'] },
        LockConfiguration: Match.absent(),
        AccessPolicy: {
          Statement: [
            {
              Effect: 'Deny',
              Principal: { AWS: '*' },
              Action: ['backup:DeleteRecoveryPoint', 'backup:UpdateRecoveryPointLifecycle'],
              Resource: '*',
            },
          ],
        },
      },
    });
    expect(Object.keys(template.findResources('AWS::Backup::BackupVault'))).toEqual(['BackupVaultADF21B19']);
    expect(Object.keys(template.findResources('AWS::KMS::Key')).sort()).toEqual(['BackupKey570ED138', 'Key9BCD29C7']);
  });

  test('restores the latest backup once a week to a new file system', () => {
    template.hasResourceProperties('AWS::Backup::RestoreTestingPlan', {
      ScheduleExpression: 'cron(0 6 ? * SUN *)',
      RestoreTestingPlanName: Match.stringLikeRegexp('^[A-Za-z0-9_]{1,50}$'),
      RecoveryPointSelection: {
        Algorithm: 'LATEST_WITHIN_WINDOW',
        IncludeVaults: [{ 'Fn::GetAtt': ['BackupVaultADF21B19', 'BackupVaultArn'] }],
        RecoveryPointTypes: ['SNAPSHOT'],
      },
    });
    template.hasResourceProperties('AWS::Backup::RestoreTestingSelection', {
      ProtectedResourceType: 'EFS',
      ProtectedResourceArns: [STORE],
      ValidationWindowHours: 4,
    });
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });
});

test('may read this store only, and may not touch it when it tests a restore', () => {
  const stack = testStack();
  backup(stack);
  const template = Template.fromStack(stack);
  const keys = [{ 'Fn::GetAtt': ['BackupKey570ED138', 'Arn'] }, { 'Fn::GetAtt': ['Key9BCD29C7', 'Arn'] }];
  const backingUp = statements(template, 'BackupRole');
  expect(Object.keys(backingUp)).toEqual(['ReadStore', 'FillVaults', 'DescribeKeys', 'UseKeys', 'LendKeysToAws']);
  expect(backingUp.ReadStore).toMatchObject({ Resource: STORE });
  expect(backingUp.UseKeys).toMatchObject({ Resource: keys });
  expect(backingUp.LendKeysToAws).toMatchObject({ Condition: { Bool: { 'kms:GrantIsForAWSResource': 'true' } } });
  const restoring = statements(template, 'RestoreRole');
  expect(restoring.LeaveStoreAlone).toEqual({
    Effect: 'Deny',
    Action: restoring.RestoreToNewFileSystem.Action,
    Resource: STORE,
  });
  template.allResourcesProperties('AWS::IAM::Role', { ManagedPolicyArns: Match.absent(), Policies: Match.absent() });
});

test('copies daily and monthly backups to another region', () => {
  const stack = testStack();
  const arn = 'arn:aws:backup:eu-west-1:111122223333:backup-vault:mail-copies';
  backup(stack, { copyTo: BackupVault.fromBackupVaultArn(stack, 'Copies', arn) });
  const template = Template.fromStack(stack);
  const copy = (days: number) => [
    expect.objectContaining({
      DestinationBackupVaultArn: arn,
      Lifecycle: expect.objectContaining({ DeleteAfterDays: days }),
    }),
  ];
  expect(rules(template).map(({ CopyActions }) => CopyActions)).toEqual([undefined, copy(35), copy(365)]);
  expect(statements(template, 'BackupRole').FillVaults.Resource).toContain(arn);
});

test.each<[string, BackupLock, object]>([
  ['governance', BackupLock.governance(Duration.days(2)), { MinRetentionDays: 2 }],
  ['compliance', BackupLock.compliance(Duration.days(2)), { MinRetentionDays: 2, ChangeableForDays: 3 }],
])('locks the vault in %s mode', (_name, lock, configuration) => {
  const stack = testStack();
  backup(stack, { lock });
  Template.fromStack(stack).hasResourceProperties('AWS::Backup::BackupVault', { LockConfiguration: configuration });
});

test('alarms when backups stop, fail or are late, and when copies and restores fail', () => {
  const stack = testStack();
  backup(stack);
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    Namespace: 'AWS/Backup',
    MetricName: 'NumberOfBackupJobsCompleted',
    Dimensions: [{ Name: 'BackupVaultName', Value: { 'Fn::GetAtt': ['BackupVaultADF21B19', 'BackupVaultName'] } }],
    ComparisonOperator: 'LessThanThreshold',
    Threshold: 1,
    Period: 3600,
    EvaluationPeriods: 3,
    TreatMissingData: 'breaching',
  });
  for (const metric of ['BackupJobsFailed', 'BackupJobsExpired', 'CopyJobsFailed', 'RestoreJobsFailed']) {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: `NumberOf${metric}`,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      Threshold: 1,
      TreatMissingData: 'notBreaching',
    });
  }
});

test.each<[Partial<MailBackupProps>, string]>([
  [{ keepHourly: Duration.hours(36) }, 'keepHourly must be whole days, 1 or more, got 1.5'],
  [
    { lock: BackupLock.governance(Duration.days(7)) },
    "keepHourly must be >= the lock's shortest retention (7 days), got 2 days; raise it",
  ],
  [{ restoreTestDay: 'Sunday' }, 'restoreTestDay must be MON to SUN, got "Sunday"'],
])('fails when it is given %j', (props, message) => {
  expect(() => backup(testStack(), props)).toThrow(message);
});

test.each<[() => BackupLock, string]>([
  [() => BackupLock.governance(Duration.hours(12)), 'minRetention must be whole days, 1 or more, got 0.5'],
  [() => BackupLock.compliance(Duration.days(0)), 'minRetention must be whole days, 1 or more, got 0'],
  [
    () => BackupLock.compliance(Duration.days(30), Duration.days(1)),
    'changeableFor must be whole days, 3 or more, got 1; raise changeableFor',
  ],
])('fails when a lock has a time that AWS Backup does not take: %#', (lock, message) => {
  expect(lock).toThrow(message);
});

test('tells when a check of a restored store failed, or none was passed for a week, where checks are run', () => {
  const alarms = (props: Partial<MailBackupProps>) => {
    const stack = testStack();
    backup(stack, props);
    const all = Object.entries(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm'));
    return all.filter(([id]) => id.includes('RestoreCheck')).map(([, { Properties }]) => Properties);
  };
  expect(alarms({})).toEqual([]);
  const Dimensions = [{ Name: 'Cluster', Value: 'a-cluster' }];
  const common = { Namespace: 'MailPlatform', MetricName: 'RestoreCheckPassed', Dimensions, Threshold: 1 };
  expect(alarms({ restoreCheck: true, clusterName: 'a-cluster' })).toMatchObject([
    { ...common, Statistic: 'Minimum', Period: 3600, EvaluationPeriods: 1, TreatMissingData: 'ignore' },
    { ...common, Statistic: 'Maximum', Period: 86_400, EvaluationPeriods: 7, TreatMissingData: 'breaching' },
  ]);
});
