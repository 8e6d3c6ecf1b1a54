import { App, Duration } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import {
  AccountPrincipal,
  AnyPrincipal,
  ArnPrincipal,
  FederatedPrincipal,
  IPrincipal,
  Role,
  SamlConsolePrincipal,
  SamlProvider,
  ServicePrincipal,
  User,
} from 'aws-cdk-lib/aws-iam';
import { MailDirectory, MailStack, MailStackProps } from '../../lib';
import { IdentityCenterPrincipal, MailOperatorsOptions } from '../../lib/operations';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

const ALICE = 'arn:aws:iam::111122223333:user/alice';
const alice = new ArnPrincipal(ALICE);
const everybody = { operators: [alice], auditors: [alice], helpDesk: [alice] };
const everything = { ...everybody, erasure: true, restore: true };

function mailStack(operators: MailOperatorsOptions, props: Partial<MailStackProps> = {}, context = {}) {
  return new MailStack(new App({ context }), 'MailStack', { domain: 'example.com', journal: {}, ...props, operators });
}

interface Statement {
  readonly Effect: string;
  readonly Action: string | string[];
  readonly Resource: unknown;
  readonly Condition?: unknown;
}

/** Statements of all policies of a role, by its logical id's beginning. */
function statementsOf(template: Template, role: string): Statement[] {
  const [id] = Object.keys(template.findResources('AWS::IAM::Role')).filter((one) =>
    one.startsWith(`Operators${role}`),
  );
  expect(id).toBeDefined();
  return Object.values(template.findResources('AWS::IAM::ManagedPolicy'))
    .filter(({ Properties }) => JSON.stringify(Properties.Roles).includes(`"${id}"`))
    .flatMap(({ Properties }) => Properties.PolicyDocument.Statement);
}

/** A resource as one readable text: references by their logical id without its hash. */
function text(resource: unknown): string {
  if (typeof resource === 'string') return resource;
  const [[name, value]] = Object.entries(resource as object);
  if (name === 'Fn::Join') return value[1].map(text).join('');
  return `<${(name === 'Ref' ? value : value[0]).replace(/[0-9A-F]{8}$/, '')}>`;
}

/** Each action with the resources that it is allowed (or denied) on. */
function rights(template: Template, role: string, effect = 'Allow'): { [action: string]: string[] } {
  const found: { [action: string]: string[] } = {};
  for (const { Effect, Action, Resource } of statementsOf(template, role)) {
    if (Effect !== effect) continue;
    for (const action of [Action].flat()) (found[action] ??= []).push(...[Resource].flat().map(text));
  }
  return Object.fromEntries(
    Object.entries(found)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([action, resources]) => [action, [...new Set(resources)].sort()]),
  );
}

const REGION = '<AWS::Region>:<AWS::AccountId>';
const GROUP = `arn:<AWS::Partition>:autoscaling:${REGION}:autoScalingGroup:*:autoScalingGroupName/<FleetGroupASG>`;
const SESSION = `arn:<AWS::Partition>:ssm:${REGION}:session/\${aws:userid}-*`;
const NODES = `arn:<AWS::Partition>:ec2:${REGION}:instance/*`;
const DOCUMENT = `arn:<AWS::Partition>:ssm:${REGION}:document/<OperatorsSessionsDocument>`;
const KEY = '<Key>';
const USERS = '<DirectoryFileBucket>';
const ARCHIVE = '<ArchiveBucket>';

const READ = {
  'cloudwatch:DescribeAlarmHistory': ['*'],
  'cloudwatch:DescribeAlarms': ['*'],
  'cloudwatch:GetMetricData': ['*'],
  'cloudwatch:ListMetrics': ['*'],
  'logs:DescribeLogGroups': ['*'],
  'logs:GetQueryResults': ['*'],
};

const OPERATE = {
  'autoscaling:CancelInstanceRefresh': [GROUP],
  'autoscaling:CompleteLifecycleAction': [GROUP],
  'autoscaling:DescribeAutoScalingGroups': ['*'],
  'autoscaling:DescribeAutoScalingInstances': ['*'],
  'autoscaling:DescribeInstanceRefreshes': ['*'],
  'autoscaling:DescribeLifecycleHooks': ['*'],
  'autoscaling:DescribeScalingActivities': ['*'],
  'autoscaling:SetDesiredCapacity': [GROUP],
  'autoscaling:StartInstanceRefresh': [GROUP],
  'ec2:DescribeInstances': ['*'],
  'ssm:DescribeInstanceInformation': ['*'],
  'ssm:GetConnectionStatus': ['*'],
  'ssm:ResumeSession': [SESSION],
  'ssm:StartSession': [NODES, DOCUMENT].sort(),
  'ssm:TerminateSession': [SESSION],
  'ssmmessages:OpenDataChannel': [SESSION],
  ...READ,
};

