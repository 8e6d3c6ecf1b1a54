import { Duration, Size, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { ManagedPolicy } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AccessLogBucket, MailArchive, MailJournal, MailJournalProps } from '../../lib/archive';
import { acknowledge } from '../../lib/compliance';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

/** A journal in an archive, and the policy that a node gets for it. */
function journal(stack: Stack, props: Partial<MailJournalProps> = {}): MailJournal {
  const { key } = new MailKey(stack, 'Key');
  const accessLogsBucket = new AccessLogBucket(stack, 'Logs').bucket;
  const { bucket } = new MailArchive(stack, 'Archive', { encryptionKey: key, accessLogsBucket });
  const made = new MailJournal(stack, 'Journal', { bucket, logEncryptionKey: key, accessLogsBucket, ...props });
  const policy = new ManagedPolicy(stack, 'NodePolicy', { statements: made.configuration.statements });
  acknowledge(policy, ...made.configuration.acknowledgements!);
  made.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  return made;
}

function nodeStatements(stack: Stack): { [property: string]: unknown }[] {
  const policies = Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy');
  const id = Object.keys(policies).find((name) => name.startsWith('NodePolicy'))!;
  return policies[id].Properties.PolicyDocument.Statement;
}

describe.each(flagSets)('with $flags', ({ context }) => {
  test('has no open findings', () => {
    const stack = testStack(context);
    journal(stack);
    expect(openFindings(stack)).toEqual([]);
  });
});

test('nodes may add messages to the journal, and reports of erasure, and neither write over, read nor delete anything', () => {
  const stack = testStack();
  journal(stack);
  expect(nodeStatements(stack)).toEqual([
    {
      Sid: 'AddToJournal',
      Effect: 'Allow',
      Action: 's3:PutObject',
      Resource: ['journal', 'erasure'].map((folder) => ({
        'Fn::Join': ['', [{ 'Fn::GetAtt': ['ArchiveBucket49F1AC64', 'Arn'] }, `/${folder}/*`]],
      })),
      Condition: { Null: { 's3:if-none-match': 'false' } },
    },
    {
      Sid: 'EncryptJournal',
      Effect: 'Allow',
      Action: 'kms:GenerateDataKey',
      Resource: { 'Fn::GetAtt': [expect.stringMatching(/^Key/), 'Arn'] },
      Condition: { StringEquals: { 'kms:ViaService': { 'Fn::Join': ['', expect.arrayContaining(['s3.'])] } } },
    },
  ]);
});

test('tells nodes the bucket and how much may wait', () => {
  const stack = testStack();
  const { environment } = journal(stack, { waitingMax: Size.gibibytes(1) }).configuration;
  expect(stack.resolve(environment)).toEqual({
    MAIL_JOURNAL_BUCKET: { Ref: 'ArchiveBucket49F1AC64' },
    MAIL_JOURNAL_WAITING_MAX: '1073741824',
  });
});

describe('sealed', () => {
  test('has keys of its own, and nodes are told and may use them; no open findings', () => {
    const stack = testStack();
    const { configuration, keys } = journal(stack, { sealed: true });
    expect(stack.resolve(configuration.environment)).toMatchObject({
      MAIL_JOURNAL_KEYS: stack.resolve(keys!.bucket.bucketName),
    });
    expect(nodeStatements(stack).map(({ Sid }) => Sid)).toEqual([
      ...['AddToJournal', 'EncryptJournal'],
      ...['MakeJournalKeys', 'ReadPublicHalves', 'SeeThatThereIsNoKey', 'EncryptPrivateHalves'],
    ]);
    expect(openFindings(stack)).toEqual([]);
  });

  test('who reads or restores may open messages, who erases may destroy keys, and no more', () => {
    const rights = (grant: (made: MailJournal, policy: ManagedPolicy) => void) => {
      const stack = testStack();
      const made = journal(stack, { sealed: true });
      grant(made, new ManagedPolicy(stack, 'Given'));
      const policies = Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy');
      const id = Object.keys(policies).find((name) => name.startsWith('Given'))!;
      const statements: { Action: string | string[]; Resource: unknown }[] =
        policies[id].Properties.PolicyDocument.Statement;
      const ofKeys = statements.filter(({ Resource }) => JSON.stringify(Resource).includes('JournalKeys'));
      return ofKeys.flatMap(({ Action }) => Action).sort();
    };
    const open = ['kms:Decrypt', 's3:GetObject', 's3:ListBucket'];
    expect(rights((made, policy) => made.grantRead(policy))).toEqual(open);
    expect(rights((made, policy) => made.grantRestore(policy))).toEqual(open);
    expect(rights((made, policy) => made.grantErase(policy))).toEqual([
      ...['s3:DeleteObjectVersion', 's3:DeleteObjectVersion', 's3:ListBucketVersions'],
    ]);
  });

  test('fails with packs', () => {
    expect(() => journal(testStack(), { sealed: true, packs: true })).toThrow(
      'packs must be off in a sealed journal, whose messages zstd can not read out of a pack; remove one',
    );
  });
});

test('is attested by an evidence chain, unless that is not wanted', () => {
  const stack = testStack();
  expect(journal(stack).evidence).toBeDefined();
  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
    Environment: { Variables: Match.objectLike({ JOURNAL_BUCKET: { Ref: 'ArchiveBucket49F1AC64' } }) },
  });
  const without = testStack();
  expect(journal(without, { evidence: false }).evidence).toBeUndefined();
  Template.fromStack(without).resourceCountIs('AWS::Lambda::Function', 0);
});

test('an alarm goes off when mail waits for S3, and when no node tells of it', () => {
  const stack = testStack();
  journal(stack, { clusterName: 'Mail', waitingAlarm: Duration.minutes(30), evidence: false });
  const template = Template.fromStack(stack);
  const metric = {
    Namespace: 'MailPlatform',
    MetricName: 'JournalAge',
    Dimensions: [{ Name: 'Cluster', Value: 'Mail' }],
  };
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    ...metric,
    Statistic: 'Maximum',
    Threshold: 1800,
    ComparisonOperator: 'GreaterThanThreshold',
    AlarmActions: [Match.anyValue()],
  });
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    ...metric,
    Statistic: 'SampleCount',
    Threshold: 1,
    ComparisonOperator: 'LessThanThreshold',
    TreatMissingData: 'breaching',
  });
});

test('takes an imported bucket, with a key or without', () => {
  const stack = testStack();
  const bucket = Bucket.fromBucketName(stack, 'Bucket', 'their-bucket');
  const plain = new MailJournal(stack, 'Plain', { bucket, evidence: false });
  const encryptionKey = new Key(stack, 'TheirKey');
  const encrypted = new MailJournal(stack, 'Encrypted', { bucket, encryptionKey, evidence: false });
  expect(plain.configuration.statements).toHaveLength(1);
  expect(encrypted.configuration.statements).toHaveLength(2);
});

test.each<[string, Partial<MailJournalProps>, string]>([
  [
    'waitingMax is small',
    { waitingMax: Size.mebibytes(32) },
    'waitingMax must be whole MiB, 64 or more, got 32; raise waitingMax',
  ],
  [
    'waitingMax is no whole number',
    { waitingMax: Size.kibibytes(65537) },
    'waitingMax must be whole MiB, 64 or more, got 64.0009765625',
  ],
  [
    'waitingAlarm is short',
    { waitingAlarm: Duration.minutes(4) },
    'waitingAlarm must be whole minutes, 5 or more, got 4',
  ],
])('fails when %s', (_name, props, message) => {
  expect(() => journal(testStack(), props)).toThrow(message);
});
