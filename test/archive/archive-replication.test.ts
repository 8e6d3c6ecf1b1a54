import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket, IBucket } from 'aws-cdk-lib/aws-s3';
import { AccessLogBucket, ArchiveReplication, MailArchive } from '../../lib/archive';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { flagSets } from '../support/apps';
import { openFindings } from '../support/nag';

const SECOND_KEY = 'arn:aws:kms:eu-west-1:111122223333:key/second';

function replication(stack: Stack, destinationRegion = 'eu-west-1', imported?: IBucket): ArchiveReplication {
  const { key } = new MailKey(stack, 'Key');
  const accessLogsBucket = new AccessLogBucket(stack, 'Logs').bucket;
  const archive = new MailArchive(stack, 'Archive', { encryptionKey: key, accessLogsBucket });
  const made = new ArchiveReplication(stack, 'SecondCopy', {
    bucket: imported ?? archive.bucket,
    encryptionKey: key,
    destination: Bucket.fromBucketArn(stack, 'Second', 'arn:aws:s3:::mail-archive-second'),
    destinationKey: Key.fromKeyArn(stack, 'SecondKey', SECOND_KEY),
    destinationRegion,
  });
  made.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  return made;
}

const stackOf = (context: Record<string, unknown> = {}) =>
  new Stack(new App({ context }), 'Test', { env: { account: '111122223333', region: 'eu-central-1' } });

test.each(flagSets)('copies all that is encrypted, within 15 minutes, but no deletion, with $flags', ({ context }) => {
  const stack = stackOf(context);
  replication(stack);
  const template = Template.fromStack(stack);
  template.hasResource('AWS::S3::Bucket', {
    Properties: {
      ReplicationConfiguration: {
        Role: { 'Fn::GetAtt': [Match.stringLikeRegexp('^SecondCopyRole'), 'Arn'] },
        Rules: [
          {
            Id: 'second-copy',
            Status: 'Enabled',
            Priority: 1,
            Filter: { Prefix: '' },
            DeleteMarkerReplication: { Status: 'Disabled' },
            SourceSelectionCriteria: { SseKmsEncryptedObjects: { Status: 'Enabled' } },
            Destination: {
              Bucket: 'arn:aws:s3:::mail-archive-second',
              EncryptionConfiguration: { ReplicaKmsKeyID: SECOND_KEY },
              ReplicationTime: { Status: 'Enabled', Time: { Minutes: 15 } },
              Metrics: { Status: 'Enabled', EventThreshold: { Minutes: 15 } },
            },
          },
        ],
      },
    },
  });
  expect(openFindings(stack)).toEqual([]);
});

test('its role reads the archive, writes copies, and deletes nothing', () => {
  const stack = stackOf();
  replication(stack);
  const [policy] = Object.values(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy'));
  const statements = policy.Properties.PolicyDocument.Statement as {
    Sid: string;
    Action: string[];
    Condition?: object;
  }[];
  expect(statements.flatMap(({ Action }) => Action).filter((action) => /Delete|PutObject/.test(action))).toEqual([]);
  expect(statements.map(({ Sid }) => Sid)).toEqual([
    'SeeArchive',
    'ReadArchive',
    'WriteCopies',
    'DecryptArchive',
    'EncryptCopies',
  ]);
  expect(JSON.stringify(statements[4].Condition)).toContain('s3.eu-west-1.');
});

test('alarms when the copy is behind or something was not copied', () => {
  const stack = stackOf();
  replication(stack);
  for (const [MetricName, Threshold] of [
    ['ReplicationLatency', 900],
    ['OperationsFailedReplication', 0],
  ]) {
    Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', {
      Namespace: 'AWS/S3',
      MetricName,
      Threshold,
      Dimensions: Match.arrayWith([{ Name: 'RuleId', Value: 'second-copy' }]),
    });
  }
});

test('fails when the archive is imported', () => {
  const stack = stackOf();
  expect(() => replication(stack, 'eu-west-1', Bucket.fromBucketName(stack, 'Imported', 'archive'))).toThrow(
    'bucket must be made in this app, got an imported one; set replication where it is made',
  );
});

test('fails when the copy is in the same region', () => {
  expect(() => replication(stackOf(), 'eu-central-1')).toThrow(
    'destinationRegion must be another region than that of the archive, got eu-central-1',
  );
});
