import { Duration, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Alarm } from 'aws-cdk-lib/aws-cloudwatch';
import { SecurityGroup, SubnetType, Vpc } from 'aws-cdk-lib/aws-ec2';
import { FileSystem, LifecyclePolicy } from 'aws-cdk-lib/aws-efs';
import { Key } from 'aws-cdk-lib/aws-kms';
import { EfsMailStore, EfsMailStoreProps, MailBackup, MailStorage } from '../../lib/storage';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

function given(stack: Stack) {
  const vpc = new Vpc(stack, 'Vpc', { availabilityZones: ['a', 'b', 'c'] });
  return {
    vpc,
    vpcSubnets: { subnetType: SubnetType.PRIVATE_WITH_EGRESS },
    securityGroup: new SecurityGroup(stack, 'StoreGroup', { vpc }),
    nodeSecurityGroup: new SecurityGroup(stack, 'NodeGroup', { vpc, allowAllOutbound: false }),
  };
}

const inputs: [string, (stack: Stack) => Partial<EfsMailStoreProps>][] = [
  ['its own file system', (stack) => ({ encryptionKey: new Key(stack, 'Key') })],
  [
    'an imported file system',
    (stack) => ({
      fileSystem: FileSystem.fromFileSystemAttributes(stack, 'Imported', {
        fileSystemId: 'fs-0123456789abcdef0',
        securityGroup: SecurityGroup.fromSecurityGroupId(stack, 'ImportedGroup', 'sg-0123456789abcdef0'),
      }),
    }),
  ],
];

test.each(inputs)('tells nodes how to mount %s', (_name, extra) => {
  const stack = testStack();
  const store = new EfsMailStore(stack, 'Store', { ...given(stack), ...extra(stack) });

  const environment = stack.resolve(store.configuration.environment);
  expect(environment).toMatchObject({ MAIL_STORE: 'efs' });
  expect(environment.MAIL_STORE_SERVER['Fn::Join'][1]).toEqual([
    ...(store.storeId === 'fs-0123456789abcdef0' ? ['fs-0123456789abcdef0.efs.'] : [expect.any(Object), '.efs.']),
    { Ref: 'AWS::Region' },
    '.',
    { Ref: 'AWS::URLSuffix' },
  ]);
});

describe.each(flagSets)('an own file system with $flags', ({ context }) => {
  const stack = testStack(context);
  new EfsMailStore(stack, 'Store', { ...given(stack), encryptionKey: new Key(stack, 'Key') });
  const template = Template.fromStack(stack);

  test('is encrypted with the key, elastic, tiered, backed up and kept', () => {
    template.hasResource('AWS::EFS::FileSystem', {
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        Encrypted: true,
        KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] },
        ThroughputMode: 'elastic',
        PerformanceMode: 'generalPurpose',
        BackupPolicy: { Status: 'ENABLED' },
        LifecyclePolicies: [{ TransitionToIA: 'AFTER_30_DAYS' }, { TransitionToArchive: 'AFTER_90_DAYS' }],
      },
    });
  });

  test('has one mount target to a subnet, whose names do not depend on the order of subnets', () => {
    const targets = Object.keys(template.findResources('AWS::EFS::MountTarget')).sort();
    expect(targets.map((id) => id.replace(/[0-9A-F]{8}$/, ''))).toEqual([
      'StoreFileSystemEfsMountTargetPrivateSubnet1',
      'StoreFileSystemEfsMountTargetPrivateSubnet2',
      'StoreFileSystemEfsMountTargetPrivateSubnet3',
    ]);
  });

  test('lets clients in through mount targets, by TLS only, without IAM', () => {
    const policy = Object.values(template.findResources('AWS::EFS::FileSystem'))[0].Properties.FileSystemPolicy;
    expect(policy.Statement).toEqual([
      expect.objectContaining({
        Effect: 'Allow',
        Principal: { AWS: '*' },
        // A feature flag sorts them.
        Action: expect.arrayContaining([
          'elasticfilesystem:ClientMount',
          'elasticfilesystem:ClientWrite',
          'elasticfilesystem:ClientRootAccess',
        ]),
        Condition: { Bool: { 'elasticfilesystem:AccessedViaMountTarget': 'true' } },
      }),
      expect.objectContaining({
        Effect: 'Deny',
        Action: '*',
        Condition: { Bool: { 'aws:SecureTransport': 'false' } },
      }),
    ]);
  });
});

test('has no open findings of its own', () => {
  const stack = testStack();
  new EfsMailStore(stack, 'Store', { ...given(stack), encryptionKey: new Key(stack, 'Key') });
  expect(openFindings(stack).filter((line) => line.includes(' Test/Store/'))).toEqual([]);
});

test('lets the nodes in to an imported file system', () => {
  const stack = testStack();
  new EfsMailStore(stack, 'Store', { ...given(stack), ...inputs[1][1](stack) });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::EFS::FileSystem', 0);
  template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
    GroupId: 'sg-0123456789abcdef0',
    FromPort: 2049,
    ToPort: 2049,
    SourceSecurityGroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^NodeGroup'), 'GroupId'] },
  });
});

