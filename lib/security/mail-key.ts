import { RemovalPolicy, Stack } from 'aws-cdk-lib';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey, Key } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { allowAlarms, allowAutoScaling } from './key-policy';

/** Properties of `MailKey`. */
export interface MailKeyProps {
  /**
   * A key to use. Its policy must let CloudWatch Logs, CloudWatch alarms and Auto Scaling use it.
   * @default - a new one with yearly rotation, kept when the stack is deleted
   */
  readonly encryptionKey?: IKey;
}

/**
 * The customer key of the whole mail system: store, root volumes, archive, users, topic and logs. One key costs 1 USD a
 * month; each construct also takes a key of its own.
 */
export class MailKey extends Construct {
  /** The key, new or brought. */
  public readonly key: IKey;

  constructor(scope: Construct, id: string, props: MailKeyProps = {}) {
    super(scope, id);
    this.key = props.encryptionKey ?? this.createKey();
  }

  private createKey(): Key {
    const key = new Key(this, 'Key', {
      description: `Mail at rest (${Stack.of(this).stackName})`,
      enableKeyRotation: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    const { partition, region, account } = Stack.of(this);
    // https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
    key.addToResourcePolicy(
      new PolicyStatement({
        sid: 'LogsUseKey',
        principals: [new ServicePrincipal(`logs.${region}.${Stack.of(this).urlSuffix}`)],
        actions: ['kms:Encrypt', 'kms:Decrypt', 'kms:ReEncrypt*', 'kms:GenerateDataKey*', 'kms:Describe*'],
        resources: ['*'],
        conditions: {
          ArnLike: { 'kms:EncryptionContext:aws:logs:arn': `arn:${partition}:logs:${region}:${account}:log-group:*` },
        },
      }),
    );
    allowAlarms(this, key);
    allowAutoScaling(this, key);
    return key;
  }
}
