import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { Key } from 'aws-cdk-lib/aws-kms';
import { PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { Bucket, CfnBucket } from 'aws-cdk-lib/aws-s3';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { buildMailApp } from '../bin/build-mail-app';
import { MailConfig } from '../bin/mail-config';
import {
  AccessLogBucket,
  AccessSource,
  ArchiveLock,
  BackupLock,
  EdgeTls,
  InboundMail,
  MailArchive,
  MailService,
  MailStack,
  MailStackProps,
  NodeCertificate,
  OutboundRelay,
  RetentionProfile,
  SingleSignOn,
} from '../lib';
import { environments, flagSets } from './support/apps';
import { Authority } from './support/authority';
import { openFindings } from './support/nag';

const OFFICE = AccessSource.cidrs(['192.0.2.0/24']);
const AUTHORITY = new Authority('Mail clients').pem;
const YEAR = Duration.days(365);
const OUTSIDE = {
  endpoint: 'https://s3.example.net',
  bucketName: 'mail-copy',
  credentials: Secret.fromSecretCompleteArn(
    new Stack(),
    'Credentials',
    'arn:aws:secretsmanager:eu-central-1:111122223333:secret:copy-AbCdEf',
  ),
};

function mailStack(props: Partial<MailStackProps> = {}, context: Record<string, unknown> = {}): MailStack {
  return new MailStack(new App({ context }), 'MailStack', { domain: 'example.com', ...props });
}

describe.each(flagSets)('the smallest call with $flags', ({ context }) => {
  let stack: MailStack;
  let template: Template;
  beforeAll(() => {
    stack = mailStack({}, context);
    template = Template.fromStack(stack);
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });

  test('is protected from deletion, and so is what holds data', () => {
    expect(stack.terminationProtection).toBe(true);
    for (const type of [
      'AWS::KMS::Key',
      'AWS::S3::Bucket',
      'AWS::EFS::FileSystem',
      'AWS::Route53::HostedZone',
      'AWS::EC2::EIP',
      'AWS::Logs::LogGroup',
    ]) {
      for (const [id, resource] of Object.entries(template.findResources(type))) {
        // What goes: addresses of NAT gateways, which nobody but AWS sees, and the log of the credentials' function.
        const kept = resource.DeletionPolicy === 'Retain' || /^NetworkVpcEdgeSubnet|^NodeCertificate/.test(id);
        expect(`${id} ${kept ? 'is kept' : 'is deleted'}`).toBe(`${id} is kept`);
      }
    }
  });

  test('offers IMAPS and submission over three zones', () => {
    const listeners = Object.values(template.findResources('AWS::ElasticLoadBalancingV2::Listener'));
    expect(listeners.map(({ Properties }) => `${Properties.Port} ${Properties.Protocol}`)).toEqual([
      '993 TLS',
      '587 TCP',
    ]);
    template.resourceCountIs('AWS::EC2::EIP', 3 + 3);
    template.resourceCountIs('AWS::EFS::MountTarget', 3);
    template.hasResourceProperties('AWS::AutoScaling::AutoScalingGroup', { MinSize: '3', MaxSize: '6' });
  });

  test('gives nodes their environment', () => {
    const [launchTemplate] = Object.values(template.findResources('AWS::EC2::LaunchTemplate'));
    const userData = JSON.stringify(launchTemplate.Properties.LaunchTemplateData.UserData);
    for (const line of [
      'MAIL_CLUSTER=MailStack',
      'MAIL_DOMAINS=example.com',
      'MAIL_HOSTNAME=mail.example.com',
      'MAIL_STORE=efs',
      'MAIL_DIRECTORY=file',
      'MAIL_CERTIFICATE=acm-acme',
    ]) {
      expect(userData).toContain(`\\n${line}\\n`);
    }
  });

  test('encrypts with one customer key', () => {
    template.resourceCountIs('AWS::KMS::Key', 1);
    template.allResourcesProperties('AWS::KMS::Key', { EnableKeyRotation: true });
  });

  test('tells a person what they need', () => {
    expect(Object.keys(template.findOutputs('*')).sort()).toEqual([
      'AlarmTopicArn',
      'ArchiveBucketName',
      'BalancerAddress',
      'Hostname',
      'ImapSettings',
      'NameServers',
      'StoreId',
      'SubmissionSettings',
      'UsersObject',
    ]);
    template.hasOutput('ImapSettings', { Value: 'mail.example.com, port 993, TLS' });
  });

  // A changed logical id is a new resource: somebody's mail store would stay behind, empty in its place a new one.
  test('what holds data keeps its logical id', () => {
    const stateful = [
      'AWS::DynamoDB::Table',
      'AWS::EC2::EIP',
      'AWS::EFS::FileSystem',
      'AWS::EFS::MountTarget',
      'AWS::KMS::Key',
      'AWS::Route53::HostedZone',
      'AWS::S3::Bucket',
      'AWS::SecretsManager::Secret',
      'AWS::SNS::Topic',
      'AWS::EC2::VPC',
      'AWS::ElasticLoadBalancingV2::LoadBalancer',
    ];
    expect(
      Object.fromEntries(stateful.map((type) => [type, Object.keys(template.findResources(type)).sort()])),
    ).toEqual(PINNED);
  });
});

const PINNED = {
  'AWS::DynamoDB::Table': ['LeasesTableFEA91EF2'],
  // The last three are those of NAT gateways: mail goes out from them, and other servers know them.
  'AWS::EC2::EIP': [
    'EdgeAddress11A6D1280',
    'EdgeAddress299E7A027',
    'EdgeAddress3D381F0C3',
    'NetworkVpcEdgeSubnet1EIP00EAB36A',
    'NetworkVpcEdgeSubnet2EIP63A25731',
    'NetworkVpcEdgeSubnet3EIP15C980CA',
  ],
  'AWS::EC2::VPC': ['NetworkVpc7FB7348F'],
  'AWS::EFS::FileSystem': ['StorageEfsFileSystemA8D9C3F2'],
  'AWS::EFS::MountTarget': [
    'StorageEfsFileSystemEfsMountTargetStorageSubnet1151769A1',
    'StorageEfsFileSystemEfsMountTargetStorageSubnet2276114B3',
    'StorageEfsFileSystemEfsMountTargetStorageSubnet30424EED1',
  ],
  'AWS::ElasticLoadBalancingV2::LoadBalancer': ['EdgeLoadBalancer9EA98EDF'],
  'AWS::KMS::Key': ['Key9BCD29C7'],
  'AWS::Route53::HostedZone': ['ZoneA5DE4B68'],
  'AWS::S3::Bucket': ['AccessLogsBucketCD784A59', 'ArchiveBucket49F1AC64', 'DirectoryFileBucket7FC55EA7'],
  'AWS::SNS::Topic': ['AlertsTopicCF7C81C9'],
  'AWS::SecretsManager::Secret': ['NodeCertificateAccountBindingSecretFDD6781E', 'NodeSecretBA6EB5B3'],
};

test.each(environments)('has no open findings in $where', ({ env }) => {
  expect(openFindings(mailStack({ env }))).toEqual([]);
});

test.each<[string, Partial<MailStackProps>]>([
  ['every service and an allowlist', { services: MailService.all(), allow: { managesieve: OFFICE, imaps: OFFICE } }],
  ['TLS at the nodes', { implicitTls: EdgeTls.atNode() }],
  ['certificates of mail clients', { implicitTls: EdgeTls.atNode(), clientCertificates: { authorities: AUTHORITY } }],
  ['certificates by DNS', { nodeCertificate: NodeCertificate.dns01({ email: 'ops@example.net' }) }],
  ['a local authority', { nodeCertificate: NodeCertificate.localCa() }],
  ['Shield Advanced and a locked archive', { shieldAdvanced: true, archiveLock: ArchiveLock.governance(YEAR) }],
  ['a filter, and nodes that sign', { dns: {}, services: MailService.all(), filtering: {} }],
  ['DNS of domains elsewhere', { dns: {}, services: MailService.all(), additionalDomains: ['example.org'] }],
  ['a second factor by Cognito', { singleSignOn: SingleSignOn.cognito(), dns: {}, services: MailService.all() }],
  ['mail to other domains through SES', { relay: OutboundRelay.ses() }],
  ['mail from other domains through SES, and senders rewritten', { inbound: InboundMail.ses(), senderRewriting: true }],
  ['backups of its own', { backup: { lock: BackupLock.governance(Duration.days(2)) } }],
  ['a journal', { journal: {} }],
  ['a sealed journal under a lock', { journal: { sealed: true }, archiveLock: ArchiveLock.compliance(YEAR) }],
  ['a journal with a copy outside AWS', { journal: {}, archiveCopy: OUTSIDE }],
  ['an address for alarms and a second domain', { alarmEmail: 'ops@example.net', additionalDomains: ['example.org'] }],
])('has no open findings with %s', (_name, props) => {
  expect(openFindings(mailStack(props))).toEqual([]);
});

test("uses the owner's network, zone, key, topic and bucket", () => {
  const app = new App();
  const env = { account: '111122223333', region: 'eu-central-1' };
  const owner = new Stack(app, 'Owner', { env });
  const zones = ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'];
  const stack = new MailStack(app, 'MailStack', {
    env,
    domain: 'example.com',
    vpc: Vpc.fromVpcAttributes(owner, 'Vpc', {
      vpcId: 'vpc-1',
      vpcCidrBlock: '10.9.0.0/16',
      availabilityZones: zones,
      publicSubnetIds: ['public-1', 'public-2', 'public-3'],
      privateSubnetIds: ['private-1', 'private-2', 'private-3'],
      isolatedSubnetIds: ['isolated-1', 'isolated-2', 'isolated-3'],
    }),
    hostedZone: PublicHostedZone.fromPublicHostedZoneAttributes(owner, 'Zone', {
      hostedZoneId: 'Z0123456789',
      zoneName: 'example.com',
    }),
    encryptionKey: Key.fromKeyArn(owner, 'Key', 'arn:aws:kms:eu-central-1:111122223333:key/k'),
    alarmTopic: Topic.fromTopicArn(owner, 'Topic', 'arn:aws:sns:eu-central-1:111122223333:ops'),
    archiveBucket: Bucket.fromBucketName(owner, 'Archive', 'existing-archive'),
    retention: RetentionProfile.gdpr(),
  });
  const template = Template.fromStack(stack);
  for (const type of ['AWS::EC2::VPC', 'AWS::Route53::HostedZone', 'AWS::KMS::Key', 'AWS::SNS::Topic']) {
    template.resourceCountIs(type, 0);
  }
  template.hasResourceProperties('AWS::EFS::FileSystem', {
    KmsKeyId: 'arn:aws:kms:eu-central-1:111122223333:key/k',
  });
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    AlarmActions: ['arn:aws:sns:eu-central-1:111122223333:ops'],
    OKActions: ['arn:aws:sns:eu-central-1:111122223333:ops'],
  });
  template.hasResourceProperties('AWS::EFS::MountTarget', { SubnetId: 'isolated-1' });
  template.hasResourceProperties('AWS::Route53::RecordSet', { HostedZoneId: 'Z0123456789', Name: 'mail.example.com.' });
  expect(template.findOutputs('NameServers')).toEqual({});
});

