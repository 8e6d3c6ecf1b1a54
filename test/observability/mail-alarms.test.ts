import { Duration, Size, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { FileSystem } from 'aws-cdk-lib/aws-efs';
import { SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { MailAccess, MailService } from '../../lib/access';
import { SingleSignOn } from '../../lib/directory';
import { MailEdge } from '../../lib/edge';
import { MailNetwork } from '../../lib/network';
import { FleetOptions, MailBundle, MailFleet } from '../../lib/node';
import { MailAlarms, MailAlarmsProps } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { MailStorage } from '../../lib/storage';
import { environments, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

const services = [MailService.IMAPS, MailService.SUBMISSION];

/** Everything that can be watched. */
function parts(stack: Stack, options: FleetOptions = {}) {
  const network = new MailNetwork(stack, 'Network');
  const access = new MailAccess(stack, 'Access', { vpc: network.vpc, services });
  const hostedZone = new PublicHostedZone(stack, 'Zone', { zoneName: 'mail.example.com' });
  const edge = new MailEdge(stack, 'Edge', {
    network,
    securityGroup: access.edgeSecurityGroup,
    services,
    hostname: 'mail.example.com',
    hostedZone,
  });
  const store = MailStorage.efs().bind(stack, {
    vpc: network.vpc,
    subnets: network.storageSubnets,
    securityGroup: access.storageSecurityGroup,
  });
  const fleet = new MailFleet(stack, 'Fleet', {
    vpc: network.vpc,
    vpcSubnets: network.nodeSubnets,
    securityGroup: access.nodeSecurityGroup,
    hostname: 'mail.example.com',
    domains: ['example.com'],
    services,
    configurations: [],
    bundle: new MailBundle(stack, 'Bundle', { path: __dirname }),
    ...options,
  });
  return { edge, store, fleet, certificate: edge.certificate };
}

function alarms(template: Template): { [id: string]: { [property: string]: unknown } } {
  return Object.fromEntries(
    Object.entries(template.findResources('AWS::CloudWatch::Alarm'))
      // Target tracking makes alarms of its own, outside the template.
      .map(([id, { Properties }]) => [id.replace(/^Alarms/, '').replace(/[0-9A-F]{8}$/, ''), Properties]),
  );
}

test.each(environments)('watches everything in $where, and each alarm says what to check first', ({ env }) => {
  const stack = testStack({}, env);
  new MailAlarms(stack, 'Alarms', { ...parts(stack), storeSizeMax: Size.tebibytes(1) });
  const found = alarms(Template.fromStack(stack));
  expect(Object.keys(found).sort()).toEqual([
    'BalancerCertificateExpires',
    'ClientTlsErrors',
    'ConnectionsHigh',
    'CpuHigh',
    'DirectoryOld',
    'DiskFull',
    'LeaseLost',
    'LeaseSlow',
    'LoginFailureRateHigh',
    'LoginsFail',
    'MembersLow',
    'MemoryHigh',
    'NodeCertificateExpires',
    'NodesNotReady',
    'NodesSilent',
    'QueueLong',
    'QueueOld',
    'StoreLarge',
    'StoreOperationsHigh',
    'StoreSlow',
    'StoreThroughputHigh',
    'TargetTlsErrors',
    'UnhealthyHosts',
  ]);
  for (const alarm of Object.values(found)) {
    expect(alarm.AlarmDescription).toMatch(/\. Check first: .{20,}\.$/);
    expect((alarm.AlarmDescription as string).length).toBeLessThanOrEqual(1024);
    expect(alarm.AlarmActions).toEqual([{ Ref: expect.stringMatching(/^AlarmsTopic/) }]);
    expect(alarm.OKActions).toEqual(alarm.AlarmActions);
  }
  expect(openFindings(stack).filter((line) => line.includes(' Test/Alarms/'))).toEqual([]);
});

test('has the thresholds that were asked for', () => {
  const stack = testStack();
  new MailAlarms(stack, 'Alarms', { ...parts(stack), storeSizeMax: Size.tebibytes(1) });
  const found = alarms(Template.fromStack(stack));
  expect(found.CpuHigh).toMatchObject({ Threshold: 80, ComparisonOperator: 'GreaterThanThreshold' });
  expect(found.NodeCertificateExpires).toMatchObject({ Threshold: 30, ComparisonOperator: 'LessThanThreshold' });
  expect(found.BalancerCertificateExpires).toMatchObject({ Threshold: 30, MetricName: 'DaysToExpiry' });
  expect(found.DirectoryOld).toMatchObject({
    ...{ Threshold: 900, MetricName: 'DirectoryAge', Statistic: 'Maximum', EvaluationPeriods: 1 },
    ...{ ComparisonOperator: 'GreaterThanThreshold', TreatMissingData: 'notBreaching' },
  });
  expect(found.QueueOld).toMatchObject({ Threshold: 1800, MetricName: 'QueueAge' });
  expect(found.StoreLarge).toMatchObject({ Threshold: 2 ** 40 });
  expect(found.NodesSilent).toMatchObject({ TreatMissingData: 'breaching', Statistic: 'SampleCount' });
  expect(found.MembersLow).toMatchObject({ Threshold: 3, MetricName: 'Members', Statistic: 'Minimum' });
  expect(found.LeaseLost).toMatchObject({ Threshold: 0, MetricName: 'LeasesLost', EvaluationPeriods: 1 });
  expect(found.LeaseSlow).toMatchObject({
    Threshold: 2000,
    MetricName: 'LeaseAge',
    Statistic: 'Maximum',
    EvaluationPeriods: 3,
  });
  expect(found.QueueLong).toMatchObject({ Threshold: 1000, MetricName: 'QueueLength', Statistic: 'Maximum' });
  expect(found.UnhealthyHosts).toMatchObject({ Threshold: 0, EvaluationPeriods: 5, Period: 60 });
});

test.each<[string, (all: ReturnType<typeof parts>) => MailAlarmsProps, number]>([
  ['nothing', () => ({}), 0],
  ['the fleet alone', ({ fleet }) => ({ fleet }), 15],
  ['the balancer alone', ({ edge }) => ({ edge }), 3],
  ['the store alone', ({ store }) => ({ store }), 2],
  ['the certificate alone', ({ certificate }) => ({ certificate }), 1],
])('watches %s', (_name, choose, count) => {
  const stack = testStack();
  new MailAlarms(stack, 'Alarms', choose(parts(stack)));
  Template.fromStack(stack).resourceCountIs('AWS::CloudWatch::Alarm', count);
});

test('watches the keys of an identity provider, if there is one', () => {
  const stack = testStack();
  const singleSignOn = SingleSignOn.openId({ issuer: 'https://login.example.com', clientId: 'mail' }).bind(stack, {
    hostname: 'mail.example.com',
    encryptionKey: new MailKey(stack, 'SignInKey').key,
  });
  new MailAlarms(stack, 'Alarms', { fleet: parts(stack).fleet, singleSignOn });
  expect(alarms(Template.fromStack(stack)).TokenKeysOld).toMatchObject({
    ...{ MetricName: 'TokenKeysAge', Namespace: 'MailPlatform', Statistic: 'Maximum', Threshold: 3600 },
    ...{ ComparisonOperator: 'GreaterThanThreshold', TreatMissingData: 'notBreaching' },
    AlarmDescription: expect.stringContaining('the keys of https://login.example.com for more than an hour'),
  });
});

test('waits for a boot before it calls a new node bad', () => {
  const stack = testStack();
  const { edge, fleet } = parts(stack, { bootTimeout: Duration.minutes(7), pauseTime: Duration.minutes(7) });
  new MailAlarms(stack, 'Alarms', { edge, fleet });
  expect(alarms(Template.fromStack(stack)).NodesNotReady).toMatchObject({
    MetricName: 'UnHealthyHostCount',
    Statistic: 'Maximum',
    Period: 60,
    Threshold: 0,
    EvaluationPeriods: 12,
    DatapointsToAlarm: 7,
    TreatMissingData: 'notBreaching',
  });
});

test.each([
  ['the usual thresholds', {}, { failed: 50, rate: 5, from: 100 }],
  [
    'others',
    { failedLoginsMax: 500, loginFailureRateMax: 20, loginFailureRateFrom: 1000 },
    { failed: 500, rate: 20, from: 1000 },
  ],
])('tells of failed logins in an hour, by number and by share: %s', (_name, thresholds, expected) => {
  const stack = testStack();
  new MailAlarms(stack, 'Alarms', { fleet: parts(stack).fleet, ...thresholds });
  const { LoginsFail, LoginFailureRateHigh } = alarms(Template.fromStack(stack));
  expect(LoginsFail).toMatchObject({
    MetricName: 'FailedLogins',
    Statistic: 'Sum',
    Period: 3600,
    EvaluationPeriods: 1,
    Threshold: expected.failed,
  });
  expect(LoginFailureRateHigh).toMatchObject({ Threshold: expected.rate, EvaluationPeriods: 1 });
  const metrics = LoginFailureRateHigh.Metrics as { Id: string; Expression?: string; MetricStat?: object }[];
  expect(metrics.map(({ Id, Expression }) => [Id, Expression])).toEqual([
    ['expr_1', `IF(good + failed >= ${expected.from}, 100 * failed / (good + failed), 0)`],
    ['good', undefined],
    ['failed', undefined],
  ]);
  expect(metrics[1].MetricStat).toMatchObject({ Metric: { MetricName: 'Logins' }, Period: 3600, Stat: 'Sum' });
  expect(metrics[2].MetricStat).toMatchObject({ Metric: { MetricName: 'FailedLogins' }, Period: 3600, Stat: 'Sum' });
});

test('names the alarms that mean that new nodes are bad', () => {
  const stack = testStack();
  const { rollbackAlarms } = new MailAlarms(stack, 'Alarms', parts(stack));
  expect(rollbackAlarms.map(({ node }) => node.id)).toEqual([
    'NodesNotReady',
    'MembersLow',
    'LeaseLost',
    'QueueLong',
    'TargetTlsErrors',
  ]);
});

test('tells a topic that is there already', () => {
  const stack = testStack();
  const topic = Topic.fromTopicArn(stack, 'Imported', 'arn:aws:sns:eu-central-1:111122223333:ops');
  new MailAlarms(stack, 'Alarms', { store: parts(stack).store, topic });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::SNS::Topic', 0);
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    AlarmActions: [topic.topicArn],
    OKActions: [topic.topicArn],
  });
});

test('watches burst credits of an imported file system only', () => {
  const stack = testStack();
  const network = new MailNetwork(stack, 'Network');
  const store = MailStorage.efs({
    fileSystem: FileSystem.fromFileSystemAttributes(stack, 'Imported', {
      fileSystemId: 'fs-0123456789abcdef0',
      securityGroup: SecurityGroup.fromSecurityGroupId(stack, 'ImportedGroup', 'sg-0123456789abcdef0'),
    }),
  }).bind(stack, {
    vpc: network.vpc,
    subnets: network.storageSubnets,
    securityGroup: SecurityGroup.fromSecurityGroupId(stack, 'Store', 'sg-0123456789abcdef1'),
  });
  new MailAlarms(stack, 'Alarms', { store });
  Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', {
    MetricName: 'BurstCreditBalance',
    Threshold: Match.anyValue(),
  });
});

test.each<[MailAlarmsProps, string]>([
  [{ queueLengthMax: 0 }, 'alarmThresholds.queueLengthMax must be 1 or more, got 0; change queueLengthMax'],
  [{ queueAgeMax: Duration.seconds(5) }, 'alarmThresholds.queueAgeMax must be 60 or more, got 5'],
  [{ certificateDaysMin: -1 }, 'alarmThresholds.certificateDaysMin must be 1 or more, got -1'],
  [{ clientTlsErrorsMax: -1 }, 'alarmThresholds.clientTlsErrorsMax must be 0 or more, got -1'],
  [{ failedLoginsMax: -1 }, 'alarmThresholds.failedLoginsMax must be 0 or more, got -1'],
  [{ loginFailureRateMax: 100 }, 'alarmThresholds.loginFailureRateMax must be 0 to 99, got 100'],
  [{ loginFailureRateFrom: NaN }, 'alarmThresholds.loginFailureRateFrom must be 1 or more, got NaN'],
  [{ storeSizeMax: Size.bytes(0) }, 'alarmThresholds.storeSizeMax must be 1 or more, got 0'],
])('fails when it is given %j', (props, message) => {
  expect(() => new MailAlarms(testStack(), 'Alarms', props)).toThrow(message);
});
