import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { ManagedPolicy } from 'aws-cdk-lib/aws-iam';
import { AccessLogBucket, JournalKeys } from '../../lib/archive';
import { acknowledge } from '../../lib/compliance';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

/** Keys, and the policies of a node, of who opens messages, and of who destroys keys. */
function keys(stack: Stack): JournalKeys {
  const made = new JournalKeys(stack, 'Keys', { accessLogsBucket: new AccessLogBucket(stack, 'Logs').bucket });
  const node = new ManagedPolicy(stack, 'NodePolicy', { statements: made.nodeStatements });
  acknowledge(node, ...made.nodeAcknowledgements);
  made.grantOpen(new ManagedPolicy(stack, 'OpenPolicy'));
  made.grantDestroy(new ManagedPolicy(stack, 'DestroyPolicy'));
  return made;
}

const BUCKET = { 'Fn::GetAtt': ['KeysBucketCD17BC7E', 'Arn'] };
const KEY = { 'Fn::GetAtt': [expect.stringMatching(/^KeysKey/), 'Arn'] };
const folder = (name: string) => ({ 'Fn::Join': ['', [BUCKET, `/${name}/*`]] });
const THROUGH_S3 = { StringEquals: { 'kms:ViaService': { 'Fn::Join': ['', expect.arrayContaining(['s3.'])] } } };

function statements(stack: Stack, policy: string): { [property: string]: unknown }[] {
  const policies = Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy');
  const id = Object.keys(policies).find((name) => name.startsWith(policy))!;
  return policies[id].Properties.PolicyDocument.Statement;
}

describe.each(flagSets)('with $flags', ({ context }) => {
  test('has no open findings', () => {
    const stack = testStack(context);
    keys(stack);
    expect(openFindings(stack)).toEqual([]);
  });
});

test('nodes add keys under new names and read public halves; they decrypt, replace and delete nothing', () => {
  const stack = testStack();
  keys(stack);
  expect(statements(stack, 'NodePolicy').map(({ Sid: _sid, ...statement }) => statement)).toEqual([
    {
      ...{ Effect: 'Allow', Action: 's3:PutObject', Resource: [folder('public'), folder('private')] },
      Condition: { Null: { 's3:if-none-match': 'false' } },
    },
    { Effect: 'Allow', Action: 's3:GetObject', Resource: folder('public') },
    { Effect: 'Allow', Action: 's3:ListBucket', Resource: BUCKET },
    { Effect: 'Allow', Action: 'kms:GenerateDataKey', Resource: KEY, Condition: THROUGH_S3 },
  ]);
});

test('who opens messages destroys no keys, and the other way round', () => {
  const stack = testStack();
  keys(stack);
  expect(statements(stack, 'OpenPolicy')).toEqual([
    { Effect: 'Allow', Action: 's3:ListBucket', Resource: BUCKET },
    { Effect: 'Allow', Action: 's3:GetObject', Resource: folder('private') },
    { Effect: 'Allow', Action: 'kms:Decrypt', Resource: KEY, Condition: THROUGH_S3 },
  ]);
  expect(statements(stack, 'DestroyPolicy')).toEqual([
    { Effect: 'Allow', Action: 's3:ListBucketVersions', Resource: BUCKET },
    { Effect: 'Allow', Action: 's3:DeleteObjectVersion', Resource: folder('public') },
    { Effect: 'Allow', Action: 's3:DeleteObjectVersion', Resource: folder('private') },
  ]);
});

test('the bucket keeps versions and stays with the stack; nothing copies, locks or expires what is in it', () => {
  const stack = new Stack(new App(), 'Test');
  keys(stack);
  const template = Template.fromStack(stack);
  template.hasResource('AWS::S3::Bucket', {
    DeletionPolicy: 'Retain',
    Properties: {
      VersioningConfiguration: { Status: 'Enabled' },
      PublicAccessBlockConfiguration: Match.objectLike({ BlockPublicPolicy: true, RestrictPublicBuckets: true }),
      LoggingConfiguration: Match.objectLike({ LogFilePrefix: 'journal-keys/' }),
      ReplicationConfiguration: Match.absent(),
      ObjectLockEnabled: Match.absent(),
      LifecycleConfiguration: Match.absent(),
      BucketEncryption: {
        ServerSideEncryptionConfiguration: [
          {
            BucketKeyEnabled: true,
            ServerSideEncryptionByDefault: Match.objectLike({
              SSEAlgorithm: 'aws:kms',
              KMSMasterKeyID: Match.anyValue(),
            }),
          },
        ],
      },
    },
  });
  template.hasResource('AWS::KMS::Key', { DeletionPolicy: 'Retain', Properties: { EnableKeyRotation: true } });
});