test('backs up by a plan of its own when asked, and then not by the default one', () => {
  const template = Template.fromStack(mailStack({ backup: {} }));
  template.hasResourceProperties('AWS::EFS::FileSystem', { BackupPolicy: { Status: 'DISABLED' } });
  template.resourceCountIs('AWS::Backup::BackupPlan', 1);
  template.resourceCountIs('AWS::KMS::Key', 1);
  expect(Object.keys(template.findResources('AWS::Backup::BackupVault'))).toEqual(['BackupVaultADF21B19']);
});

test('publishes DNS when asked, and lets the addresses send that mail leaves from', () => {
  const hostedZoneAttributes = { hostedZoneId: 'Z0123456789', zoneName: 'example.com' };
  const stack = mailStack({ hostedZoneAttributes, dns: {}, services: MailService.all() });
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Route53::RecordSet', {
    Name: 'outbound.mail.example.com.',
    ResourceRecords: [1, 2, 3].map((zone) => ({
      Ref: Match.stringLikeRegexp(`^NetworkVpcEdgeSubnet${zone}EIP`),
    })),
  });
  template.hasResourceProperties('AWS::Route53::RecordSet', { Type: 'MX', Name: 'example.com.' });
  template.resourceCountIs('AWS::KMS::Key', 1);
  expect(openFindings(stack)).toEqual([]);
});

