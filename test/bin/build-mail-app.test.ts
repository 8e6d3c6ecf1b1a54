import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { buildMailApp } from '../../bin/build-mail-app';
import { MailConfig } from '../../bin/mail-config';
import { Authority } from '../support/authority';

const located = { account: '111122223333', region: 'eu-central-1' };

function template(config: Partial<MailConfig> = {}, context: Record<string, unknown> = {}): Template {
  const app = buildMailApp({ domain: 'example.com', ...config }, { context });
  return Template.fromStack(app.node.findChild('MailStack') as Stack);
}

test('one field is enough', () => {
  const app = buildMailApp({ domain: 'example.com' });
  expect(app).toBeInstanceOf(App);
  Template.fromStack(app.node.findChild('MailStack') as Stack).resourceCountIs('AWS::AutoScaling::AutoScalingGroup', 1);
});

test('shards reach the template', () => {
  const made = template({ shards: { perZone: 2, type: 'io2', sizeGiB: 100, iops: 5000 }, instanceType: 'm7g.2xlarge' });
  made.resourceCountIs('AWS::EC2::Volume', 6);
  made.allResourcesProperties('AWS::EC2::Volume', { VolumeType: 'io2', Size: 100, Iops: 5000 });
  template({ shards: {} }).allResourcesProperties('AWS::EC2::Volume', { VolumeType: 'gp3', Size: 500 });
});