const LOGS = ['logs:DescribeLogStreams', 'logs:FilterLogEvents', 'logs:GetLogEvents', 'logs:StartQuery'];

/** Rights without those on log groups, which follow what the stack has. */
function withoutLogs(all: { [action: string]: string[] }) {
  return Object.fromEntries(Object.entries(all).filter(([action]) => !LOGS.includes(action)));
}

describe.each(flagSets)('with $flags', ({ context }) => {
  test('has no open findings', () => {
    expect(openFindings(mailStack(everything, {}, context))).toEqual([]);
  });
});

describe('rights', () => {
  let template: Template;
  beforeAll(() => (template = Template.fromStack(mailStack(everybody))));

  test('operators tend this group, open logged shells on its nodes, and touch no mail', () => {
    expect(withoutLogs(rights(template, 'Operator'))).toEqual(OPERATE);
  });

  test('auditors read records, evidence and metadata', () => {
    expect(withoutLogs(rights(template, 'Auditor'))).toEqual({
      ...READ,
      'cloudformation:DescribeStackEvents': ['<AWS::StackId>'],
      'cloudformation:DescribeStackResources': ['<AWS::StackId>'],
      'cloudformation:DescribeStacks': ['<AWS::StackId>'],
      'cloudformation:GetTemplate': ['<AWS::StackId>'],
      'cloudtrail:DescribeTrails': ['*'],
      'cloudtrail:GetTrailStatus': ['*'],
      'cloudtrail:LookupEvents': ['*'],
      'config:DescribeComplianceByResource': ['*'],
      'config:DescribeConfigRules': ['*'],
      'config:GetComplianceDetailsByConfigRule': ['*'],
      'config:GetResourceConfigHistory': ['*'],
      'kms:Decrypt': [KEY],
      'kms:DescribeKey': [KEY],
      'kms:GetKeyPolicy': [KEY],
      'kms:GetKeyRotationStatus': [KEY],
      'kms:GetPublicKey': ['<JournalEvidenceSigningKey>'],
      's3:GetBucketLogging': [ARCHIVE],
      's3:GetBucketObjectLockConfiguration': [ARCHIVE],
      's3:GetBucketPolicy': [ARCHIVE],
      's3:GetBucketVersioning': [ARCHIVE],
      's3:GetEncryptionConfiguration': [ARCHIVE],
      's3:GetLifecycleConfiguration': [ARCHIVE],
      's3:GetObject': [`${ARCHIVE}/evidence/*`],
      's3:GetObjectLegalHold': [`${ARCHIVE}/evidence/*`, `${ARCHIVE}/journal/*`, `${ARCHIVE}/packs/*`],
      's3:GetObjectRetention': [`${ARCHIVE}/evidence/*`, `${ARCHIVE}/journal/*`, `${ARCHIVE}/packs/*`],
      's3:ListBucket': [ARCHIVE],
      's3:ListBucketVersions': [ARCHIVE],
      'ssm:DescribeSessions': ['*'],
    });
  });

  test('auditors get no mail and no secret, even if somebody gives the role more', () => {
    expect(rights(template, 'Auditor', 'Deny')).toEqual({
      's3:GetObject': [`${ARCHIVE}/journal/*`, `${ARCHIVE}/packs/*`],
      's3:GetObjectVersion': [`${ARCHIVE}/journal/*`, `${ARCHIVE}/packs/*`],
      'secretsmanager:GetSecretValue': ['*'],
      'ssm:StartSession': ['*'],
    });
  });

  test('the help desk edits the users file and can do nothing else', () => {
    expect(rights(template, 'HelpDesk')).toEqual({
      'kms:Decrypt': [KEY],
      'kms:GenerateDataKey': [KEY],
      's3:GetObject': [`${USERS}/users`],
      's3:ListBucket': [USERS],
      's3:PutObject': [`${USERS}/users`],
    });
    const ofKey = statementsOf(template, 'HelpDesk').find(({ Action }) => [Action].flat().includes('kms:Decrypt'));
    expect(JSON.stringify(ofKey?.Condition)).toContain('kms:ViaService');
  });

  describe('of users in a database', () => {
    const aurora = { directory: MailDirectory.aurora() };
    const TUNNEL = `arn:<AWS::Partition>:ssm:${REGION}:document/<OperatorsDirectoryTunnelDocument>`;

    test('the help desk edits them through a tunnel, and opens no shell', () => {
      const sql = Template.fromStack(mailStack(everybody, aurora));
      expect(rights(sql, 'HelpDesk')).toEqual({
        'ec2:DescribeInstances': ['*'],
        'rds-db:connect': [expect.stringMatching(/dbuser:.*\/mail_editor$/)],
        'ssm:ResumeSession': [SESSION],
        'ssm:StartSession': [NODES, TUNNEL].sort(),
        'ssm:TerminateSession': [SESSION],
        'ssmmessages:OpenDataChannel': [SESSION],
      });
      const starts = statementsOf(sql, 'HelpDesk').filter(({ Action }) => Action === 'ssm:StartSession');
      expect(starts[0].Condition).toEqual({
        StringEquals: { 'ssm:resourceTag/mail-platform:cluster': 'MailStack' },
        BoolIfExists: { 'ssm:SessionDocumentAccessCheck': 'true' },
      });
      sql.hasResourceProperties('AWS::SSM::Document', {
        DocumentType: 'Session',
        Content: {
          sessionType: 'Port',
          parameters: { localPortNumber: Match.objectLike({ default: '5433' }) },
          properties: {
            type: 'LocalPortForwarding',
            // The one that takes changes, and not for who opens the tunnel to choose.
            host: { 'Fn::GetAtt': [Match.stringLikeRegexp('^DirectoryAurora'), 'Endpoint.Address'] },
            portNumber: '5433',
            localPortNumber: '{{ localPortNumber }}',
          },
        },
      });
      sql.hasOutput('DirectoryTunnelCommand', {});
    });

    test('nodes have the tag for it without operators, too, and nobody opens it without Session Manager', () => {
      const alone = Template.fromStack(mailStack({ helpDesk: [alice] }, aurora));
      alone.resourceCountIs('AWS::SSM::Document', 1);
      const tag = { Key: 'mail-platform:cluster', Value: 'MailStack' };
      alone.hasResourceProperties('AWS::EC2::LaunchTemplate', {
        LaunchTemplateData: {
          TagSpecifications: Match.arrayWith([{ ResourceType: 'instance', Tags: Match.arrayWith([tag]) }]),
        },
      });
      const without = Template.fromStack(mailStack({ helpDesk: [alice] }, { ...aurora, sessionManager: false }));
      without.resourceCountIs('AWS::SSM::Document', 0);
      expect(Object.keys(rights(without, 'HelpDesk'))).toEqual(['rds-db:connect']);
    });

    test('there are no open findings', () => {
      expect(openFindings(mailStack(everything, aurora))).toEqual([]);
    });
  });

  test('logs of sessions are read by auditors and not by operators, who could look what is told of them', () => {
    const groups = Object.keys(template.findResources('AWS::Logs::LogGroup')).map((id) => `<${id.slice(0, -8)}>`);
    const session = '<OperatorsSessionsLog>';
    expect(groups).toContain(session);
    for (const action of LOGS) {
      expect(rights(template, 'Auditor')[action]).toEqual(groups.sort());
      expect(rights(template, 'Operator')[action]).toEqual(groups.filter((group) => group !== session).sort());
    }
  });

  test('shells are for tagged nodes, by a document that logs, and by no other', () => {
    const starts = statementsOf(template, 'Operator').filter(({ Action }) => Action === 'ssm:StartSession');
    expect(starts[0].Condition).toEqual({
      StringEquals: { 'ssm:resourceTag/mail-platform:cluster': 'MailStack' },
      BoolIfExists: { 'ssm:SessionDocumentAccessCheck': 'true' },
    });
    const tag = { Key: 'mail-platform:cluster', Value: 'MailStack' };
    template.hasResourceProperties('AWS::EC2::LaunchTemplate', {
      LaunchTemplateData: {
        TagSpecifications: Match.arrayWith([{ ResourceType: 'instance', Tags: Match.arrayWith([tag]) }]),
      },
    });
    const [log] = Object.keys(template.findResources('AWS::Logs::LogGroup')).filter((id) => /SessionsLog/.test(id));
    template.hasResourceProperties('AWS::SSM::Document', {
      DocumentType: 'Session',
      Content: {
        sessionType: 'Standard_Stream',
        inputs: {
          cloudWatchLogGroupName: { Ref: log },
          cloudWatchEncryptionEnabled: true,
          cloudWatchStreamingEnabled: true,
          maxSessionDuration: '60',
        },
      },
    });
    template.hasResource('AWS::Logs::LogGroup', {
      DeletionPolicy: 'Retain',
      Properties: { KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] }, RetentionInDays: 365 },
    });
    const [nodeRole] = Object.keys(template.findResources('AWS::IAM::Role')).filter((id) => id.startsWith('FleetNode'));
    template.hasResourceProperties('AWS::IAM::ManagedPolicy', {
      Roles: [{ Ref: nodeRole }],
      PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Sid: 'LogSessions' })]) },
    });
  });
});

