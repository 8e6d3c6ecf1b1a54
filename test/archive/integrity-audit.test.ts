import { Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { AccessLogBucket, EvidenceChain, IntegrityAudit, IntegrityAuditProps, MailArchive } from '../../lib/archive';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

function audit(stack: Stack, props: Partial<IntegrityAuditProps> = {}): IntegrityAudit {
  const { key } = new MailKey(stack, 'Key');
  const { bucket } = new MailArchive(stack, 'Archive', {
    encryptionKey: key,
    accessLogsBucket: new AccessLogBucket(stack, 'Logs').bucket,
  });
  const { signingKey } = new EvidenceChain(stack, 'Evidence', { bucket, logEncryptionKey: key });
  const made = new IntegrityAudit(stack, 'Audit', { bucket, signingKey, logEncryptionKey: key, ...props });
  made.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  return made;
}

describe.each(flagSets)('with $flags', ({ context }) => {
  test('has no open findings', () => {
    const stack = testStack(context);
    audit(stack);
    expect(openFindings(stack)).toEqual([]);
  });
});

test('samples 1000 messages a day and looks at all within a week, or as asked', () => {
  const variables = (props: Partial<IntegrityAuditProps>) => {
    const stack = testStack();
    audit(stack, props);
    const functions = Template.fromStack(stack).findResources('AWS::Lambda::Function', {
      Properties: { Environment: { Variables: Match.objectLike({ SAMPLE: Match.anyValue() }) } },
    });
    return Object.values(functions)[0].Properties.Environment.Variables;
  };
  expect(variables({})).toMatchObject({ SAMPLE: '1000', PERIOD_DAYS: '7', KEPT_DAYS: '0', CHAIN: 'Test' });
  const asked = { sampleSize: 50, fullPeriod: Duration.days(30), expireAfter: Duration.days(180) };
  expect(variables(asked)).toMatchObject({ SAMPLE: '50', PERIOD_DAYS: '30', KEPT_DAYS: '180' });
});

test('may read, and write nothing but its own state', () => {
  const stack = testStack();
  audit(stack);
  const policies = Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy');
  const [id] = Object.keys(policies).filter((name) => name.startsWith('Audit'));
  const statements = policies[id].Properties.PolicyDocument.Statement as { [name: string]: unknown }[];
  expect(statements.flatMap(({ Action }) => Action)).toEqual([
    's3:ListBucket',
    's3:ListBucketVersions',
    's3:GetObject',
    's3:GetObjectVersion',
    's3:PutObject',
    'kms:GetPublicKey',
    'kms:Decrypt',
    'kms:GenerateDataKey',
    'logs:CreateLogStream',
    'logs:PutLogEvents',
  ]);
  expect(statements[2].Resource).toEqual({
    'Fn::Join': ['', [{ 'Fn::GetAtt': ['ArchiveBucket49F1AC64', 'Arn'] }, '/audit/state.json']],
  });
});

test('alarms when something is broken or gone, and when no audit was made', () => {
  const stack = testStack();
  audit(stack);
  const template = Template.fromStack(stack);
  for (const [MetricName, Threshold, TreatMissingData] of [
    ['AuditBroken', 0, 'notBreaching'],
    ['AuditNewlyMissing', 0, 'notBreaching'],
    ['AuditSampleAge', 2 * 86_400, 'breaching'],
    ['AuditPassAge', 14 * 86_400, 'notBreaching'],
  ]) {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      ...{ MetricName, Threshold, TreatMissingData, Namespace: 'MailPlatform' },
      Dimensions: [{ Name: 'EvidenceChain', Value: 'Test' }],
    });
  }
});

test.each<[string, Partial<IntegrityAuditProps>]>([
  ['sampleSize must be 1 to 10000 whole messages, got 0', { sampleSize: 0 }],
  ['fullPeriod must be 1 to 365 whole days, got 0.5', { fullPeriod: Duration.hours(12) }],
])('fails when %s', (message, props) => {
  expect(() => audit(testStack(), props)).toThrow(message);
});
