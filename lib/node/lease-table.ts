import { RemovalPolicy, Stack } from 'aws-cdk-lib';
import { AttributeType, BillingMode, ITable, Table, TableEncryption } from 'aws-cdk-lib/aws-dynamodb';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { NodeConfiguration } from './node-configuration';

/** Properties of `LeaseTable`. */
export interface LeaseTableProps {
  /**
   * A table to use, with the keys `pk` and `sk`, both text. Several clusters may share it.
   * @default - a new one, kept when the stack is deleted
   */
  readonly table?: ITable;

  /**
   * Key of a new table.
   * @default - DynamoDB's own key
   */
  readonly encryptionKey?: IKey;
}

/**
 * The table in which nodes hold their leases: who serves, and since which change of the ring (`docs/one-writer.md`).
 *
 * A node costs one small write and one or two reads a second, about 2 USD a month on demand. What is in it means
 * something only while the nodes run; it is kept and protected because without it every node stops.
 */
export class LeaseTable extends Construct {
  /** An item for each node, and one for the ring. */
  public readonly table: ITable;

  constructor(scope: Construct, id: string, props: LeaseTableProps = {}) {
    super(scope, id);
    this.table = props.table ?? this.createTable(props.encryptionKey);
  }

  /**
   * What the nodes of a cluster need to hold leases.
   *
   * @param clusterName name of the cluster, which all of its items have as partition key
   */
  public configurationFor(clusterName: string): NodeConfiguration {
    const statements = [
      new PolicyStatement({
        sid: 'HoldLease',
        actions: ['dynamodb:Query', 'dynamodb:PutItem', 'dynamodb:UpdateItem'],
        resources: [this.table.tableArn],
        conditions: { 'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': [clusterName] } },
      }),
    ];
    if (this.table.encryptionKey) {
      statements.push(this.useKey(this.table.encryptionKey));
    }
    return { environment: { MAIL_LEASE_TABLE: this.table.tableName }, statements };
  }

  private createTable(encryptionKey?: IKey): Table {
    const table = new Table(this, 'Table', {
      partitionKey: { name: 'pk', type: AttributeType.STRING },
      sortKey: { name: 'sk', type: AttributeType.STRING },
      billingMode: BillingMode.PAY_PER_REQUEST,
      encryption: encryptionKey ? TableEncryption.CUSTOMER_MANAGED : TableEncryption.DEFAULT,
      encryptionKey,
      // What is left of nodes that are gone.
      timeToLiveAttribute: 'expires',
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    acknowledge(
      table,
      ...['NIST.800.53.R5', 'HIPAA.Security'].map((pack) => ({
        id: `${pack}-DynamoDBInBackupPlan`,
        reason:
          'Leases are valid for seconds and nodes write them anew: an old copy must never be put back. Point-in-time ' +
          'recovery is on, to look at what happened (test/node/lease-table.test.ts).',
      })),
    );
    return table;
  }

  /** @see https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html */
  private useKey(key: IKey): PolicyStatement {
    const { region, urlSuffix } = Stack.of(this);
    return new PolicyStatement({
      sid: 'UseLeaseKey',
      actions: ['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey'],
      resources: [key.keyArn],
      conditions: {
        StringEquals: {
          'kms:ViaService': `dynamodb.${region}.${urlSuffix}`,
          'kms:EncryptionContext:aws:dynamodb:tableName': this.table.tableName,
        },
      },
    });
  }
}