test('of a sealed journal operators open messages and destroy keys by choice; auditors read no key', () => {
  const template = Template.fromStack(mailStack(everything, { journal: { sealed: true } }));
  const keys = '<JournalKeysBucket>';
  const given = rights(template, 'Operator');
  expect(given['s3:DeleteObjectVersion']).toEqual(expect.arrayContaining([`${keys}/private/*`, `${keys}/public/*`]));
  expect(given['s3:GetObject']).toContain(`${keys}/private/*`);
  expect(given['kms:Decrypt']).toEqual([KEY, '<JournalKeysKey>'].sort());
  expect(given['s3:PutObject'].filter((resource) => resource.startsWith(keys))).toEqual([]);
  for (const action of ['s3:GetObject', 's3:GetObjectVersion']) {
    expect(rights(template, 'Auditor', 'Deny')[action]).toContain(`${keys}/private/*`);
  }
  const none = rights(Template.fromStack(mailStack(everybody, { journal: { sealed: true } })), 'Operator');
  expect(JSON.stringify(none)).not.toContain(keys);
});

test('erasing and getting mail back are rights that operators have by choice', () => {
  const template = Template.fromStack(mailStack(everything));
  const more = Object.entries(withoutLogs(rights(template, 'Operator'))).filter(([action]) => !(action in OPERATE));
  expect(Object.fromEntries(more)).toEqual({
    'kms:Decrypt': [KEY],
    'kms:GenerateDataKey': [KEY],
    'kms:GetPublicKey': ['<OperatorsErasureKey>'],
    'kms:Sign': ['<OperatorsErasureKey>'],
    's3:DeleteObjectVersion': [`${ARCHIVE}/journal/*`, `${ARCHIVE}/packs/*`],
    's3:GetObject': [`${ARCHIVE}/erasure/*`, `${ARCHIVE}/journal/*`, `${ARCHIVE}/packs/*`, `${USERS}/users`],
    's3:GetObjectLegalHold': [`${ARCHIVE}/journal/*`, `${ARCHIVE}/packs/*`],
    's3:GetObjectRetention': [`${ARCHIVE}/journal/*`, `${ARCHIVE}/packs/*`],
    's3:GetObjectVersion': [`${ARCHIVE}/journal/*`, `${ARCHIVE}/packs/*`],
    's3:ListBucket': [ARCHIVE, USERS],
    's3:ListBucketVersions': [ARCHIVE],
    's3:PutObject': [`${ARCHIVE}/packs/*`, `${USERS}/users`],
    's3:RestoreObject': [`${ARCHIVE}/journal/*`, `${ARCHIVE}/packs/*`],
  });
  template.hasResource('AWS::KMS::Key', {
    DeletionPolicy: 'Retain',
    Properties: {
      KeySpec: 'ECC_NIST_P256',
      KeyUsage: 'SIGN_VERIFY',
      KeyPolicy: {
        Statement: Match.arrayWith([
          Match.objectLike({
            Sid: 'OnlyOperatorsSign',
            Effect: 'Deny',
            Condition: {
              ArnNotEquals: {
                'aws:PrincipalArn': { 'Fn::GetAtt': [Match.stringLikeRegexp('^OperatorsOperator'), 'Arn'] },
              },
            },
          }),
        ]),
      },
    },
  });
});

