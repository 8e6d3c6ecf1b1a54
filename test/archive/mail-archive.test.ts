import { Duration } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AccessLogBucket, ArchiveLock, MailArchive, MailArchiveProps } from '../../lib/archive';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

test.each(flagSets)('is versioned, tiered, kept, and access-logged by bucket policy with $flags', ({ context }) => {
  const stack = testStack(context);
  const accessLogsBucket = new AccessLogBucket(stack, 'Logs').bucket;
  new MailArchive(stack, 'Archive', { accessLogsBucket });
  const template = Template.fromStack(stack);
  template.hasResource('AWS::S3::Bucket', {
    DeletionPolicy: 'Retain',
    UpdateReplacePolicy: 'Retain',
    Properties: {
      VersioningConfiguration: { Status: 'Enabled' },
      ObjectLockEnabled: true,
      ObjectLockConfiguration: Match.absent(),
      LoggingConfiguration: {
        DestinationBucketName: { Ref: Match.stringLikeRegexp('^LogsBucket') },
        LogFilePrefix: 'archive/',
      },
      LifecycleConfiguration: {
        Rules: [
          Match.objectLike({
            Transitions: [
              { StorageClass: 'GLACIER_IR', TransitionInDays: 90 },
              { StorageClass: 'DEEP_ARCHIVE', TransitionInDays: 365 },
            ],
          }),
          {
            Id: 'expire-erasure-reports',
            Status: 'Enabled',
            Prefix: 'erasure/',
            ExpirationInDays: 90,
            NoncurrentVersionExpiration: { NoncurrentDays: 1 },
          },
        ],
      },
    },
  });
  template.hasResourceProperties('AWS::S3::BucketPolicy', {
    Bucket: { Ref: Match.stringLikeRegexp('^LogsBucket') },
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({ Action: 's3:PutObject', Principal: { Service: 'logging.s3.amazonaws.com' } }),
      ]),
    },
  });
  expect(openFindings(stack)).toEqual([]);
});

test.each([
  ['a key of its own', false],
  ["the owner's key", true],
])('encrypts with %s', (_name, bring) => {
  const stack = testStack();
  const encryptionKey = bring ? new Key(stack, 'Mine') : undefined;
  const archive = new MailArchive(stack, 'Archive', { encryptionKey });
  Template.fromStack(stack).hasResourceProperties('AWS::S3::Bucket', {
    BucketEncryption: {
      ServerSideEncryptionConfiguration: [
        {
          ServerSideEncryptionByDefault: {
            SSEAlgorithm: 'aws:kms',
            KMSMasterKeyID: stack.resolve(archive.encryptionKey!.keyArn),
          },
          BucketKeyEnabled: true,
        },
      ],
    },
  });
  Template.fromStack(stack).resourceCountIs('AWS::KMS::Key', 1);
});

test.each([
  ['GOVERNANCE', ArchiveLock.governance(Duration.days(30)), 30],
  ['COMPLIANCE', ArchiveLock.compliance(Duration.days(2557)), 2557],
])('locks objects in mode %s', (mode, objectLock, days) => {
  const stack = testStack();
  new MailArchive(stack, 'Archive', { objectLock });
  Template.fromStack(stack).hasResourceProperties('AWS::S3::Bucket', {
    ObjectLockConfiguration: { Rule: { DefaultRetention: { Mode: mode, Days: days } } },
  });
});

test('takes a bucket that is there already', () => {
  const stack = testStack();
  const bucket = Bucket.fromBucketName(stack, 'Imported', 'existing-archive');
  const archive = new MailArchive(stack, 'Archive', { bucket });
  archive.grantPut(new Role(stack, 'Writer', { assumedBy: new ServicePrincipal('ec2.amazonaws.com') }));
  expect(archive.bucket).toBe(bucket);
  Template.fromStack(stack).resourceCountIs('AWS::S3::Bucket', 0);
});

test('fails when objects go to Deep Archive too early', () => {
  expect(() => new MailArchive(testStack(), 'Archive', { deepArchiveAfter: Duration.days(100) })).toThrow(
    'deepArchiveAfter must be >= glacierAfter + 90 days (180), got 100 days; raise deepArchiveAfter',
  );
});

test.each<[number | undefined, string[]]>([
  [undefined, ['GLACIER_IR 90', 'DEEP_ARCHIVE 365']],
  [545, ['GLACIER_IR 90', 'DEEP_ARCHIVE 365']],
  [544, ['GLACIER_IR 90']],
  [180, ['GLACIER_IR 90']],
  [179, []],
])('mail that is deleted after %p days moves to classes that bill no longer than that', (days, expected) => {
  const stack = testStack();
  new MailArchive(stack, 'Archive', { journalExpireAfter: days === undefined ? undefined : Duration.days(days) });
  const [{ Properties }] = Object.values(Template.fromStack(stack).findResources('AWS::S3::Bucket'));
  const [{ Transitions = [], Id }] = Properties.LifecycleConfiguration.Rules;
  expect(Id).toBe('to-glacier');
  expect(
    Transitions.map((one: { StorageClass: string; TransitionInDays: number }) =>
      [one.StorageClass, one.TransitionInDays].join(' '),
    ),
  ).toEqual(expected);
});

test.each<[MailArchiveProps, string]>([
  [
    { glacierAfter: Duration.days(30), journalExpireAfter: Duration.days(100) },
    'glacierAfter must be 90 days or more, which the class bills, before mail is deleted (100 days), got 30 days; lower',
  ],
  [
    { deepArchiveAfter: Duration.days(200), journalExpireAfter: Duration.days(365) },
    'deepArchiveAfter must be 180 days or more, which the class bills, before mail is deleted (365 days), got 200 days;',
  ],
])('fails when mail would leave a class that it was asked to move to too early: %j', (props, message) => {
  expect(() => new MailArchive(testStack(), 'Archive', props)).toThrow(message);
});

test.each([Duration.hours(12), Duration.days(40000)])('fails when the lock lasts %s', (duration) => {
  expect(() => ArchiveLock.governance(duration)).toThrow('lock duration must be 1 to 36500 whole days');
});