test('journals mail into the archive when asked, and nodes are told', () => {
  const template = Template.fromStack(mailStack({ journal: {} }));
  const [{ Properties }] = Object.values(template.findResources('AWS::EC2::LaunchTemplate'));
  const userData = JSON.stringify(Properties.LaunchTemplateData.UserData);
  expect(userData).toContain('MAIL_JOURNAL_BUCKET=",{"Ref":"ArchiveBucket49F1AC64"}');
  expect(userData).toContain('MAIL_JOURNAL_WAITING_MAX=21474836480');
  const signingKeys = template.findResources('AWS::KMS::Key', { Properties: { KeyUsage: 'SIGN_VERIFY' } });
  expect(Object.keys(signingKeys)).toEqual([expect.stringMatching(/^JournalEvidenceSigningKey/)]);
});

test('seals the journal when asked: keys that stay, and no packs', () => {
  const stack = mailStack({ journal: { sealed: true } });
  expect(stack.journal!.packs).toBeUndefined();
  const template = Template.fromStack(stack);
  const keys = { Ref: 'JournalKeysBucketAF044174' };
  template.hasOutput('JournalKeysBucketName', { Value: keys });
  template.hasResource('AWS::S3::Bucket', {
    DeletionPolicy: 'Retain',
    Properties: { LoggingConfiguration: Match.objectLike({ LogFilePrefix: 'journal-keys/' }) },
  });
  const [{ Properties }] = Object.values(template.findResources('AWS::EC2::LaunchTemplate'));
  expect(JSON.stringify(Properties.LaunchTemplateData.UserData)).toContain(
    `MAIL_JOURNAL_KEYS=",${JSON.stringify(keys)}`,
  );
  expect(() => mailStack({ journal: { sealed: true, packs: true } })).toThrow('packs must be off in a sealed journal');
});

