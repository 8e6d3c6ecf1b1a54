import { Duration, Size } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { Key } from 'aws-cdk-lib/aws-kms';
import { EbsMailStore, EbsMailStoreProps, MailStorage, ShardVolume } from '../../lib/storage';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

const ZONES = ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'];

function made(props: Partial<EbsMailStoreProps> = {}, context: Record<string, unknown> = {}) {
  const stack = testStack(context);
  const encryptionKey = new Key(stack, 'Key', { enableKeyRotation: true });
  const store = new EbsMailStore(stack, 'Store', { availabilityZones: ZONES, encryptionKey, ...props });
  return { stack, store, template: Template.fromStack(stack) };
}

describe.each(flagSets)('volumes with $flags', ({ context }) => {
  const { template } = made({ volume: ShardVolume.io2({ size: Size.gibibytes(100), iops: 50_000 }) }, context);

  test('are one to a zone, encrypted, single, tagged and kept', () => {
    const volumes = template.findResources('AWS::EC2::Volume');
    expect(Object.keys(volumes)).toHaveLength(3);
    Object.values(volumes).forEach((volume, index) => {
      expect(volume).toMatchObject({
        DeletionPolicy: 'Retain',
        UpdateReplacePolicy: 'Retain',
        Properties: {
          AvailabilityZone: ZONES[index],
          VolumeType: 'io2',
          Size: 100,
          Iops: 50_000,
          Encrypted: true,
          KmsKeyId: { 'Fn::GetAtt': [expect.stringMatching(/^Key/), 'Arn'] },
          MultiAttachEnabled: false,
          Tags: [
            { Key: 'mail-platform:shard', Value: `Test/shard-${index + 1}` },
            { Key: 'mail-platform:store', Value: 'Test' },
            { Key: 'Name' },
          ],
        },
      });
    });
  });

  test('have hourly snapshots for three days, by their tags', () => {
    template.hasResourceProperties('AWS::DLM::LifecyclePolicy', {
      State: 'ENABLED',
      PolicyDetails: {
        ResourceTypes: ['VOLUME'],
        TargetTags: [{ Key: 'mail-platform:store', Value: 'Test' }],
        Schedules: [
          Match.objectLike({
            CopyTags: true,
            CreateRule: { Interval: 1, IntervalUnit: 'HOURS' },
            RetainRule: { Count: 72 },
          }),
        ],
      },
    });
  });
});

test('snapshots are made of these volumes only, and none but theirs are deleted', () => {
  const { template } = made();
  const [policy] = Object.values(template.findResources('AWS::IAM::ManagedPolicy'));
  const statements: { Sid: string }[] = policy.Properties.PolicyDocument.Statement;
  const of = (sid: string) => JSON.stringify(statements.find(({ Sid }) => Sid === sid));
  for (const shard of [1, 2, 3]) expect(of('MakeSnapshots')).toContain(`volume/",{"Ref":"StoreShard${shard}`);
  expect(of('MakeSnapshots')).not.toContain('volume/*');
  expect(of('ExpireSnapshots')).toContain('{"aws:ResourceTag/mail-platform:store":"Test"}');
});

test('tells nodes which shards there are, and each which one it has', () => {
  const { stack, store } = made({ shardsPerZone: 2 });
  expect(store.configuration.environment).toEqual({
    MAIL_STORE: 'ebs',
    MAIL_STORE_NAME: 'Test',
    MAIL_SHARDS: 'shard-1 shard-2 shard-3 shard-4 shard-5 shard-6',
  });
  expect(store.shards.map(({ availabilityZone }) => availabilityZone)).toEqual([...ZONES, ...ZONES]);
  expect(stack.resolve(store.shards[4].configuration.environment)).toEqual({
    MAIL_SHARD: 'shard-5',
    MAIL_STORE_VOLUME: { Ref: expect.stringMatching(/^StoreShard5/) },
  });
});

