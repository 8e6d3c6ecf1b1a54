import { Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AccessLogBucket, EvidenceChain, EvidenceChainProps, MailArchive } from '../../lib/archive';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

function evidence(stack: Stack, props: Partial<EvidenceChainProps> = {}): EvidenceChain {
  const { key } = new MailKey(stack, 'Key');
  const { bucket } = new MailArchive(stack, 'Archive', {
    encryptionKey: key,
    accessLogsBucket: new AccessLogBucket(stack, 'Logs').bucket,
  });
  const chain = new EvidenceChain(stack, 'Evidence', { bucket, logEncryptionKey: key, ...props });
  chain.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  return chain;
}

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = testStack(context);
  evidence(stack);
  const template = Template.fromStack(stack);

  test('signs with a key of its own that is kept, whose logical id stays', () => {
    const keys = template.findResources('AWS::KMS::Key', { Properties: { KeyUsage: 'SIGN_VERIFY' } });
    expect(Object.keys(keys)).toEqual(['EvidenceSigningKeyDB2F4715']);
    template.hasResource('AWS::KMS::Key', {
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: { KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' },
    });
  });

  test('nobody but the function can sign', () => {
    template.hasResourceProperties('AWS::KMS::Key', {
      KeyUsage: 'SIGN_VERIFY',
      KeyPolicy: {
        Statement: Match.arrayWith([
          {
            Sid: 'OnlyTheChainSigns',
            Effect: 'Deny',
            Principal: { AWS: '*' },
            Action: 'kms:Sign',
            Resource: '*',
            Condition: {
              ArnNotEquals: {
                'aws:PrincipalArn': { 'Fn::GetAtt': [Match.stringLikeRegexp('^EvidenceHandlerRole'), 'Arn'] },
              },
            },
          },
        ]),
      },
    });
  });

  test('runs every five minutes, and a run that failed is not repeated', () => {
    template.hasResourceProperties('AWS::Events::Rule', {
      ScheduleExpression: 'rate(5 minutes)',
      Targets: [Match.objectLike({ RetryPolicy: { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 } })],
    });
    template.hasResourceProperties('AWS::Lambda::Function', {
      Timeout: 600,
      Environment: {
        Variables: {
          JOURNAL_BUCKET: { Ref: Match.stringLikeRegexp('^Archive') },
          SIGNING_KEY: { 'Fn::GetAtt': ['EvidenceSigningKeyDB2F4715', 'Arn'] },
          CHAIN: 'Test',
          RECENT_HOURS: '3',
          SWEEP_VERSIONS: '20000',
          BATCH_ENTRIES: '50000',
          AWS_MAX_ATTEMPTS: '6',
        },
      },
    });
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });
});

test('may list, read, add evidence but overwrite or delete nothing, and sign', () => {
  const stack = testStack();
  evidence(stack);
  const [policy] = Object.values(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy'));
  const statements = policy.Properties.PolicyDocument.Statement as { [name: string]: unknown }[];
  const bucketArn = { 'Fn::GetAtt': ['ArchiveBucket49F1AC64', 'Arn'] };
  const below = (folder: string) => ({ 'Fn::Join': ['', [bucketArn, `/${folder}/*`]] });
  expect(statements.map(({ Action }) => Action).flat()).toEqual([
    's3:ListBucket',
    's3:ListBucketVersions',
    's3:GetObject',
    's3:GetObjectVersion',
    's3:PutObject',
    'kms:Sign',
    'kms:Decrypt',
    'kms:GenerateDataKey',
    'logs:CreateLogStream',
    'logs:PutLogEvents',
  ]);
  expect(statements[1].Resource).toEqual([below('journal'), below('evidence')]);
  expect(statements[2]).toMatchObject({
    Resource: below('evidence'),
    Condition: { Null: { 's3:if-none-match': 'false' } },
  });
  expect(statements[3].Resource).toEqual({ 'Fn::GetAtt': ['EvidenceSigningKeyDB2F4715', 'Arn'] });
});

test('alarms when batches stop, fail, or leave something out', () => {
  const stack = testStack();
  evidence(stack, { interval: Duration.minutes(10) });
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    MetricName: 'EvidenceBatches',
    Namespace: 'MailPlatform',
    Dimensions: [{ Name: 'EvidenceChain', Value: 'Test' }],
    Period: 1800,
    Statistic: 'Sum',
    Threshold: 1,
    ComparisonOperator: 'LessThanThreshold',
    TreatMissingData: 'breaching',
    AlarmActions: [{ Ref: 'AlertsTopicCF7C81C9' }],
  });
  template.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'Errors', TreatMissingData: 'notBreaching' });
  template.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'EvidenceNotCovered', Threshold: 0 });
});

test('tells how to get the public key', () => {
  const stack = testStack();
  const chain = evidence(stack);
  expect(chain.publicKeyCommand).toContain('| base64 --decode | openssl pkey -pubin -inform DER -out evidence.pem');
  expect(Object.keys(Template.fromStack(stack).findOutputs('*'))).toEqual(['EvidencePublicKeyCommandB91FC973']);
});

test("takes the owner's bucket and keys, and leaves their policies alone", () => {
  const stack = testStack();
  const arn = 'arn:aws:kms:eu-central-1:111122223333:key/';
  new EvidenceChain(stack, 'Evidence', {
    bucket: Bucket.fromBucketName(stack, 'Journal', 'existing-journal'),
    encryptionKey: Key.fromKeyArn(stack, 'JournalKey', `${arn}journal`),
    signingKey: Key.fromKeyArn(stack, 'SigningKey', `${arn}signing`),
  });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::KMS::Key', 0);
  template.resourceCountIs('AWS::S3::Bucket', 0);
  template.hasResourceProperties('AWS::IAM::ManagedPolicy', {
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({ Sid: 'SignBatches', Resource: `${arn}signing` }),
        Match.objectLike({ Sid: 'UseJournalKey', Resource: `${arn}journal` }),
      ]),
    },
  });
});

test.each<[Partial<EvidenceChainProps>, string]>([
  [{ interval: Duration.seconds(90) }, 'interval must be 1 to 60 whole minutes, got 1.5'],
  [{ recent: Duration.days(3) }, 'recent must be 1 to 48 whole hours, got 72'],
  [{ sweepObjects: 10 }, 'sweepObjects must be 1000 to 1000000 whole objects, got 10'],
])('fails when it is given %j', (props, message) => {
  expect(() => evidence(testStack(), props)).toThrow(message);
});
