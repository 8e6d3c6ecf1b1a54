import { App, Duration, Size } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { MailboxFormat, MailStack, MailStackProps, MailStorage, ShardVolume } from '../lib';
import { flagSets } from './support/apps';
import { openFindings } from './support/nag';

const STORAGE = MailStorage.ebs();

function mailStack(props: Partial<MailStackProps> = {}, context: Record<string, unknown> = {}): MailStack {
  return new MailStack(new App({ context }), 'MailStack', { domain: 'example.com', storage: STORAGE, ...props });
}

describe.each(flagSets)('a stack on EBS with $flags', ({ context }) => {
  let stack: MailStack;
  let template: Template;
  beforeAll(() => {
    stack = mailStack({}, context);
    template = Template.fromStack(stack);
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });

  test('keeps the names of its volumes, which hold the mail', () => {
    expect(Object.keys(template.findResources('AWS::EC2::Volume'))).toEqual([
      'StorageEbsShard190D0AFE1',
      'StorageEbsShard23156456B',
      'StorageEbsShard385D592FB',
    ]);
    template.resourceCountIs('AWS::EFS::FileSystem', 0);
  });

  test('has a group of one node to a shard, in its zone, which ends the old node before the new one begins', () => {
    const groups = template.findResources('AWS::AutoScaling::AutoScalingGroup');
    expect(Object.keys(groups)).toHaveLength(3);
    Object.values(groups).forEach(({ Properties, UpdatePolicy }, index) => {
      expect(Properties).toMatchObject({
        MinSize: '1',
        MaxSize: '1',
        HealthCheckType: 'ELB',
        InstanceMaintenancePolicy: { MinHealthyPercentage: 0, MaxHealthyPercentage: 100 },
        VPCZoneIdentifier: [{ Ref: expect.stringMatching(`Subnet${index + 1}Subnet`) }],
        Tags: expect.arrayContaining([
          { Key: 'mail-platform:shard', PropagateAtLaunch: true, Value: `MailStack/shard-${index + 1}` },
        ]),
      });
      expect(Properties.TargetGroupARNs).toHaveLength(2);
      expect(UpdatePolicy.AutoScalingInstanceRefresh.Preferences).toMatchObject({
        MinHealthyPercentage: 0,
        MaxHealthyPercentage: 100,
        AlarmSpecification: { Alarms: expect.anything() },
      });
    });
    template.resourceCountIs('AWS::AutoScaling::ScalingPolicy', 0);
  });

  test('replaces the nodes of one shard after the other', () => {
    const groups = Object.entries(template.findResources('AWS::AutoScaling::AutoScalingGroup'));
    const [first, second, third] = groups.map(([id]) => id);
    const waitsFor = groups.map(([, { DependsOn }]) => DependsOn as string[]);
    expect(waitsFor[0]).not.toContain(second);
    expect(waitsFor[1]).toContain(first);
    expect(waitsFor[2]).toContain(second);
    expect(waitsFor[0]).not.toContain(third);
  });

  test('tells each node its volume', () => {
    const templates = Object.values(template.findResources('AWS::EC2::LaunchTemplate'));
    expect(templates).toHaveLength(3);
    templates.forEach(({ Properties }, index) => {
      const userData = JSON.stringify(Properties.LaunchTemplateData.UserData);
      expect(userData).toContain(`\\nMAIL_SHARD=shard-${index + 1}\\n`);
      expect(userData).toMatch(new RegExp(`MAIL_STORE_VOLUME=",{"Ref":"StorageEbsShard${index + 1}`));
      expect(userData).toContain('\\nMAIL_SHARDS=\\"shard-1 shard-2 shard-3\\"\\n');
      expect(userData).toContain('\\nMAIL_DRAIN_SECONDS=30\\n');
    });
  });

  test('watches each volume', () => {
    const names = Object.keys(stack.alarms.alarms).filter((id) => id.startsWith('Store'));
    expect(names.sort()).toEqual([
      'StoreFull',
      'StoreOperationsHighShard1',
      'StoreOperationsHighShard2',
      'StoreOperationsHighShard3',
      'StoreSlow',
      'StoreThroughputHighShard1',
      'StoreThroughputHighShard2',
      'StoreThroughputHighShard3',
    ]);
    template.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'Members', Threshold: 3 });
  });
});