test('every field reaches the template', () => {
  const made = template({
    ...located,
    additionalDomains: ['example.org'],
    hostname: 'imap.example.com',
    hostedZone: { id: 'Z0123456789', name: 'example.com' },
    services: ['imaps', 'submission', 'mx'],
    allow: { imaps: { cidrs: ['192.0.2.0/24'] }, mx: 'anywhere', submission: { prefixList: 'pl-01234567' } },
    connectionLimits: { newPerMinute: 30, lockoutMinutes: 60, exempt: ['198.51.100.0/24', '203.0.113.7/32'] },
    inbound: 'ses',
    relay: 'ses',
    senderRewriting: true,
    sendingLimits: { recipientsPerHour: 500, exempt: ['newsletter@example.com'] },
    singleSignOn: { issuer: 'https://login.example.com', clientId: 'mail' },
    filtering: { duringOutage: 'defer', junkScore: 5.5 },
    zones: 4,
    minNodes: 5,
    maxNodes: 7,
    instanceType: 't4g.large',
    connectionsPerNode: 700,
    implicitTls: 'node',
    idleTimeoutMinutes: 40,
    clientCertificates: { authorities: new Authority('Mail clients').pem },
    nodeCertificate: { secretArn: 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:c-AbCdEf' },
    mailboxQuotaMiB: 2048,
    mailboxFormat: 'sdbox',
    sharedFolders: true,
    messageSizeMiB: 25,
    maintenanceWindow: { start: '03:30', timeZone: 'Europe/Berlin' },
    trashDays: 30,
    junkDays: 14,
    pauseMinutes: 20,
    rollbackOnAlarm: false,
    sessionManager: false,
    shieldAdvanced: true,
    archiveLock: { mode: 'compliance', days: 400 },
    alarmEmail: 'ops@example.net',
  });
  made.hasResource('AWS::AutoScaling::AutoScalingGroup', {
    Properties: { MinSize: '5', MaxSize: '7' },
    UpdatePolicy: {
      AutoScalingInstanceRefresh: { Preferences: { InstanceWarmup: 1200, AlarmSpecification: Match.absent() } },
    },
  });
  made.hasResourceProperties('AWS::EC2::LaunchTemplate', {
    LaunchTemplateData: Match.objectLike({ InstanceType: 't4g.large' }),
  });
  made.resourceCountIs('AWS::EFS::MountTarget', 4);
  made.resourceCountIs('AWS::ElasticLoadBalancingV2::Listener', 3);
  made.hasResourceProperties('AWS::ElasticLoadBalancingV2::Listener', {
    Port: 993,
    Protocol: 'TCP',
    ListenerAttributes: [{ Key: 'tcp.idle_timeout.seconds', Value: '2400' }],
  });
  made.resourceCountIs('AWS::Shield::Protection', 4);
  made.hasResourceProperties('AWS::S3::Bucket', {
    ObjectLockConfiguration: { Rule: { DefaultRetention: { Mode: 'COMPLIANCE', Days: 400 } } },
  });
  made.hasResourceProperties('AWS::SNS::Subscription', { Endpoint: 'ops@example.net' });
  made.hasResourceProperties('AWS::Route53::RecordSet', { HostedZoneId: 'Z0123456789', Name: 'imap.example.com.' });
  const text = JSON.stringify(made.toJSON());
  for (const value of [
    'MAIL_DOMAINS=\\\\\\"example.com example.org\\\\\\"',
    'MAIL_SERVICES=\\\\\\"imaps submission mx\\\\\\"',
    'MAIL_CONNECTIONS_MAX=700',
    'MAIL_QUOTA=2G',
    'MAIL_MAILBOX_FORMAT=sdbox',
    'MAIL_SHARED_FOLDERS=yes',
    'MAIL_MESSAGE_SIZE_MAX=26214400',
    'MAIL_CERTIFICATE=secret',
    'MAIL_SESSION_MANAGER=no',
    'MAIL_RELAY=ses',
    'MAIL_INBOUND_PATIENCE=600',
    'MAIL_REWRITING_SECRET=',
    'MAIL_SEND_PER_USER=500',
    'MAIL_SEND_EXEMPT=newsletter@example.com',
    'MAIL_CLIENT_CA=MII',
    'MAIL_TOKEN_ISSUER=https://login.example.com',
    'MAIL_FILTER_OUTAGE=defer',
    'MAIL_JUNK_SCORE=5.5',
    'MAIL_NEW_PER_MINUTE=30',
    'MAIL_SESSIONS_PER_USER=20',
    'MAIL_LOCKOUT_SECONDS=3600',
    'MAIL_LIMITS_EXEMPT=\\\\\\"198.51.100.0/24 203.0.113.7/32\\\\\\"',
    'MAIL_MAINTENANCE=\\\\\\"*-*-* 03:30 Europe/Berlin\\\\\\"',
    'MAIL_TRASH_DAYS=30',
    'MAIL_JUNK_DAYS=14',
    '192.0.2.0/24',
    'pl-01234567',
  ]) {
    expect(text).toContain(value.replaceAll('\\\\\\', '\\'));
  }
});

test('a journal may be sealed, and then locked where there is a right to erasure', () => {
  const locked = {
    ...located,
    archiveLock: { mode: 'compliance', days: 180 },
    retention: ['gdpr'],
  } as Partial<MailConfig>;
  template({ ...locked, journal: { sealed: true } }).hasOutput('JournalKeysBucketName', {});
  expect(() => template({ ...locked, journal: true })).toThrow('or set journal.sealed');
});

test('operators, copies and classes of the archive, the firewall and the accelerator reach the template', () => {
  const alice = 'arn:aws:iam::111122223333:user/alice';
  const KEY = 'arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555';
  const made = template({
    ...located,
    journal: true,
    networkFirewall: { alertOnly: true },
    operators: {
      operators: [alice],
      auditors: ['permissionSet:MailAudit'],
      sessionHours: 2,
      erasure: true,
      restore: true,
    },
    restoreAccess: { sources: ['192.0.2.7/32'], rotateDays: 10 },
    archiveTiers: { glacierDays: 30, deepArchiveDays: 120 },
    archiveReplication: { bucketName: 'second-copy', keyArn: KEY, region: 'eu-west-1' },
    storeReplication: { region: 'eu-west-1', keyArn: KEY },
    archiveCopy: {
      ...{ endpoint: 'https://s3.example.net', bucketName: 'copy', concurrency: 20, lateMinutes: 10 },
      secretArn: 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:mail/copy-AbCdEf',
    },
  });
  made.hasResourceProperties('AWS::EFS::FileSystem', {
    ReplicationConfiguration: { Destinations: [{ Region: 'eu-west-1', KmsKeyId: KEY }] },
  });
  made.hasResourceProperties('AWS::IAM::Role', {
    MaxSessionDuration: 7200,
    AssumeRolePolicyDocument: { Statement: [Match.objectLike({ Principal: { AWS: alice } })] },
  });
  expect(JSON.stringify(made.findResources('AWS::IAM::Role'))).toContain('AWSReservedSSO_MailAudit_');
  made.hasOutput('ErasureKeyArn', {});
  made.hasOutput('RestoreSecretArn', {});
  made.resourceCountIs('AWS::NetworkFirewall::Firewall', 3);
  made.hasResourceProperties('AWS::S3::Bucket', {
    ReplicationConfiguration: {
      Rules: [
        Match.objectLike({
          Destination: Match.objectLike({ EncryptionConfiguration: { ReplicaKmsKeyID: KEY } }),
        }),
      ],
    },
    LifecycleConfiguration: {
      Rules: Match.arrayWith([
        Match.objectLike({
          Transitions: [
            { StorageClass: 'GLACIER_IR', TransitionInDays: 30 },
            { StorageClass: 'DEEP_ARCHIVE', TransitionInDays: 120 },
          ],
        }),
      ]),
    },
  });
  made.hasResourceProperties('AWS::Lambda::Function', {
    Environment: { Variables: Match.objectLike({ COPY_ENDPOINT: 'https://s3.example.net', COPY_BUCKET: 'copy' }) },
  });
  made.hasResourceProperties('AWS::Lambda::EventSourceMapping', { ScalingConfig: { MaximumConcurrency: 20 } });
  template({ implicitTls: 'node', globalAccelerator: true }).resourceCountIs('AWS::GlobalAccelerator::Accelerator', 1);
  template({ networkFirewall: false }).resourceCountIs('AWS::NetworkFirewall::Firewall', 0);
});

test('filtering: true takes the defaults, and false is none', () => {
  const text = (filtering: boolean) => JSON.stringify(template({ filtering }).toJSON());
  expect(text(true)).toContain('MAIL_FILTER_OUTAGE=accept');
  expect(text(false)).not.toContain('MAIL_FILTER');
});

test('users choose the size', () => {
  const made = template({ users: 10_000 });
  made.hasResourceProperties('AWS::AutoScaling::AutoScalingGroup', { MinSize: '9', MaxSize: '18' });
  made.hasResourceProperties('AWS::EC2::LaunchTemplate', {
    LaunchTemplateData: Match.objectLike({ InstanceType: 'm7g.xlarge' }),
  });
});

test.each([
  ['acm-acme', {}],
  ['dns-01', { certificateEmail: 'ops@example.net' }],
  ['local-ca', {}],
] as const)('nodes take their certificate from %s', (nodeCertificate, more) => {
  const text = JSON.stringify(template({ nodeCertificate, ...more }).toJSON());
  expect(text).toContain(`\\nMAIL_CERTIFICATE=${nodeCertificate}\\n`);
});

/** What the CDK command would have found for `vpcId`. */
function lookedUp(zones: string[]): Record<string, unknown> {
  const group = (name: string, type: string) => ({
    name,
    type,
    subnets: zones.map((zone) => ({
      subnetId: `subnet-${type.toLowerCase()}-${zone}`,
      availabilityZone: zone,
      routeTableId: `rtb-${zone}`,
      cidr: '10.9.0.0/24',
    })),
  });
  return {
    'vpc-provider:account=111122223333:filter.vpc-id=vpc-0123456789abcdef0:region=eu-central-1:returnAsymmetricSubnets=true':
      {
        vpcId: 'vpc-0123456789abcdef0',
        vpcCidrBlock: '10.9.0.0/16',
        availabilityZones: [],
        subnetGroups: [group('Public', 'Public'), group('Private', 'Private')],
      },
  };
}

test('takes a network that is there already', () => {
  const made = template(
    { ...located, vpcId: 'vpc-0123456789abcdef0' },
    lookedUp(['eu-central-1a', 'eu-central-1b', 'eu-central-1c']),
  );
  made.resourceCountIs('AWS::EC2::VPC', 0);
  made.hasResourceProperties('AWS::AutoScaling::AutoScalingGroup', {
    VPCZoneIdentifier: ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'].map((zone) => `subnet-private-${zone}`),
  });
});

test('does not judge a network before the CDK command has looked it up', () => {
  expect(() => template({ ...located, vpcId: 'vpc-0123456789abcdef0' })).not.toThrow();
});

test('fails when the network spans too few zones', () => {
  const context = lookedUp(['eu-central-1a', 'eu-central-1b']);
  expect(() => template({ ...located, vpcId: 'vpc-0123456789abcdef0' }, context)).toThrow(
    'vpc must have public subnets in 3 or more zones, got 2',
  );
});

test.each<[string, Partial<MailConfig>, string]>([
  ['ranges overlap', { allow: { imaps: { cidrs: ['10.0.0.0/8', '10.1.0.0/16'] } } }, 'allow.imaps.cidrs'],
  ['a range is none', { allow: { imaps: { cidrs: ['300.0.0.0/8'] } } }, 'allow.imaps.cidrs'],
  ['a size is not known', { instanceType: 'p4d.24xlarge' }, 'set connectionsPerNode'],
  [
    'there is no such time',
    { maintenanceWindow: { start: '25:00' } },
    'maintenanceWindow.start must be a time from 00:00',
  ],
  [
    'there is no such time zone',
    { maintenanceWindow: { start: '02:00', timeZone: 'Berlin' } },
    'maintenanceWindow.timeZone must be UTC',
  ],
  ['nobody answers for the certificate', { nodeCertificate: 'dns-01' }, 'certificateEmail must be given'],
])('fails when %s', (_name, config, message) => {
  expect(() => buildMailApp({ domain: 'example.com', ...config })).toThrow(message);
});

test('the command prints one line and ends with 1 for a bad value', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mail-app-'));
  const file = join(folder, 'bad.config.ts');
  writeFileSync(file, "export default { domain: 'example.com', minNodes: 4, maxNodes: 3 };\n");
  const { status, stderr, stdout } = spawnSync(process.execPath, ['--import', 'tsx', 'bin/app.ts'], {
    cwd: join(__dirname, '..', '..'),
    env: { ...process.env, CDK_CONTEXT_JSON: JSON.stringify({ config: file }), CDK_OUTDIR: join(folder, 'out') },
    encoding: 'utf8',
  });
  rmSync(folder, { recursive: true });
  expect(stdout).toBe('');
  expect(stderr).toMatch(/bad\.config\.ts: maxNodes must be >= minNodes \(4\), got 3; raise maxNodes\n$/);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(status).toBe(1);
}, 30_000);
