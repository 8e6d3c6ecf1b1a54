import { Duration, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AccessLogBucket, ArchiveLock, JournalPacks, JournalPacksProps, MailArchive } from '../../lib/archive';
import { RetentionProfile } from '../../lib/compliance';
import { MailStack, MailStackProps } from '../../lib/mail-stack';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

function packs(stack: Stack, props: Partial<JournalPacksProps> = {}): JournalPacks {
  const { key } = new MailKey(stack, 'Key');
  const { bucket } = new MailArchive(stack, 'Archive', {
    encryptionKey: key,
    accessLogsBucket: new AccessLogBucket(stack, 'Logs').bucket,
  });
  const made = new JournalPacks(stack, 'Packs', { bucket, logEncryptionKey: key, ...props });
  made.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  return made;
}

describe.each(flagSets)('with $flags', ({ context }) => {
  test('has no open findings', () => {
    const stack = testStack(context);
    packs(stack);
    expect(openFindings(stack)).toEqual([]);
  });
});

test('runs every hour, and a run that failed is not repeated', () => {
  const stack = testStack();
  packs(stack, { maxAge: Duration.days(3), onlyAttested: false });
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Events::Rule', {
    ScheduleExpression: 'rate(1 hour)',
    Targets: [Match.objectLike({ RetryPolicy: { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 } })],
  });
  template.hasResourceProperties('AWS::Lambda::Function', {
    Timeout: 900,
    Environment: {
      Variables: {
        JOURNAL_BUCKET: { Ref: Match.stringLikeRegexp('^Archive') },
        JOURNAL: 'Test',
        ONLY_ATTESTED: 'false',
        MAX_AGE_DAYS: '3',
        AWS_MAX_ATTEMPTS: '6',
      },
    },
  });
});

test('may write packs but over nothing, delete messages and packs, and leave evidence alone', () => {
  const stack = testStack();
  packs(stack);
  const [policy] = Object.values(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy'));
  const statements = policy.Properties.PolicyDocument.Statement as { [name: string]: unknown }[];
  const below = (folder: string) => ({
    'Fn::Join': ['', [{ 'Fn::GetAtt': ['ArchiveBucket49F1AC64', 'Arn'] }, `/${folder}/*`]],
  });
  const allowing = (action: string) => statements.filter(({ Action }) => [Action].flat().includes(action));
  expect(allowing('s3:PutObject')).toEqual([
    expect.objectContaining({ Resource: below('packs'), Condition: { Null: { 's3:if-none-match': 'false' } } }),
  ]);
  expect(allowing('s3:DeleteObjectVersion')).toEqual([
    expect.objectContaining({ Resource: [below('journal'), below('packs')] }),
  ]);
  expect(allowing('s3:GetObject')).toEqual([
    expect.objectContaining({ Resource: [below('journal'), below('packs'), below('evidence')] }),
  ]);
  expect(statements.flatMap(({ Action }) => Action)).not.toContain('s3:DeleteObject');
});

test('alarms when no run has come to its end for a day, and when something is not what was attested', () => {
  const stack = testStack();
  packs(stack);
  const template = Template.fromStack(stack);
  for (const [MetricName, Period, TreatMissingData] of [
    ['PackRuns', 86_400, 'breaching'],
    ['NotPacked', 3600, 'notBreaching'],
  ]) {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      ...{ MetricName, Period, TreatMissingData, Namespace: 'MailPlatform' },
      Dimensions: [{ Name: 'Journal', Value: 'Test' }],
    });
  }
});

test('fails when maxAge leaves no time to pack', () => {
  expect(() => packs(testStack(), { maxAge: Duration.days(1) })).toThrow('maxAge must be whole days, 2 or more, got 1');
});

describe('of a MailStack with a journal', () => {
  const YEAR = Duration.days(365);
  const stackWith = (props: Partial<MailStackProps>) =>
    new MailStack(testStack().node.root, 'MailStack', { domain: 'example.com', journal: {}, ...props });

  test.each<[string, (owner: Stack) => Partial<MailStackProps>, boolean]>([
    ['that is kept', () => ({}), true],
    ['that is kept for a year', () => ({ retention: RetentionProfile.custom('x', { journalMax: YEAR }) }), true],
    ['that is kept for half a year', () => ({ retention: RetentionProfile.gdpr() }), false],
    ['that is locked', () => ({ archiveLock: ArchiveLock.governance(YEAR) }), false],
    [
      'in a bucket of the owner',
      (owner) => ({ archiveBucket: Bucket.fromBucketName(owner, 'Bucket', 'archive') }),
      false,
    ],
    ['when it is not wanted', () => ({ journal: { packs: false } }), false],
  ])('%s: packs: %s', (_name, props, expected) => {
    const stack = stackWith(props(testStack()));
    expect(stack.journal!.packs !== undefined).toBe(expected);
  });

  test('packs of a journal that is deleted are not older than what is in them may be', () => {
    const template = Template.fromStack(stackWith({ journal: { packs: true }, retention: RetentionProfile.gdpr() }));
    template.hasResourceProperties('AWS::S3::Bucket', {
      LifecycleConfiguration: {
        Rules: Match.arrayWith([Match.objectLike({ Prefix: 'packs/', ExpirationInDays: 179 })]),
      },
    });
    template.hasResourceProperties('AWS::Lambda::Function', {
      Environment: { Variables: Match.objectLike({ MAX_AGE_DAYS: '3' }) },
    });
  });

  test('says at synth that a locked archive has no packs, and fails when they are asked for', () => {
    const locked = { archiveLock: ArchiveLock.governance(YEAR) };
    Annotations.fromStack(stackWith(locked)).hasInfo('*', Match.stringLikeRegexp('stay single objects'));
    expect(() => stackWith({ ...locked, journal: { packs: true } })).toThrow(
      'journal.packs must be off where archiveLock keeps the originals',
    );
  });
});