test('moves archived mail when asked, and not where the profile keeps it too short', () => {
  const archiveTiers = { glacierAfter: Duration.days(30), deepArchiveAfter: Duration.days(120) };
  Template.fromStack(mailStack({ archiveTiers })).hasResourceProperties('AWS::S3::Bucket', {
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
  expect(() => mailStack({ archiveTiers, retention: RetentionProfile.gdpr() })).toThrow(
    'deepArchiveAfter must be 180 days or more, which the class bills, before mail is deleted (180 days), got 120 days',
  );
});

test.each(flagSets)('copies the archive to a stack in another region when asked, with $flags', ({ context }) => {
  const app = new App({ context });
  const account = '111122223333';
  const second = new Stack(app, 'Second', { env: { account, region: 'eu-west-1' }, crossRegionReferences: true });
  const accessLogsBucket = new AccessLogBucket(second, 'AccessLogs').bucket;
  const bucketName = 'example-com-mail-archive-2';
  const { encryptionKey } = new MailArchive(second, 'Archive', { bucketName, accessLogsBucket });
  const stack = new MailStack(app, 'MailStack', {
    domain: 'example.com',
    env: { account, region: 'eu-central-1' },
    crossRegionReferences: true,
    archiveReplication: {
      destination: Bucket.fromBucketName(second, 'Copy', bucketName),
      destinationKey: encryptionKey!,
      destinationRegion: 'eu-west-1',
    },
  });
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::S3::Bucket', {
    ReplicationConfiguration: { Rules: [Match.objectLike({ Id: 'second-copy', Status: 'Enabled' })] },
  });
  expect(JSON.stringify(template.toJSON())).toContain(`:s3:::${bucketName}"`);
  template.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'ReplicationLatency', Threshold: 900 });
  expect(openFindings(stack)).toEqual([]);
  expect(openFindings(second)).toEqual([]);
});

test('fails when an imported archive is to be copied to another region', () => {
  const owner = new Stack();
  const archiveReplication = {
    destination: Bucket.fromBucketName(owner, 'Second', 'second'),
    destinationKey: Key.fromKeyArn(owner, 'SecondKey', 'arn:aws:kms:eu-west-1:111122223333:key/k'),
    destinationRegion: 'eu-west-1',
  };
  const archiveBucket = Bucket.fromBucketName(owner, 'Archive', 'existing-archive');
  expect(() => mailStack({ archiveBucket, archiveReplication })).toThrow(
    'bucket must be made in this app, got an imported one; set replication where it is made',
  );
});