test('warns when nodes are slower than their disks', () => {
  const stack = mailStack({ storage: MailStorage.ebs({ volume: ShardVolume.gp3({ iops: 10_000 }) }) });
  Annotations.fromStack(stack).hasWarning('*', Match.stringLikeRegexp('m7g.2xlarge carries them always'));
});

test('takes 50 000 operations a second', () => {
  const storage = MailStorage.ebs({ volume: ShardVolume.io2({ size: Size.gibibytes(400), iops: 50_000 }) });
  const template = Template.fromStack(mailStack({ storage, instanceType: new InstanceType('r7g.12xlarge') }));
  template.allResourcesProperties('AWS::EC2::Volume', { Iops: 50_000 });
});

test('old mail goes to a file system that all shards share, in its cheaper class', () => {
  const storage = MailStorage.ebs({ oldMailAfter: Duration.days(30) });
  const stack = mailStack({ storage, mailboxFormat: MailboxFormat.SDBOX });
  expect(openFindings(stack)).toEqual([]);
  const template = Template.fromStack(stack);
  template.hasResource('AWS::EFS::FileSystem', {
    DeletionPolicy: 'Retain',
    Properties: { LifecyclePolicies: [{ TransitionToIA: 'AFTER_1_DAY' }, { TransitionToArchive: 'AFTER_90_DAYS' }] },
  });
  for (const { Properties } of Object.values(template.findResources('AWS::EC2::LaunchTemplate'))) {
    const userData = JSON.stringify(Properties.LaunchTemplateData.UserData);
    expect(userData).toContain('\\nMAIL_OLD_DAYS=30\\n');
    expect(userData).toMatch(/MAIL_OLD_SERVER=",\{"Ref":"StorageOldMailFileSystem/);
    expect(userData).toContain('MAIL_MAILBOX_FORMAT=sdbox');
  }
});

test('an owner who asks for the group of all nodes is told of the groups', () => {
  const { fleet } = mailStack();
  expect(() => fleet.autoScalingGroup).toThrow(
    'autoScalingGroup must be asked of a fleet with one group, got 3 shards; use autoScalingGroups',
  );
});

test.each<[string, Partial<MailStackProps>, string]>([
  [
    'users may share folders',
    { sharedFolders: true },
    'sharedFolders must be left out with shards, whose nodes have no store in common; remove it, or use MailStorage.efs()',
  ],
  ['minNodes is set', { minNodes: 3 }, 'minNodes must be left out with shards, each of which has one node (3), got 3'],
  ['maxNodes is set', { maxNodes: 6 }, 'maxNodes must be left out with shards, each of which has one node (3), got 6'],
  ['backups are asked for', { backup: {} }, 'backup must be left out with MailStorage.ebs()'],
  ['the demand is larger', { demand: { users: 10_000 } }, 'demand asks for 9 nodes, got 3 shards with one node each'],
  [
    'old mail has no second place',
    { storage: MailStorage.ebs({ oldMailAfter: Duration.days(30) }) },
    'oldMailAfter needs mailboxFormat MailboxFormat.SDBOX, which has a second place for mail, got maildir',
  ],
  [
    'old mail is half a day old',
    { storage: MailStorage.ebs({ oldMailAfter: Duration.hours(12) }), mailboxFormat: MailboxFormat.SDBOX },
    'oldMailAfter must be whole days, 1 or more, got 0.5; raise oldMailAfter',
  ],
  ['the drain is too short', { drainTimeout: Duration.seconds(10) }, 'drainTimeout must be 30 to 6900 seconds'],
])('fails when %s', (_name, props, message) => {
  expect(() => mailStack(props)).toThrow(message);
});
