import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duration, Size, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { InstanceType, MachineImage, SecurityGroup, SubnetType, Vpc } from 'aws-cdk-lib/aws-ec2';
import { NetworkTargetGroup } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { MailService } from '../../lib/access/mail-service';
import { MailBundle, MailFleet, MailFleetProps, MaintenanceWindow } from '../../lib/node';
import { MailboxFormat } from '../../lib/storage/mailbox-format';
import { environments, flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bundle-'));
  writeFileSync(join(folder, 'bootstrap.sh'), 'true\n');
  writeFileSync(join(folder, 'user-data.sh'), 'true\n');
});
afterAll(() => rmSync(folder, { recursive: true }));

function fleet(stack: Stack, overrides: Partial<MailFleetProps> = {}): MailFleet {
  const vpc =
    overrides.vpc ??
    new Vpc(stack, 'Vpc', {
      availabilityZones: ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'],
    });
  return new MailFleet(stack, 'Fleet', {
    vpc,
    vpcSubnets: { subnetType: SubnetType.PRIVATE_WITH_EGRESS },
    securityGroup: new SecurityGroup(stack, 'Nodes', { vpc, allowAllOutbound: false }),
    hostname: 'mail.example.com',
    domains: ['example.com', 'example.org'],
    services: [MailService.IMAPS, MailService.SUBMISSION],
    configurations: [
      {
        environment: { MAIL_STORE: 'efs' },
        statements: [new PolicyStatement({ actions: ['s3:GetObject'], resources: ['arn:aws:s3:::users/users'] })],
      },
    ],
    bundle: new MailBundle(stack, 'TestBundle', { path: folder }),
    encryptionKey: new Key(stack, 'Key', { enableKeyRotation: true }),
    notificationsTopic: new Topic(stack, 'Topic', { enforceSSL: true }),
    ...overrides,
  });
}

/** User data of the launch template, tokens as `<…>`. */
function userData(template: Template): string {
  const [launchTemplate] = Object.values(template.findResources('AWS::EC2::LaunchTemplate'));
  const parts = launchTemplate.Properties.LaunchTemplateData.UserData['Fn::Base64']['Fn::Join'][1] as unknown[];
  return parts.map((part) => (typeof part === 'string' ? part : `<${Object.values(part as object)[0]}>`)).join('');
}