test('copies the archive outside AWS when asked', () => {
  const template = Template.fromStack(mailStack({ archiveCopy: OUTSIDE }));
  template.hasResourceProperties('AWS::Lambda::Function', {
    Environment: { Variables: Match.objectLike({ COPY_ENDPOINT: 'https://s3.example.net', ARCHIVE: 'MailStack' }) },
  });
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    MetricName: 'ArchiveCopyLag',
    Threshold: 300,
    Dimensions: [{ Name: 'ArchiveCopy', Value: 'MailStack' }],
    AlarmActions: [{ Ref: 'AlertsTopicCF7C81C9' }],
  });
});

describe('retention', () => {
  const retentionOf = (...profiles: RetentionProfile[]) => ({ retention: RetentionProfile.combine(...profiles) });

  test('sets how long logs and journaled mail are kept', () => {
    const stack = mailStack(retentionOf(RetentionProfile.gdpr(), RetentionProfile.iso27001()));
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Logs::LogGroup', { RetentionInDays: 731 });
    template.hasResourceProperties('AWS::S3::Bucket', {
      LifecycleConfiguration: { Rules: Match.arrayWith([Match.objectLike({ ExpirationInDays: 731 })]) },
    });
    template.hasResourceProperties('AWS::S3::Bucket', {
      LifecycleConfiguration: {
        Rules: Match.arrayWith([Match.objectLike({ Prefix: 'journal/', ExpirationInDays: 180 })]),
      },
    });
    expect(openFindings(stack)).toEqual([]);
  });

  test('changes nothing that is long enough already', () => {
    expect(
      Template.fromStack(mailStack(retentionOf(RetentionProfile.mlps3(), RetentionProfile.us()))).toJSON(),
    ).toEqual(Template.fromStack(mailStack()).toJSON());
  });

  test('fails when the archive is locked against erasure', () => {
    const archiveLock = ArchiveLock.compliance(Duration.days(30));
    expect(() => mailStack({ ...retentionOf(RetentionProfile.gdpr()), archiveLock })).toThrow(
      'archiveLock must not be in compliance mode for 30 days when erasure is due within 3 days (gdpr)',
    );
    const sealed = { ...retentionOf(RetentionProfile.gdpr()), archiveLock, journal: { sealed: true } };
    expect(openFindings(mailStack(sealed))).toEqual([]);
  });
});

test('two syntheses of the same configuration are the same bytes', () => {
  const [first, second] = [1, 2].map(() => synthesised());
  expect(second).toEqual(first);
});

describe('with the rules of CloudFormation', () => {
  // Unit tests run without them for speed (CDK_VALIDATION=false).
  const validation = process.env.CDK_VALIDATION;
  beforeAll(() => delete process.env.CDK_VALIDATION);
  afterAll(() => {
    if (validation !== undefined) {
      process.env.CDK_VALIDATION = validation;
    }
  });

  const context = { '@aws-cdk/core:validateAgainstDefaultRules': true };

  test('the template breaks none, warnings included, and no rule of the four packs', () => {
    const report = JSON.parse(synthesised(context)['validation-report.json']);
    expect(report.pluginReports).toEqual([]);
  }, 30_000);

  test('nor does it with DNS', () => {
    const dns = {
      domain: 'example.com',
      additionalDomains: ['example.org'],
      services: ['imaps', 'submission', 'mx'],
      dns: {},
    };
    const zone = { hostedZone: { id: 'Z0123456789ABCDEFGHIJ', name: 'example.com' } };
    const report = JSON.parse(
      synthesised(context, undefined, { ...dns, ...zone } as MailConfig)['validation-report.json'],
    );
    expect(report.pluginReports).toEqual([]);
  }, 30_000);

  test('fails when a resource breaks one', () => {
    const add = (stack: Stack) => new CfnBucket(stack, 'Bad').addPropertyOverride('BuketName', 'mail');
    const message = messageOf(() => synthesised(context, add));
    for (const rule of ['AwsSolutions-S1', 'NIST.800.53.R5-S3', 'HIPAA.Security-S3', 'PCI.DSS.321-S3', 'F3002']) {
      expect(message.includes(rule) ? rule : `no ${rule}`).toBe(rule);
    }
  }, 30_000);
});