test('nodes may attach the volumes to tagged instances, mark them as formatted, and nothing else', () => {
  const { stack, store } = made({ availabilityZones: ZONES.slice(0, 1) });
  const statements = stack.resolve(store.configuration.statements!.map((statement) => statement.toStatementJson()));
  expect(statements).toEqual([
    { Sid: 'SeeVolumes', Effect: 'Allow', Action: 'ec2:DescribeVolumes', Resource: '*' },
    { Sid: 'AttachVolumes', Effect: 'Allow', Action: 'ec2:AttachVolume', Resource: expect.anything() },
    {
      Sid: 'AttachToNodes',
      Effect: 'Allow',
      Action: 'ec2:AttachVolume',
      Resource: { 'Fn::Join': ['', expect.arrayContaining([':instance/*'])] },
      Condition: { StringEquals: { 'aws:ResourceTag/mail-platform:shard': ['Test/shard-1'] } },
    },
    {
      Sid: 'NoteThatFormatted',
      Effect: 'Allow',
      Action: 'ec2:CreateTags',
      Resource: expect.anything(),
      Condition: { 'ForAllValues:StringEquals': { 'aws:TagKeys': ['mail-platform:formatted'] } },
    },
    expect.objectContaining({ Sid: 'UseVolumeKey' }),
    expect.objectContaining({
      Sid: 'LendVolumeKey',
      Action: 'kms:CreateGrant',
      Condition: expect.objectContaining({ Bool: { 'kms:GrantIsForAWSResource': 'true' } }),
    }),
  ]);
  for (const index of [1, 3])
    expect(JSON.stringify(statements[index].Resource)).toContain(':volume/",{"Ref":"StoreShard1');
});

test('has no open findings of its own', () => {
  const { stack } = made();
  expect(openFindings(stack).filter((line) => line.includes(' Test/Store/'))).toEqual([]);
});

test('restores a shard from a snapshot, in another zone if need be, the others as they are', () => {
  const { template, store } = made({
    restoreFrom: { 'shard-2': { snapshotId: 'snap-0123456789abcdef0', availabilityZone: ZONES[0] } },
  });
  const volumes = Object.values(template.findResources('AWS::EC2::Volume'));
  expect(volumes.map(({ Properties }) => Properties.SnapshotId)).toEqual([
    undefined,
    'snap-0123456789abcdef0',
    undefined,
  ]);
  expect(store.shards.map(({ availabilityZone }) => availabilityZone)).toEqual([ZONES[0], ZONES[0], ZONES[2]]);
  const ids = (from: Template) => Object.keys(from.findResources('AWS::EC2::Volume'));
  const [one, two, three] = ids(made().template);
  expect(ids(template)).toEqual([one, expect.not.stringMatching(two), three]);
});

test('measures a shard against what its volume has', () => {
  const { store } = made();
  const expression = (metric: { toMetricConfig(): { mathExpression?: { expression: string } } }) =>
    metric.toMetricConfig().mathExpression?.expression;
  expect(expression(store.shards[0].metricOperationsUtilization())).toBe(
    '100 * (shard1read + shard1written) / PERIOD(shard1read) / 3000',
  );
  expect(expression(store.shards[0].metricThroughputUtilization())).toBe(
    `100 * (shard1read + shard1written) / PERIOD(shard1read) / ${125 * 1024 * 1024}`,
  );
  expect(expression(store.metricOperationsUtilization())).toBe('MAX([shard1, shard2, shard3])');
});

test('can be chosen as the storage of a stack, a shard to each zone of the network', () => {
  const stack = testStack();
  const vpc = new Vpc(stack, 'Vpc', { availabilityZones: ZONES });
  const store = MailStorage.ebs().bind(stack, {
    vpc,
    subnets: { subnets: vpc.privateSubnets },
    securityGroup: undefined as never,
  });
  expect(store.shards!.map(({ name, availabilityZone }) => [name, availabilityZone])).toEqual([
    ['shard-1', ZONES[0]],
    ['shard-2', ZONES[1]],
    ['shard-3', ZONES[2]],
  ]);
});

test.each<[string, Partial<EbsMailStoreProps>, string]>([
  ['there are too many shards', { shardsPerZone: 4 }, 'shards must be 10 at most, got 12 (3 zones x 4)'],
  ['there is half a shard', { shardsPerZone: 0.5 }, 'shardsPerZone must be a whole number >= 1, got 0.5'],
  ['a zone is there twice', { availabilityZones: ['a', 'a'] }, 'each one once, got [a, a]'],
  ['there is no zone', { availabilityZones: [] }, 'availabilityZones must be zones'],
  [
    'snapshots are too often',
    { snapshotEvery: Duration.minutes(30) },
    'snapshotEvery must be one of 1, 2, 3, 4, 6, 8, 12, 24 hours, got 0.5',
  ],
  ['no snapshot is kept', { snapshotsKept: 0 }, 'snapshotsKept must be a whole number from 1 to 1000, got 0'],
  [
    'a snapshot is none',
    { restoreFrom: { 'shard-1': { snapshotId: 'ami-1' } } },
    'must be an id such as snap-0123456789abcdef0, got ami-1',
  ],
  [
    'a shard to restore is not there',
    { restoreFrom: { 'shard-4': { snapshotId: 'snap-1' } } },
    'restoreFrom must name shards from shard-1 to shard-3, got shard-4',
  ],
])('fails when %s', (_name, props, message) => {
  expect(() => made(props)).toThrow(message);
});
