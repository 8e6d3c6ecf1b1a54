import { Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { AccessLogBucket, ArchiveCopy, ArchiveCopyProps, MailArchive } from '../../lib/archive';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

const SECRET = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:copy-AbCdEf';

function archiveCopy(stack: Stack, props: Partial<ArchiveCopyProps> = {}): ArchiveCopy {
  const { key } = new MailKey(stack, 'Key');
  const accessLogsBucket = new AccessLogBucket(stack, 'Logs').bucket;
  const made = new ArchiveCopy(stack, 'Copy', {
    bucket: new MailArchive(stack, 'Archive', { encryptionKey: key, accessLogsBucket }).bucket,
    endpoint: 'https://s3.example.net',
    bucketName: 'mail-copy',
    credentials: Secret.fromSecretCompleteArn(stack, 'Credentials', SECRET),
    logEncryptionKey: key,
    ...props,
  });
  made.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  return made;
}

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = testStack(context);
  archiveCopy(stack);
  const template = Template.fromStack(stack);

  test('new objects of journal, packs and evidence come to a queue', () => {
    const archive = { Ref: 'ArchiveBucket49F1AC64' };
    expect(template.toJSON().Resources[archive.Ref].Properties.NotificationConfiguration).toEqual({
      EventBridgeConfiguration: { EventBridgeEnabled: true },
    });
    template.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: {
        source: ['aws.s3'],
        'detail-type': ['Object Created'],
        detail: {
          bucket: { name: [archive] },
          object: { key: [{ prefix: 'journal/' }, { prefix: 'packs/' }, { prefix: 'evidence/' }] },
        },
      },
      Targets: [Match.objectLike({ Arn: { 'Fn::GetAtt': [Match.stringLikeRegexp('^CopyQueue'), 'Arn'] } })],
    });
  });

  test('what fails is tried again after three minutes, for two days, and kept for two weeks then', () => {
    template.hasResourceProperties('AWS::SQS::Queue', {
      VisibilityTimeout: 180,
      RedrivePolicy: {
        maxReceiveCount: 1000,
        deadLetterTargetArn: { 'Fn::GetAtt': [Match.stringLikeRegexp('^CopyDeadLetters'), 'Arn'] },
      },
    });
    template.allResourcesProperties('AWS::SQS::Queue', {
      MessageRetentionPeriod: 1_209_600,
      SqsManagedSseEnabled: true,
    });
    template.hasResourceProperties('AWS::Lambda::EventSourceMapping', {
      BatchSize: 50,
      MaximumBatchingWindowInSeconds: 10,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      ScalingConfig: { MaximumConcurrency: 10 },
    });
    // SQS gives a message to another run when the visibility timeout is over.
    template.hasResourceProperties('AWS::Lambda::Function', {
      Timeout: 120,
      Environment: {
        Variables: {
          ARCHIVE_BUCKET: { Ref: 'ArchiveBucket49F1AC64' },
          COPY_ENDPOINT: 'https://s3.example.net',
          COPY_REGION: 'us-east-1',
          COPY_BUCKET: 'mail-copy',
          COPY_SECRET: SECRET,
          ARCHIVE: 'Test',
        },
      },
    });
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });
});

test('may read journal, packs, evidence and one secret, and change nothing', () => {
  const stack = testStack();
  archiveCopy(stack);
  const [policy] = Object.values(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy'));
  const statements = policy.Properties.PolicyDocument.Statement as { [name: string]: unknown }[];
  expect(statements.flatMap(({ Action }) => Action)).toEqual([
    's3:ListBucket',
    's3:ListBucketVersions',
    's3:GetObject',
    's3:GetObjectVersion',
    'kms:Decrypt',
    'secretsmanager:GetSecretValue',
    'sqs:ReceiveMessage',
    'sqs:DeleteMessage',
    'sqs:ChangeMessageVisibility',
    'sqs:GetQueueAttributes',
    'logs:CreateLogStream',
    'logs:PutLogEvents',
  ]);
  const below = (folder: string) => ({
    'Fn::Join': ['', [{ 'Fn::GetAtt': ['ArchiveBucket49F1AC64', 'Arn'] }, `/${folder}/*`]],
  });
  expect(statements[1].Resource).toEqual([below('journal'), below('packs'), below('evidence')]);
  expect(statements[3].Resource).toEqual(SECRET);
});

test('alarms when the copy is behind, waits, or was given up', () => {
  const stack = testStack();
  archiveCopy(stack, { lateAfter: Duration.minutes(10) });
  const template = Template.fromStack(stack);
  for (const [Namespace, MetricName, Threshold] of [
    ['MailPlatform', 'ArchiveCopyLag', 600],
    ['AWS/SQS', 'ApproximateAgeOfOldestMessage', 600],
    ['AWS/SQS', 'ApproximateNumberOfMessagesVisible', 0],
  ]) {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      Namespace,
      MetricName,
      Threshold,
      Period: 60,
      EvaluationPeriods: 1,
      ComparisonOperator: 'GreaterThanThreshold',
      AlarmActions: [{ Ref: 'AlertsTopicCF7C81C9' }],
    });
  }
});

test("takes the owner's bucket, whose settings stay the owner's", () => {
  const stack = testStack();
  archiveCopy(stack, { bucket: Bucket.fromBucketName(stack, 'Imported', 'existing-archive') });
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Events::Rule', {
    EventPattern: Match.objectLike({ detail: Match.objectLike({ bucket: { name: ['existing-archive'] } }) }),
  });
  expect(template.toJSON().Resources.ArchiveBucket49F1AC64.Properties.NotificationConfiguration).toBeUndefined();
});

test.each<[Partial<ArchiveCopyProps>, string]>([
  [{ endpoint: 'http://s3.example.net' }, 'endpoint must be https:// and a host such as https://s3.example.net, got'],
  [{ endpoint: 'https://s3.example.net/path' }, 'endpoint must be https:// and a host'],
  [{ bucketName: 'Mail_Copy' }, 'bucketName must be 3 to 63 of lower-case letters, digits, dots and hyphens, got "M'],
  [{ lateAfter: Duration.minutes(2) }, 'lateAfter must be 4 to 1440 whole minutes, got 2'],
  [{ concurrency: 1 }, 'concurrency must be 2 to 1000 whole batches, got 1'],
])('fails when it is given %j', (props, message) => {
  expect(() => archiveCopy(testStack(), props)).toThrow(message);
});
