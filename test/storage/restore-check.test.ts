import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { MailStack } from '../../lib';
import { flagSets } from '../support/apps';
import { openFindings } from '../support/nag';

function mailStack(restoreCheck: boolean, context = {}): MailStack {
  const props = { domain: 'example.com', journal: {}, backup: { restoreCheck } };
  return new MailStack(new App({ context }), 'MailStack', props);
}

function statements(
  stack: Stack,
  description: string,
): { Sid: string; Effect: string; Action: string | string[]; Resource: unknown; Condition?: unknown }[] {
  const found = Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy', {
    Properties: { Description: description },
  });
  return Object.values(found).flatMap(({ Properties }) => Properties.PolicyDocument.Statement);
}

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = mailStack(true, context);
  const template = Template.fromStack(stack);

  test('restores of this plan, and machines that ended, call the function', () => {
    template.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: {
        source: ['aws.backup'],
        detail: {
          status: ['COMPLETED'],
          restoreTestingPlanArn: [
            { 'Fn::GetAtt': [Match.stringLikeRegexp('^BackupRestoreTest'), 'RestoreTestingPlanArn'] },
          ],
        },
      },
      Targets: [Match.objectLike({ RetryPolicy: { MaximumRetryAttempts: 2, MaximumEventAgeInSeconds: 7200 } })],
    });
    template.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: { source: ['aws.ec2'], detail: { state: ['terminated'] } },
    });
  });

  test('the machine is made as nodes are, runs the check, and ends after three hours whatever happens', () => {
    const templates = Object.entries(template.findResources('AWS::EC2::LaunchTemplate'));
    const [, { Properties }] = templates.find(([id]) => id.startsWith('RestoreCheck'))!;
    const { LaunchTemplateData: data } = Properties;
    expect(data.MetadataOptions).toMatchObject({ HttpTokens: 'required', InstanceMetadataTags: 'enabled' });
    expect(data.BlockDeviceMappings[0].Ebs).toMatchObject({ Encrypted: true, DeleteOnTermination: true });
    const userData = JSON.stringify(data.UserData);
    expect(userData).toContain('shutdown --poweroff +180');
    expect(userData).toContain('exec bash /opt/mail-platform/libexec/check-restored');
    const nodes = JSON.stringify(templates.find(([id]) => id.startsWith('Fleet'))![1]);
    expect(nodes).not.toContain('shutdown');
    expect(nodes).toContain('exec bash /opt/mail-platform/bootstrap.sh');
  });

  test('has no open findings', () => expect(openFindings(stack)).toEqual([]));
});

test('the machine reads bundle, users and journal, writes metrics and results, and nothing else', () => {
  const actions = statements(mailStack(true), 'Restore check: bundle, users, journal, results').flatMap(
    ({ Action }) => Action,
  );
  expect([...new Set(actions)].sort()).toEqual([
    'backup:PutRestoreValidationResult',
    'cloudwatch:PutMetricData',
    'kms:Decrypt',
    's3:GetObject',
    's3:ListBucket',
  ]);
});

test('the function starts machines of the one template only, gives them one role, and is denied the store', () => {
  const all = statements(mailStack(true), 'Starts the check of a restored mail store, and cleans up after it');
  const of = (sid: string) => all.find(({ Sid }) => Sid === sid)!;
  expect(JSON.stringify(of('StartMachine').Condition)).toContain('RestoreCheckMachineLaunchTemplate');
  expect(of('GiveRights')).toMatchObject({
    Action: 'iam:PassRole',
    Resource: { 'Fn::GetAtt': [expect.stringMatching(/^RestoreCheckRole/), 'Arn'] },
  });
  expect(of('LeaveStoreAlone')).toMatchObject({ Effect: 'Deny' });
  expect(JSON.stringify(of('LeaveStoreAlone').Resource)).toContain('StorageEfsFileSystem');
  expect(JSON.stringify(of('LeaveStoreAlone').Action)).toBe(JSON.stringify(of('MountCopy').Action));
});

test('alarms tell when it could not be started, did not pass, or did not run', () => {
  const alarms = Object.keys(Template.fromStack(mailStack(true)).findResources('AWS::CloudWatch::Alarm'));
  for (const id of [/^RestoreCheckNotStarted/, /^BackupRestoreCheckFailed/, /^BackupRestoreCheckStale/]) {
    expect(alarms).toContainEqual(expect.stringMatching(id));
  }
});

test('there is none of it unless it is asked for', () => {
  expect(JSON.stringify(Template.fromStack(mailStack(false)).toJSON())).not.toMatch(/RestoreCheck/);
});