test('warns when it can not let the nodes in to an imported file system', () => {
  const stack = testStack();
  new EfsMailStore(stack, 'Store', { ...given(stack), ...inputs[1][1](stack), nodeSecurityGroup: undefined });
  Annotations.fromStack(stack).hasWarning('/Test/Store', Match.stringLikeRegexp('TCP 2049'));
});

test('can be chosen as the storage of a stack', () => {
  const stack = testStack();
  const { vpc, vpcSubnets, securityGroup } = given(stack);
  const store = MailStorage.efs({ infrequentAccessAfter: LifecyclePolicy.AFTER_7_DAYS }).bind(stack, {
    vpc,
    subnets: vpcSubnets,
    securityGroup,
  });
  expect(store.metricBurstCreditBalance()).toBeUndefined();
  expect(stack.resolve(store.metricOperationsUtilization().toMetricConfig().metricStat)).toMatchObject({
    namespace: 'AWS/EFS',
    metricName: 'PercentIOLimit',
  });
  expect(store.metricStoredBytes()?.toMetricConfig().metricStat?.dimensions).toHaveLength(2);
  expect(store.metricThroughputUtilization().toMetricConfig().mathExpression?.expression).toContain('PERIOD(metered)');
});

test('fails when the archive class comes before infrequent access', () => {
  const stack = testStack();
  expect(
    () =>
      new EfsMailStore(stack, 'Store', {
        ...given(stack),
        infrequentAccessAfter: LifecyclePolicy.AFTER_30_DAYS,
        archiveAfter: LifecyclePolicy.AFTER_14_DAYS,
      }),
  ).toThrow('archiveAfter must be later than infrequentAccessAfter (30 days), got 14 days');
});

test('leaves backups to a plan of the owner, which the rule packs then want to see', () => {
  const stack = testStack();
  const store = new EfsMailStore(stack, 'Store', { ...given(stack), automaticBackups: false });
  Template.fromStack(stack).hasResourceProperties('AWS::EFS::FileSystem', {
    BackupPolicy: { Status: 'DISABLED' },
  });
  const inPlan = () => openFindings(stack).filter((finding) => finding.includes('EFSInBackupPlan'));
  expect(inPlan()).toHaveLength(2);
  new MailBackup(stack, 'Backup', { fileSystemArn: store.storeArn });
  expect(inPlan()).toEqual([]);
});

describe('a copy in another region', () => {
  const OTHER_KEY = 'arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555';
  const located = () => testStack(undefined, { account: '111122223333', region: 'eu-central-1' });

  test('is kept by EFS, under its own key', () => {
    const stack = located();
    const encryptionKey = Key.fromKeyArn(stack, 'OtherKey', OTHER_KEY);
    new EfsMailStore(stack, 'Store', { ...given(stack), replication: { region: 'eu-west-1', encryptionKey } });
    Template.fromStack(stack).hasResourceProperties('AWS::EFS::FileSystem', {
      ReplicationConfiguration: { Destinations: [{ Region: 'eu-west-1', KmsKeyId: OTHER_KEY }] },
    });
  });

  test('is asked how far it is behind, whichever file system it is', () => {
    const stack = located();
    const store = new EfsMailStore(stack, 'Store', { ...given(stack), replication: { region: 'eu-west-1' } });
    new Alarm(stack, 'Late', {
      metric: store.metricReplicationLag({ period: Duration.minutes(5) })!,
      threshold: 900,
      evaluationPeriods: 3,
    });
    const [alarm] = Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm'));
    const [query, ...more] = alarm.Properties.Metrics;
    expect(more).toEqual([]);
    expect(query).toMatchObject({ Period: 300, ReturnData: true });
    expect(query.Expression['Fn::Join'][1]).toEqual([
      'SELECT MAX(TimeSinceLastSync) FROM SCHEMA("AWS/EFS", FileSystemId, DestinationFileSystemId) WHERE FileSystemId = \'',
      { Ref: expect.stringMatching(/^StoreFileSystem/) },
      "'",
    ]);
    Annotations.fromStack(stack).hasNoWarning('*', Match.anyValue());
  });

  test('is refused where it can not be', () => {
    const make = (extra: (stack: Stack) => Partial<EfsMailStoreProps>) => () => {
      const stack = located();
      return new EfsMailStore(stack, 'Store', { ...given(stack), ...extra(stack) });
    };
    expect(make(() => ({ replication: { region: 'eu-central-1' } }))).toThrow(
      'replication.region must be another region than eu-central-1',
    );
    expect(make(() => ({ replication: { region: 'Ireland' } }))).toThrow(
      'must be a region such as eu-west-1, got "Ireland"',
    );
    const [, imported] = inputs[1];
    expect(make((stack) => ({ ...imported(stack), replication: { region: 'eu-west-1' } }))).toThrow(
      'replicate the imported one where it is made',
    );
  });
});
