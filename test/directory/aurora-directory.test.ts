import { App, Duration } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { AccountRootPrincipal } from 'aws-cdk-lib/aws-iam';
import { AuroraDirectory, AuroraDirectoryOptions, MailDirectory, MailStack } from '../../lib';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

let cached: { stack: MailStack; template: Template } | undefined;
const made = () => (cached ??= make());
function make(options?: AuroraDirectoryOptions, context: Record<string, unknown> = {}) {
  const stack = new MailStack(new App({ context }), 'MailStack', {
    domain: 'example.com',
    additionalDomains: ['example.org'],
    directory: MailDirectory.aurora(options),
    operators: { helpDesk: [new AccountRootPrincipal()] },
  });
  return { stack, template: Template.fromStack(stack) };
}

test('the database is in two zones, encrypted, TLS only, backed up, protected, and stays when the stack goes', () => {
  const { template } = made();
  template.hasResource('AWS::RDS::DBCluster', {
    DeletionPolicy: 'Retain',
    Properties: {
      StorageEncrypted: true,
      KmsKeyId: Match.anyValue(),
      DeletionProtection: true,
      BackupRetentionPeriod: 35,
      EnableIAMDatabaseAuthentication: true,
      EnableCloudwatchLogsExports: ['postgresql'],
      ServerlessV2ScalingConfiguration: { MinCapacity: 0.5, MaxCapacity: 4 },
    },
  });
  template.hasResourceProperties('AWS::RDS::DBClusterParameterGroup', {
    Parameters: Match.objectLike({ 'rds.force_ssl': '1' }),
  });
  template.resourceCountIs('AWS::RDS::DBInstance', 2);
  template.allResourcesProperties('AWS::RDS::DBInstance', {
    DBInstanceClass: 'db.serverless',
    PubliclyAccessible: false,
    EnablePerformanceInsights: true,
    AutoMinorVersionUpgrade: true,
  });
});

test('the password of the owner is made and changed by RDS, and is in no template', () => {
  const { template } = made();
  template.hasResourceProperties('AWS::RDS::DBCluster', {
    ManageMasterUserPassword: true,
    MasterUserSecret: { KmsKeyId: Match.anyValue() },
    MasterUserPassword: Match.absent(),
  });
});

test('only nodes and the function that makes the schema can connect', () => {
  const { stack, template } = made();
  const directory = stack.directory as AuroraDirectory;
  const [group] = directory.cluster.connections.securityGroups;
  const rules = Object.values(template.findResources('AWS::EC2::SecurityGroupIngress')).filter(
    ({ Properties }) => JSON.stringify(Properties.GroupId) === JSON.stringify(stack.resolve(group.securityGroupId)),
  );
  expect(rules.map(({ Properties }) => Properties.Description).sort()).toEqual(['directory from nodes', 'schema']);
  for (const { Properties } of rules)
    expect(Properties).toMatchObject({ FromPort: 5433, ToPort: 5433, IpProtocol: 'tcp' });
  template.hasResourceProperties('AWS::EC2::SecurityGroup', {
    GroupDescription: 'Mail directory',
    SecurityGroupIngress: Match.absent(),
  });
});

test('nodes may log in as the reader, and the help desk as the editor, and neither as anybody else', () => {
  const { stack } = made();
  const reader = stack.directory.configuration.statements!.map((statement) =>
    stack.resolve(statement.toStatementJson()),
  );
  expect(reader).toHaveLength(1);
  expect(reader[0]).toMatchObject({ Action: 'rds-db:connect', Effect: 'Allow' });
  expect(JSON.stringify(reader[0].Resource)).toMatch(/DBClusterResourceId.*\/mail_node"/);
  const policies = Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy', {
    Properties: { Description: 'Mail help desk: users' },
  });
  const [{ Properties }] = Object.values(policies);
  expect(Properties.PolicyDocument.Statement).toHaveLength(1);
  expect(Properties.PolicyDocument.Statement[0]).toMatchObject({ Action: 'rds-db:connect' });
  expect(JSON.stringify(Properties.PolicyDocument.Statement[0].Resource)).toContain('/mail_editor"');
});

test('nodes read from the reader and mail-users writes to the writer', () => {
  const { stack } = made();
  const { configuration, location } = stack.directory;
  expect(stack.resolve(configuration.environment)).toMatchObject({
    MAIL_DIRECTORY: 'sql',
    MAIL_DIRECTORY_HOST: { 'Fn::GetAtt': [expect.any(String), 'ReadEndpoint.Address'] },
    MAIL_DIRECTORY_PORT: '5433',
    MAIL_DIRECTORY_DATABASE: 'mail',
    MAIL_DIRECTORY_STALE_AFTER: '86400',
  });
  expect(JSON.stringify(stack.resolve(location))).toMatch(/postgres:\/\/mail_editor@.*"Endpoint.Address".*:5433\/mail/);
});