const cfnLint = spawnSync('cfn-lint', ['--version']).error === undefined;
if (!cfnLint) {
  console.warn('cfn-lint is not installed: the template was not checked by it (pip install cfn-lint)');
}
(cfnLint ? test : test.skip)(
  'cfn-lint finds nothing but its known false alarms',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'cdk.out-'));
    try {
      buildMailApp({ domain: 'example.com' }, { outdir: folder }).synth();
      const { stdout } = spawnSync('cfn-lint', ['--format', 'json', join(folder, 'MailStack.template.json')], {
        encoding: 'utf8',
      });
      const findings: LintFinding[] = JSON.parse(stdout || '[]');
      expect(findings.filter((finding) => !isFalseAlarm(finding)).map(({ Message }) => Message)).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  60_000,
);

interface LintFinding {
  readonly Rule: { readonly Id: string };
  readonly Message: string;
}

function isFalseAlarm({ Rule, Message }: LintFinding): boolean {
  switch (Rule.Id) {
    case 'E3006': // It does not know ACM's ACME resources of 2026 yet,
    case 'W3037': // nor their actions,
      return /AWS::CertificateManager::Acme|acmeexternalaccountbinding/.test(Message);
    case 'E3016': // nor the update policy of the same year.
      return Message.includes('AutoScalingInstanceRefresh');
    case 'W3005': // The CDK writes DependsOn also where a reference says it already; it changes nothing.
      return true;
    default:
      return false;
  }
}

test.each<[string, Partial<MailStackProps>, string]>([
  ['the domain is none', { domain: 'Example' }, 'domain must be a lower-case domain'],
  ['the host name is none', { hostname: 'mail' }, 'hostname must be a lower-case domain'],
  ['a label is longer than DNS allows', { domain: `${'a'.repeat(64)}.com` }, 'domain must be a lower-case domain'],
  [
    'the host name is longer than a certificate can say',
    { domain: `${'a'.repeat(60)}.com` },
    'hostname must have 64 characters or fewer for a certificate of ACM, got 69',
  ],
  ['there are too few zones', { zones: 2 }, 'zones must be 3 to 6 whole zones, got 2'],
  [
    'zones are asked for in a network that is there',
    { zones: 3, vpcId: 'vpc-1', env: { account: '111122223333', region: 'eu-central-1' } },
    "zones can't be set with vpcId, it is for a new network; remove one",
  ],
  [
    'a domain is there twice',
    { additionalDomains: ['example.org', 'example.com'] },
    'additionalDomains must name other domains, each once, got example.com twice; remove one',
  ],
  [
    'an alarm would never go off',
    { alarmThresholds: { loginFailureRateMax: 100 } },
    'alarmThresholds.loginFailureRateMax must be 0 to 99, got 100',
  ],
  ['the network is looked up in no place', { vpcId: 'vpc-1' }, 'vpcId needs env with account and region'],
  [
    'the zone is of another domain',
    { hostedZoneAttributes: { hostedZoneId: 'Z1', zoneName: 'example.org' } },
    'hostedZone must hold the host name mail.example.com, got example.org',
  ],
  ['there are more nodes than the most', { minNodes: 5, maxNodes: 4 }, 'maxNodes must be >= minNodes (5), got 4'],
])('fails when %s', (_name, props, message) => {
  expect(() => mailStack(props)).toThrow(message);
});

