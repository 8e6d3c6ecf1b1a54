import { Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AccessLogBucket } from '../../lib/archive';
import { FileDirectory, MailDirectory } from '../../lib/directory';
import { testStack } from '../support/apps';
import { openFindings } from '../support/nag';

test('keeps users versioned and encrypted with a customer key, and stays when the stack goes', () => {
  const stack = testStack();
  new FileDirectory(stack, 'Directory', { accessLogsBucket: new AccessLogBucket(stack, 'Logs').bucket });
  Template.fromStack(stack).hasResource('AWS::S3::Bucket', {
    DeletionPolicy: 'Retain',
    Properties: {
      VersioningConfiguration: { Status: 'Enabled' },
      LifecycleConfiguration: { Rules: [Match.objectLike({ NoncurrentVersionExpiration: { NoncurrentDays: 90 } })] },
      BucketEncryption: {
        ServerSideEncryptionConfiguration: [
          Match.objectLike({ ServerSideEncryptionByDefault: Match.objectLike({ SSEAlgorithm: 'aws:kms' }) }),
        ],
      },
    },
  });
  expect(openFindings(stack)).toEqual([]);
});

const buckets: [string, (stack: Stack) => MailDirectory, string[]][] = [
  ['its own bucket', () => MailDirectory.file(), ['ReadUsers', 'SeeThatThereAreNoUsersYet', 'DecryptUsers']],
  [
    'an imported bucket without a customer key',
    (stack) => MailDirectory.file({ bucket: Bucket.fromBucketName(stack, 'Imported', 'users-bucket') }),
    ['ReadUsers', 'SeeThatThereAreNoUsersYet'],
  ],
  [
    'an imported bucket with its key',
    (stack) =>
      MailDirectory.file({
        bucket: Bucket.fromBucketName(stack, 'Imported', 'users-bucket'),
        bucketEncryptionKey: Key.fromKeyArn(stack, 'Key', 'arn:aws:kms:eu-central-1:111122223333:key/k'),
      }),
    ['ReadUsers', 'SeeThatThereAreNoUsersYet', 'DecryptUsers'],
  ],
];

test.each(buckets)('lets nodes read exactly the users file in %s', (_name, directory, sids) => {
  const stack = testStack();
  const bound = directory(stack).bind(stack);
  const statements = bound.configuration.statements!.map((statement) => stack.resolve(statement.toStatementJson()));
  expect(statements.map(({ Sid }) => Sid)).toEqual(sids);
  expect(statements[0]).toMatchObject({ Action: 's3:GetObject' });
  expect(JSON.stringify(statements[0].Resource)).toContain('/users');
  expect(JSON.stringify(statements)).not.toContain('*');
  expect(bound.configuration.environment).toEqual({
    MAIL_DIRECTORY: 'file',
    MAIL_DIRECTORY_OBJECT: bound.location,
  });
});

test.each(['', 'two words', 'users$', 'a"b', 'users\n'])('fails when the object is named %j', (objectKey) => {
  expect(() => new FileDirectory(testStack(), 'Directory', { objectKey })).toThrow('objectKey must be letters, digits');
});