describe('trust', () => {
  function trust(principal: IPrincipal, sessionLength?: Duration) {
    const template = Template.fromStack(mailStack({ auditors: [principal], sessionLength }));
    const [role] = Object.values(template.findResources('AWS::IAM::Role')).filter(({ Properties }) =>
      Properties.Description?.startsWith('Mail auditors'),
    );
    return role.Properties;
  }

  test('a role that nobody may take is not made, and neither are shells', () => {
    const template = Template.fromStack(mailStack({ helpDesk: [alice] }));
    const roles = Object.keys(template.findResources('AWS::IAM::Role')).filter((id) => id.startsWith('Operators'));
    expect(roles).toEqual([expect.stringMatching(/^OperatorsHelpDesk/)]);
    template.resourceCountIs('AWS::SSM::Document', 0);
    template.hasOutput('HelpDeskRole', {});
  });

  test.each<[string, IPrincipal]>([
    ['a user', alice],
    ['an account', new AccountPrincipal('111122223333')],
    ['an imported user', User.fromUserArn(testStack(), 'Alice', ALICE)],
  ])('%s needs a second factor, and gets an hour', (_what, principal) => {
    const { AssumeRolePolicyDocument, MaxSessionDuration } = trust(principal);
    expect(AssumeRolePolicyDocument.Statement).toEqual([
      expect.objectContaining({
        Action: 'sts:AssumeRole',
        Condition: { Bool: { 'aws:MultiFactorAuthPresent': 'true' } },
      }),
    ]);
    expect(MaxSessionDuration).toBe(3600);
  });

  test('a SAML provider signs people in its own way', () => {
    const provider = SamlProvider.fromSamlProviderArn(
      testStack(),
      'Idp',
      'arn:aws:iam::111122223333:saml-provider/idp',
    );
    const { AssumeRolePolicyDocument, MaxSessionDuration } = trust(
      new SamlConsolePrincipal(provider),
      Duration.hours(8),
    );
    expect(AssumeRolePolicyDocument.Statement).toEqual([
      expect.objectContaining({
        Action: 'sts:AssumeRoleWithSAML',
        Condition: { StringEquals: { 'SAML:aud': expect.anything() } },
      }),
    ]);
    expect(MaxSessionDuration).toBe(8 * 3600);
  });

  test('people of a permission set are let in, and of no other whose name begins like it', () => {
    const { AssumeRolePolicyDocument } = trust(new IdentityCenterPrincipal('MailAuditors', '111122223333'));
    const [{ Condition }] = AssumeRolePolicyDocument.Statement;
    expect(Object.keys(Condition)).toEqual(['ArnLike']);
    expect(text(Condition.ArnLike['aws:PrincipalArn'])).toBe(
      'arn:<AWS::Partition>:iam::111122223333:role/aws-reserved/sso.amazonaws.com*/AWSReservedSSO_MailAuditors_????????????????',
    );
  });

  test.each<[string, IPrincipal | undefined, RegExp]>([
    ['everybody is let in', new AnyPrincipal(), /^auditors must be users, accounts, .*, got everybody$/],
    ['a service is let in', new ServicePrincipal('ec2.amazonaws.com'), /got Service$/],
    ['a role is let in by its ARN', new ArnPrincipal('arn:aws:iam::111122223333:role/admin'), /got a role: who has/],
    ['a role of the app is let in', new Role(testStack(), 'R', { assumedBy: alice }), /got a role: who has/],
    [
      'a provider has no condition',
      new FederatedPrincipal('accounts.google.com', {}, 'sts:AssumeRoleWithWebIdentity'),
      /^auditors must have a condition with a provider/,
    ],
    ['nobody is named', undefined, /^operators must name somebody, got nobody/],
  ])('fails when %s', (_what, principal, message) => {
    expect(() => mailStack({ auditors: principal && [principal] })).toThrow(message);
  });
});

test.each<[string, MailOperatorsOptions, Partial<MailStackProps>, RegExp]>([
  ['sessions are too short', { ...everybody, sessionLength: Duration.minutes(30) }, {}, /60 to 720 .*, got 30$/],
  ['sessions are too long', { ...everybody, sessionLength: Duration.hours(13) }, {}, /60 to 720 .*, got 780$/],
  ['there is no operator to erase', { helpDesk: [alice], erasure: true }, {}, /^erasure is for operators, got none/],
  [
    'there is no journal to restore',
    { ...everybody, restore: true },
    { journal: undefined },
    /^restore needs a journal/,
  ],
])('fails when %s', (_what, operators, props, message) => {
  expect(() => mailStack(operators, props)).toThrow(message);
});

test('fails when a permission set is given by its ARN', () => {
  expect(() => new IdentityCenterPrincipal('arn:aws:sso:::permissionSet/x')).toThrow(/^permissionSet must be 1 to 32/);
});

test('without Session Manager there are no shells, and no right to open one', () => {
  const template = Template.fromStack(mailStack(everybody, { sessionManager: false }));
  template.resourceCountIs('AWS::SSM::Document', 0);
  expect(Object.keys(rights(template, 'Operator'))).not.toContain('ssm:StartSession');
});
