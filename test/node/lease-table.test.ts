import { Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Table } from 'aws-cdk-lib/aws-dynamodb';
import { ManagedPolicy } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { LeaseTable } from '../../lib/node';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

/** The statements as they stand in a template. */
function statements(stack: Stack, leases: LeaseTable): { [property: string]: unknown }[] {
  new ManagedPolicy(stack, 'Policy', { statements: leases.configurationFor('Mail').statements });
  const [policy] = Object.values(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy'));
  return policy.Properties.PolicyDocument.Statement;
}

describe.each(flagSets)('with $flags', ({ context }) => {
  test('is paid by use, encrypted with the key, protected and kept, and forgets nodes that are gone', () => {
    const stack = testStack(context);
    new LeaseTable(stack, 'Leases', { encryptionKey: new Key(stack, 'Key', { enableKeyRotation: true }) });
    Template.fromStack(stack).hasResource('AWS::DynamoDB::Table', {
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        BillingMode: 'PAY_PER_REQUEST',
        DeletionProtectionEnabled: true,
        KeySchema: [
          { AttributeName: 'pk', KeyType: 'HASH' },
          { AttributeName: 'sk', KeyType: 'RANGE' },
        ],
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
        SSESpecification: {
          SSEEnabled: true,
          SSEType: 'KMS',
          KMSMasterKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] },
        },
        TimeToLiveSpecification: { AttributeName: 'expires', Enabled: true },
      },
    });
    expect(openFindings(stack)).toEqual([]);
  });
});

test('works alone, with the key of DynamoDB', () => {
  const stack = testStack();
  const leases = new LeaseTable(stack, 'Leases');
  expect(leases.configurationFor('Mail').environment).toEqual({ MAIL_LEASE_TABLE: leases.table.tableName });
  expect(leases.configurationFor('Mail').statements).toHaveLength(1);
});

test("nodes may read and write their own cluster's items, and use the key for this table only", () => {
  const stack = testStack();
  const leases = new LeaseTable(stack, 'Leases', { encryptionKey: new Key(stack, 'Key') });
  const table = stack.resolve(leases.table.tableName);
  expect(statements(stack, leases)).toEqual([
    {
      Sid: 'HoldLease',
      Effect: 'Allow',
      Action: ['dynamodb:Query', 'dynamodb:PutItem', 'dynamodb:UpdateItem'],
      Resource: { 'Fn::GetAtt': [table.Ref, 'Arn'] },
      Condition: { 'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': ['Mail'] } },
    },
    expect.objectContaining({
      Sid: 'UseLeaseKey',
      Action: ['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey'],
      Condition: {
        StringEquals: expect.objectContaining({ 'kms:EncryptionContext:aws:dynamodb:tableName': table }),
      },
    }),
  ]);
});

test('takes a table that is there', () => {
  const stack = testStack();
  const leases = new LeaseTable(stack, 'Leases', { table: Table.fromTableName(stack, 'Shared', 'shared-leases') });
  expect(leases.configurationFor('Mail').environment).toEqual({ MAIL_LEASE_TABLE: 'shared-leases' });
  Template.fromStack(stack).resourceCountIs('AWS::DynamoDB::Table', 0);
});
