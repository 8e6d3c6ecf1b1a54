import { Duration } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AccessLogBucket } from '../../lib/archive';
import { testStack } from '../support/apps';
import { openFindings } from '../support/nag';

test('keeps logs for two years, private, by TLS only, and stays when the stack goes', () => {
  const stack = testStack();
  new AccessLogBucket(stack, 'Logs');
  const template = Template.fromStack(stack);
  template.hasResource('AWS::S3::Bucket', {
    DeletionPolicy: 'Retain',
    Properties: {
      BucketEncryption: {
        ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }],
      },
      OwnershipControls: { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
      PublicAccessBlockConfiguration: {
        BlockPublicAcls: true,
        BlockPublicPolicy: true,
        IgnorePublicAcls: true,
        RestrictPublicBuckets: true,
      },
      VersioningConfiguration: { Status: 'Enabled' },
      LifecycleConfiguration: {
        Rules: [
          Match.objectLike({
            ExpirationInDays: 731,
            NoncurrentVersionExpiration: { NoncurrentDays: 30 },
            Transitions: [{ StorageClass: 'GLACIER_IR', TransitionInDays: 180 }],
          }),
        ],
      },
    },
  });
  template.hasResourceProperties('AWS::S3::BucketPolicy', {
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({ Effect: 'Deny', Condition: { Bool: { 'aws:SecureTransport': 'false' } } }),
      ]),
    },
  });
  expect(openFindings(stack)).toEqual([]);
});

test('takes a bucket that is there already', () => {
  const stack = testStack();
  const bucket = Bucket.fromBucketName(stack, 'Imported', 'existing-logs');
  expect(new AccessLogBucket(stack, 'Logs', { bucket }).bucket).toBe(bucket);
  Template.fromStack(stack).resourceCountIs('AWS::S3::Bucket', 0);
});

test('fails when logs expire less than 90 days after they moved to Glacier', () => {
  expect(
    () =>
      new AccessLogBucket(testStack(), 'Logs', { archiveAfter: Duration.days(60), expireAfter: Duration.days(149) }),
  ).toThrow('expireAfter must be >= archiveAfter + 90 days (150), got 149 days; raise expireAfter');
});