describe.each(flagSets)('with $flags', ({ context }) => {
  let template: Template;
  beforeAll(() => {
    const stack = testStack(context);
    fleet(stack);
    template = Template.fromStack(stack);
  });

  test('nodes are Debian 13 on Graviton with IMDSv2, no public address and an encrypted gp3 disk', () => {
    template.hasParameter('*', {
      Type: 'AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>',
      Default: '/aws/service/debian/release/13/latest/arm64',
    });
    template.hasResourceProperties('AWS::EC2::LaunchTemplate', {
      LaunchTemplateData: {
        InstanceType: 'm7g.large',
        Monitoring: { Enabled: true },
        MetadataOptions: {
          HttpEndpoint: 'enabled',
          HttpTokens: 'required',
          HttpPutResponseHopLimit: 1,
          InstanceMetadataTags: 'disabled',
        },
        NetworkInterfaces: [
          {
            AssociatePublicIpAddress: false,
            DeviceIndex: 0,
            Groups: [{ 'Fn::GetAtt': [Match.stringLikeRegexp('^Nodes'), 'GroupId'] }],
          },
        ],
        BlockDeviceMappings: [
          {
            DeviceName: '/dev/xvda',
            Ebs: Match.objectLike({
              Encrypted: true,
              VolumeType: 'gp3',
              VolumeSize: 20,
              KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] },
            }),
          },
        ],
      },
    });
    template.resourceCountIs('AWS::AutoScaling::LaunchConfiguration', 0);
  });

  test('has one node to a zone at least, replaced when unhealthy, one new before one old', () => {
    template.hasResource('AWS::AutoScaling::AutoScalingGroup', {
      Properties: {
        MinSize: '3',
        MaxSize: '6',
        HealthCheckType: 'ELB',
        HealthCheckGracePeriod: 600,
        DefaultInstanceWarmup: 600,
        InstanceMaintenancePolicy: { MinHealthyPercentage: 100, MaxHealthyPercentage: 200 },
        AvailabilityZoneImpairmentPolicy: {
          ZonalShiftEnabled: true,
          ImpairedZoneHealthCheckBehavior: 'IgnoreUnhealthy',
        },
      },
      UpdatePolicy: {
        AutoScalingInstanceRefresh: {
          Strategy: 'Rolling',
          Preferences: {
            MinHealthyPercentage: 100,
            MaxHealthyPercentage: 110,
            InstanceWarmup: 900,
            BakeTime: 900,
            SkipMatching: true,
            AlarmSpecification: Match.absent(),
          },
        },
      },
    });
  });

  test('keeps 30 % of connections in reserve', () => {
    template.hasResourceProperties('AWS::AutoScaling::ScalingPolicy', {
      PolicyType: 'TargetTrackingScaling',
      TargetTrackingConfiguration: {
        TargetValue: 70,
        CustomizedMetricSpecification: Match.objectLike({
          Namespace: 'MailPlatform',
          MetricName: 'ConnectionUtilization',
          Dimensions: [{ Name: 'Cluster', Value: 'Test' }],
          Statistic: 'Average',
        }),
      },
    });
  });

  test('drains a node before it is terminated', () => {
    template.hasResourceProperties('AWS::AutoScaling::LifecycleHook', {
      LifecycleHookName: 'drain',
      LifecycleTransition: 'autoscaling:EC2_INSTANCE_TERMINATING',
      HeartbeatTimeout: 360,
      DefaultResult: 'CONTINUE',
    });
  });

  test('gives nodes managed policies only, and wildcards only where IAM has no resource', () => {
    template.resourceCountIs('AWS::IAM::Policy', 0);
    const statements = Object.values(template.findResources('AWS::IAM::ManagedPolicy')).flatMap(
      (policy) => policy.Properties.PolicyDocument.Statement,
    );
    expect(statements.filter(({ Resource }) => Resource === '*').map(({ Sid }) => Sid)).toEqual([
      'WriteMetrics',
      'SeeLifecycleState',
      'OfferSessions',
    ]);
    expect(statements.find(({ Sid }) => Sid === 'WriteMetrics').Condition).toEqual({
      StringEquals: { 'cloudwatch:namespace': 'MailPlatform' },
    });
    const lifecycle = statements.find(({ Sid }) => Sid === 'FinishDraining');
    expect(lifecycle.Action).toEqual([
      'autoscaling:CompleteLifecycleAction',
      'autoscaling:RecordLifecycleActionHeartbeat',
    ]);
    expect(JSON.stringify(lifecycle.Resource)).toMatch(/:autoScalingGroup:\*:autoScalingGroupName\/",\{"Ref":"Fleet/);
    expect(JSON.stringify(statements.find(({ Sid }) => Sid === 'ReadBundle').Resource)).toMatch(/\/[0-9a-f]{64}\.zip"/);
    template.hasResourceProperties('AWS::IAM::Role', {
      Description: 'Mail nodes',
      ManagedPolicyArns: Match.absent(),
      Policies: Match.absent(),
    });
  });

  test('boots nodes after the policies that they boot with', () => {
    const [group] = Object.values(template.findResources('AWS::AutoScaling::AutoScalingGroup'));
    expect(group.DependsOn.map((id: string) => id.replace(/[0-9A-F]{8}$/, '')).sort()).toEqual([
      'FleetNodePartsPolicy',
      'FleetNodeSessionPolicy',
      'FleetNodeTelemetryPolicy',
    ]);
  });

  test('lets Auto Scaling use the key, once', () => {
    const [key] = Object.values(template.findResources('AWS::KMS::Key'));
    const sids = key.Properties.KeyPolicy.Statement.map(({ Sid }: { Sid?: string }) => Sid);
    // Those without a name let the account and Secrets Manager use it.
    expect(sids.filter((sid: unknown) => sid)).toEqual(['AutoScalingUsesKey', 'AutoScalingAttachesVolumes']);
    expect(JSON.stringify(key.Properties.KeyPolicy)).toContain(
      ':role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling',
    );
  });

  test('user data is short and holds the environment and the hash of the bundle', () => {
    const text = userData(template);
    expect(text.split('\n').filter((line) => !/^[A-Z_]+=/.test(line)).length).toBeLessThan(30);
    expect(text).toMatch(/^#!\/bin\/bash\n/);
    expect(text).toContain('\nset -euo pipefail\n');
    expect(text).not.toContain('@ENVIRONMENT@');
    expect(text).not.toContain('@BUNDLE@');
    expect(text).toMatch(/aws s3 cp --only-show-errors 's3:\/\/<[^>]+>\/[0-9a-f]{64}\.zip'/);
    for (const line of [
      'MAIL_CLUSTER=Test',
      'AWS_REGION=<AWS::Region>',
      'MAIL_DOMAINS="example.com example.org"',
      'MAIL_HOSTNAME=mail.example.com',
      'MAIL_SERVICES="imaps submission"',
      'MAIL_CONNECTIONS_MAX=2000',
      'MAIL_MESSAGE_SIZE_MAX=52428800',
      'MAIL_QUOTA=5G',
      'MAIL_MAILBOX_FORMAT=maildir',
      'MAIL_SESSION_MANAGER=yes',
      'MAIL_DRAIN_HOOK=drain',
      'MAIL_DRAIN_SECONDS=300',
      'MAIL_MAINTENANCE="*-*-* 02:00 UTC"',
      'MAIL_STORE=efs',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    expect(text).toMatch(/^MAIL_NODE_NETWORK=<Vpc/m);
    // Nothing expires that nobody asked for.
    expect(text).not.toMatch(/^MAIL_(TRASH|JUNK)_DAYS=/m);
  });
});

test.each(environments)('has no open findings in $where', ({ env }) => {
  const stack = testStack({}, env);
  fleet(stack);
  expect(openFindings(stack).filter((line) => line.includes(' Test/Fleet/'))).toEqual([]);
});

test('takes other machines, images and sizes', () => {
  const stack = testStack({}, { account: '111122223333', region: 'eu-central-1' });
  const made = fleet(stack, {
    instanceType: new InstanceType('c7i.xlarge'),
    machineImage: MachineImage.genericLinux({ 'eu-central-1': 'ami-1' }),
    minNodes: 4,
    maxNodes: 4,
    connectionsPerNode: 123,
    mailboxQuota: Size.mebibytes(1500),
    mailboxFormat: MailboxFormat.SDBOX,
    sharedFolders: true,
    messageSizeMax: Size.mebibytes(25),
    rootVolumeSize: Size.gibibytes(40),
    drainTimeout: Duration.minutes(20),
    pauseTime: Duration.minutes(30),
    bootTimeout: Duration.minutes(20),
    maintenanceWindow: MaintenanceWindow.daily('03:30', 'Europe/Berlin'),
    trashRetention: Duration.days(30),
    junkRetention: Duration.hours(48),
    sessionManager: false,
    clusterName: 'blue',
    bundle: new MailBundle(stack, 'B', { path: folder, assetsKey: new Key(stack, 'AssetsKey') }),
  });
  const template = Template.fromStack(stack);
  expect(made.connectionsPerNode).toBe(123);
  template.hasResourceProperties('AWS::AutoScaling::AutoScalingGroup', { MinSize: '4', MaxSize: '4' });
  expect(userData(template)).toMatch(/^MAIL_SESSION_MANAGER=no$/m);
  expect(userData(template)).toMatch(/^MAIL_QUOTA=1500M$/m);
  expect(userData(template)).toMatch(/^MAIL_MAILBOX_FORMAT=sdbox$/m);
  expect(userData(template)).toMatch(/^MAIL_SHARED_FOLDERS=yes$/m);
  expect(userData(template)).toMatch(/^MAIL_DRAIN_SECONDS=1200$/m);
  expect(userData(template)).toMatch(/^MAIL_MAINTENANCE="\*-\*-\* 03:30 Europe\/Berlin"$/m);
  expect(userData(template)).toMatch(/^MAIL_TRASH_DAYS=30$/m);
  expect(userData(template)).toMatch(/^MAIL_JUNK_DAYS=2$/m);
  template.hasResource('AWS::AutoScaling::AutoScalingGroup', {
    Properties: { HealthCheckGracePeriod: 1200, DefaultInstanceWarmup: 1200 },
    UpdatePolicy: { AutoScalingInstanceRefresh: { Preferences: { InstanceWarmup: 1800, BakeTime: 1800 } } },
  });
  expect(made.bootTimeout.toMinutes()).toBe(20);
  expect(JSON.stringify(template.toJSON())).not.toContain('ssmmessages');
  expect(JSON.stringify(template.toJSON())).toContain('DecryptBundle');
});

test('joins the target groups of a balancer', () => {
  const stack = testStack();
  const vpc = new Vpc(stack, 'Vpc', { availabilityZones: ['a', 'b', 'c'] });
  const targetGroup = new NetworkTargetGroup(stack, 'Imaps', { vpc, port: 993 });
  fleet(stack, { vpc, targetGroups: [targetGroup] });
  Template.fromStack(stack).hasResourceProperties('AWS::AutoScaling::AutoScalingGroup', {
    TargetGroupARNs: [{ Ref: Match.stringLikeRegexp('^Imaps') }],
  });
});

test('takes an imported network and key, and says what the key must allow', () => {
  const stack = testStack();
  const vpc = Vpc.fromVpcAttributes(stack, 'Imported', {
    vpcId: 'vpc-1',
    vpcCidrBlock: '10.1.0.0/16',
    availabilityZones: ['a', 'b', 'c'],
    privateSubnetIds: ['subnet-1', 'subnet-2', 'subnet-3'],
  });
  fleet(stack, { vpc, encryptionKey: Key.fromKeyArn(stack, 'K', 'arn:aws:kms:eu-central-1:111122223333:key/k') });
  expect(userData(Template.fromStack(stack))).toMatch(/^MAIL_NODE_NETWORK=10\.1\.0\.0\/16$/m);
  Annotations.fromStack(stack).hasWarning('/Test/Fleet', Match.stringLikeRegexp('AutoScalingUsesKey'));
});

test('has one node for each of four zones', () => {
  const stack = testStack();
  fleet(stack, { vpc: new Vpc(stack, 'Vpc', { availabilityZones: ['a', 'b', 'c', 'd'] }) });
  Template.fromStack(stack).hasResourceProperties('AWS::AutoScaling::AutoScalingGroup', { MinSize: '4', MaxSize: '8' });
});

test('warns when nodes are in fewer than three zones', () => {
  const stack = testStack();
  fleet(stack, { vpc: new Vpc(stack, 'Vpc', { availabilityZones: ['a', 'b'] }) });
  Annotations.fromStack(stack).hasWarning('/Test/Fleet', Match.stringLikeRegexp('nodes are in 2 zone'));
});

test('changes the launch template when a file of the bundle changes', () => {
  const before = testStack();
  fleet(before);
  const other = mkdtempSync(join(tmpdir(), 'bundle-'));
  writeFileSync(join(other, 'bootstrap.sh'), 'false\n');
  const after = testStack();
  fleet(after, { bundle: new MailBundle(after, 'Other', { path: other }) });
  rmSync(other, { recursive: true });
  expect(userData(Template.fromStack(before))).not.toBe(userData(Template.fromStack(after)));
});

test('fails when user data grew too long', () => {
  const stack = testStack();
  fleet(stack).launchTemplate.userData!.addCommands('x'.repeat(17_000));
  expect(() => Template.fromStack(stack)).toThrow('user data must be <= 16384 bytes');
});

test('offers a metric for each thing that the agent reports', () => {
  const made = fleet(testStack());
  const metrics = [
    made.metricConnections(),
    made.metricConnectionUtilization(),
    made.metricQueueLength(),
    made.metricQueueAge(),
    made.metricCertificateDaysLeft(),
    made.metricDirectoryAge(),
    made.metricMemoryUtilization(),
    made.metricDiskUtilization(),
    made.metricStoreUtilization(),
    made.metricStoreLatency(),
    made.metricMembers(),
    made.metricLeasesLost(),
    made.metricLeaseAge(),
    made.metricRingVersion(),
    made.metricQueuesAdopted(),
  ];
  expect(metrics.map(({ namespace, dimensions }) => [namespace, dimensions])).toEqual(
    metrics.map(() => ['MailPlatform', { Cluster: 'Test' }]),
  );
  expect(metrics.map(({ metricName, statistic }) => `${metricName} ${statistic}`)).toEqual([
    'Connections Sum',
    'ConnectionUtilization Average',
    'QueueLength Maximum',
    'QueueAge Maximum',
    'CertificateDaysLeft Minimum',
    'DirectoryAge Maximum',
    'MemoryUtilization Maximum',
    'DiskUtilization Maximum',
    'StoreUtilization Maximum',
    'StoreLatency Average',
    'Members Minimum',
    'LeasesLost Sum',
    'LeaseAge Maximum',
    'RingVersion Maximum',
    'QueuesAdopted Sum',
  ]);
  expect(made.metricCpuUtilization().toMetricConfig().metricStat?.namespace).toBe('AWS/EC2');
});

test.each<[string, Partial<MailFleetProps>, string]>([
  [
    'maxNodes is below minNodes',
    { minNodes: 3, maxNodes: 2 },
    'maxNodes must be >= minNodes (3), got 2; raise maxNodes',
  ],
  ['minNodes is zero', { minNodes: 0 }, 'minNodes must be a whole number >= 1, got 0'],
  ['connectionsPerNode is a fraction', { connectionsPerNode: 1.5 }, 'connectionsPerNode must be a whole number'],
  ['there is no domain', { domains: [] }, 'domains must have at least one entry'],
  ['there is no service', { services: [] }, 'services must have at least one entry'],
  ['the drain is too long', { drainTimeout: Duration.hours(2) }, 'drainTimeout must be 30 to 6900 seconds, got 7200'],
  [
    'mail in Trash expires after a day and a half',
    { trashRetention: Duration.hours(36) },
    'trashRetention must be whole days, 1 or more, got 1.5; raise trashRetention',
  ],
  [
    'mail in Junk expires at once',
    { junkRetention: Duration.days(0) },
    'junkRetention must be whole days, 1 or more, got 0; raise junkRetention',
  ],
  ['the pause is shorter than a boot', { pauseTime: Duration.minutes(1) }, 'pauseTime must be >= bootTimeout (600 s)'],
  [
    'the pause is longer than a group can be watched',
    { pauseTime: Duration.hours(49) },
    'pauseTime must be 60 to 172800 whole seconds, got 176400',
  ],
  [
    'nodes would be replaced while they boot',
    { bootTimeout: Duration.seconds(30) },
    'bootTimeout must be 60 to 7200 whole seconds, got 30',
  ],
  [
    'messages may be of any size, which 0 means to Postfix',
    { messageSizeMax: Size.bytes(0) },
    'messageSizeMax must be 1 to 1024 whole MiB, got 0',
  ],
  [
    'the largest message is not whole',
    { messageSizeMax: Size.kibibytes(1536) },
    'messageSizeMax must be 1 to 1024 whole MiB, got 1.5',
  ],
  ['nobody may have mail', { mailboxQuota: Size.bytes(0) }, 'mailboxQuota must be 1 to 16777216 whole MiB, got 0'],
  [
    'the root volume is smaller than the image',
    { rootVolumeSize: Size.gibibytes(4) },
    'rootVolumeSize must be whole GiB, 8 or more, got 4',
  ],
  [
    'a value could not be written to a node',
    { configurations: [{ environment: { MAIL_X: 'a\nb' } }] },
    'node environment value of MAIL_X must not hold "\\n"',
  ],
])('fails when %s', (_name, overrides, message) => {
  expect(() => fleet(testStack(), overrides)).toThrow(message);
});