/** Files of a synthesis by name. */
function synthesised(
  context: Record<string, unknown> = {},
  add?: (stack: Stack) => void,
  config: MailConfig = { domain: 'example.com' },
): { [file: string]: string } {
  const folder = mkdtempSync(join(tmpdir(), 'cdk.out-'));
  try {
    const app = buildMailApp(config, { outdir: folder, context });
    add?.(app.node.findChild('MailStack') as Stack);
    app.synth();
    const files = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile());
    return Object.fromEntries(files.map(({ name }) => [name, readFileSync(join(folder, name), 'utf8')]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What a call throws; nothing when it does not. */
function messageOf(call: () => unknown): string {
  try {
    call();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

test('a relay: nodes wait for its login, and the domain of the zone gets its records', () => {
  const domains = { domain: 'example.com', additionalDomains: ['example.org'] };
  const hostedZoneAttributes = { hostedZoneId: 'Z0123456789', zoneName: 'example.com' };
  const stack = mailStack({
    ...domains,
    hostedZoneAttributes,
    relay: OutboundRelay.ses({ mailFromSubdomain: 'back' }),
  });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::SES::EmailIdentity', 2);
  template.hasResourceProperties('AWS::Route53::RecordSet', { Type: 'MX', Name: 'back.example.com.' });
  const [credentials] = Object.keys(template.findResources('Custom::SmtpCredentials'));
  const [launchTemplate] = Object.values(template.findResources('AWS::EC2::LaunchTemplate'));
  const userData = JSON.stringify(launchTemplate.Properties.LaunchTemplateData.UserData);
  expect(userData).toContain('\\nMAIL_RELAY=ses\\nMAIL_RELAY_HOST=email-smtp.');
  expect(userData).toContain(`MAIL_RELAY_SECRET=",{"Ref":"${credentials}"}`);
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    MetricName: 'Reputation.BounceRate',
    AlarmActions: [{ Ref: Match.stringLikeRegexp('^Alerts') }],
  });
});

describe('mail through SES', () => {
  const env = { account: '111122223333', region: 'eu-west-1' };
  const inbound = InboundMail.ses();

  test('MX records lead there, and behind it to nodes that take mail; nodes know where to fetch it', () => {
    const zone = { hostedZoneAttributes: { hostedZoneId: 'Z0123456789', zoneName: 'example.com' } };
    const stack = mailStack({ env, inbound, ...zone, dns: {}, services: MailService.all() });
    const template = Template.fromStack(stack);
    const mx = { Type: 'MX', Name: 'example.com.' };
    template.hasResourceProperties('AWS::Route53::RecordSet', {
      ...mx,
      ResourceRecords: ['10 inbound-smtp.eu-west-1.amazonaws.com.', '20 mail.example.com.'],
    });
    template.hasResourceProperties('AWS::EC2::LaunchTemplate', {
      LaunchTemplateData: {
        UserData: {
          'Fn::Base64': { 'Fn::Join': ['', Match.arrayWith([{ Ref: Match.stringLikeRegexp('^InboundSesQueue') }])] },
        },
      },
    });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'InboundDelay',
      AlarmActions: [{ Ref: Match.stringLikeRegexp('^Alerts') }],
    });
    Template.fromStack(mailStack({ env, inbound, ...zone, dns: {} })).hasResourceProperties('AWS::Route53::RecordSet', {
      ...mx,
      ResourceRecords: ['10 inbound-smtp.eu-west-1.amazonaws.com.'],
    });
  });

  test('SES knows a domain once when mail leaves through it, too', () => {
    const template = Template.fromStack(mailStack({ inbound, relay: OutboundRelay.ses() }));
    template.resourceCountIs('AWS::SES::EmailIdentity', 1);
  });

  test('what holds data keeps its logical id', () => {
    const template = Template.fromStack(mailStack({ inbound, senderRewriting: true }));
    for (const [type, id] of [
      ['AWS::S3::Bucket', 'InboundSesBucketA1D91191'],
      ['AWS::SQS::Queue', 'InboundSesQueue99258F12'],
      ['AWS::SQS::Queue', 'InboundSesDeadLettersB7AC2BAF'],
      ['AWS::SecretsManager::Secret', 'SenderRewritingSecretB759D171'],
    ]) {
      expect(Object.keys(template.findResources(type))).toContain(id);
    }
  });

  test('fails when MX records are to be made in a region that nobody knows', () => {
    expect(() => mailStack({ inbound, dns: {} })).toThrow(
      'inbound needs env with a region for the MX records that dns makes, got none; add env, or give dns.mailExchangers',
    );
  });
});

test('a second factor: nodes know the pool, and outputs what mail clients ask for', () => {
  const stack = mailStack({ singleSignOn: SingleSignOn.cognito() });
  const template = Template.fromStack(stack);
  // Whoever is in it stays: the id is pinned.
  expect(Object.keys(template.findResources('AWS::Cognito::UserPool'))).toEqual([
    expect.stringMatching(/^SingleSignOnCognitoUserPool/),
  ]);
  const [client] = Object.keys(template.findResources('AWS::Cognito::UserPoolClient'));
  const [launchTemplate] = Object.values(template.findResources('AWS::EC2::LaunchTemplate'));
  const userData = JSON.stringify(launchTemplate.Properties.LaunchTemplateData.UserData);
  expect(userData).toContain('\\nMAIL_TOKEN_ISSUER=https://cognito-idp.');
  expect(userData).toContain(`MAIL_TOKEN_AUDIENCES=",{"Ref":"${client}"}`);
  template.hasOutput('SignInClientId', { Value: { Ref: client } });
  template.hasOutput('SignInIssuer', {});
  template.hasOutput('SignInUrl', {});
});