test('the schema is made before the first node is, and again for each new migration', () => {
  const { template } = made();
  template.hasResourceProperties('Custom::MailDirectorySchema', {
    Domains: ['example.com', 'example.org'],
    Database: 'mail',
    Migrations: Match.stringLikeRegexp('^[0-9a-f]{64}$'),
  });
  const [schema] = Object.keys(template.findResources('Custom::MailDirectorySchema'));
  const launch = template.findResources('AWS::EC2::LaunchTemplate');
  expect(JSON.stringify(launch)).toContain(`{"Ref":"${schema}"}`);
});

test('the function that makes the schema does in the network what Lambda needs, and no more', () => {
  const { template } = made();
  const [{ Properties }] = Object.values(
    template.findResources('AWS::IAM::ManagedPolicy', {
      Properties: { Description: 'Makes the schema of the mail directory' },
    }),
  );
  const anywhere = Properties.PolicyDocument.Statement.filter(
    ({ Resource }: { Resource: unknown }) => Resource === '*',
  );
  expect(anywhere).toHaveLength(1);
  expect(anywhere[0].Action).toEqual([
    'ec2:AssignPrivateIpAddresses',
    'ec2:CreateNetworkInterface',
    'ec2:DeleteNetworkInterface',
    'ec2:DescribeNetworkInterfaces',
    'ec2:DescribeSubnets',
    'ec2:UnassignPrivateIpAddresses',
  ]);
});

test('alarms go off when the reader is 5 s behind, capacity or connections run out, or nothing is heard', () => {
  const { template } = made();
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    MetricName: 'AuroraReplicaLag',
    Threshold: 5000,
    Statistic: 'Maximum',
    Period: 60,
    EvaluationPeriods: 3,
    ComparisonOperator: 'GreaterThanThreshold',
    AlarmActions: Match.anyValue(),
  });
  for (const MetricName of ['ACUUtilization', 'DatabaseConnections']) {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName,
      Threshold: 80,
      AlarmActions: Match.anyValue(),
    });
  }
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    MetricName: 'DatabaseConnections',
    Statistic: 'SampleCount',
    TreatMissingData: 'breaching',
  });
});

test('what is set is taken', () => {
  const { template, stack } = make({
    minCapacity: 1,
    maxCapacity: 8.5,
    backupRetention: Duration.days(7),
    staleAfter: Duration.hours(1),
    lagAlarm: Duration.seconds(2),
  });
  template.hasResourceProperties('AWS::RDS::DBCluster', {
    BackupRetentionPeriod: 7,
    ServerlessV2ScalingConfiguration: { MinCapacity: 1, MaxCapacity: 8.5 },
  });
  template.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'AuroraReplicaLag', Threshold: 2000 });
  expect(stack.directory.configuration.environment.MAIL_DIRECTORY_STALE_AFTER).toBe('3600');
});

test('the logical ids of what holds users stay', () => {
  const { template } = made();
  expect(Object.keys(template.findResources('AWS::RDS::DBCluster'))).toEqual(['DirectoryAuroraCluster6E8174C1']);
});

test.each(flagSets)('four rule packs find nothing, with $flags', ({ context }) => {
  expect(openFindings(make(undefined, context).stack)).toEqual([]);
});

const wrong: [AuroraDirectoryOptions, string][] = [
  [{ minCapacity: 0.7 }, 'minCapacity must be 0.5 to 256 in steps of 0.5, got 0.7'],
  [{ maxCapacity: 300 }, 'maxCapacity must be 0.5 to 256 in steps of 0.5, got 300'],
  [{ minCapacity: 8 }, 'maxCapacity must be >= minCapacity (8), got 4; raise maxCapacity'],
  [{ backupRetention: Duration.days(40) }, 'backupRetention must be 1 to 35 whole days, got 40 days'],
  [{ backupRetention: Duration.hours(36) }, 'backupRetention must be 1 to 35 whole days, got 1.5 days'],
  [{ staleAfter: Duration.minutes(1) }, 'staleAfter must be whole minutes, 10 or more, got 1'],
  [{ lagAlarm: Duration.seconds(0) }, 'lagAlarm must be more than 0 seconds'],
];
test.each(wrong)('fails when options are %j', (options, message) => {
  expect(() => make(options)).toThrow(message);
});

test('fails when it is bound to nothing', () => {
  expect(() => MailDirectory.aurora().bind(testStack())).toThrow('MailDirectory.aurora() needs vpc, nodeSubnets');
});
