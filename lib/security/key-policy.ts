import { Annotations, Stack } from 'aws-cdk-lib';
import { AnyPrincipal, Effect, IRole, PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey, Key } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';

/**
 * Lets Auto Scaling start instances with volumes under the key, and publish to an encrypted topic.
 *
 * The service-linked role is named in a condition: a key policy with a principal that does not exist is refused, and
 * AWS creates the role only with the account's first group.
 *
 * @see https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
 */
export function allowAutoScaling(scope: Construct, key: IKey): void {
  const { partition, account } = Stack.of(scope);
  const byAutoScaling = {
    'kms:CallerAccount': account,
    'aws:PrincipalArn': `arn:${partition}:iam::${account}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling`,
  };
  add(
    scope,
    key,
    'Auto Scaling',
    new PolicyStatement({
      sid: 'AutoScalingUsesKey',
      principals: [new AnyPrincipal()],
      actions: ['kms:Encrypt', 'kms:Decrypt', 'kms:ReEncrypt*', 'kms:GenerateDataKey*', 'kms:DescribeKey'],
      resources: ['*'],
      conditions: { StringEquals: byAutoScaling },
    }),
    new PolicyStatement({
      sid: 'AutoScalingAttachesVolumes',
      principals: [new AnyPrincipal()],
      actions: ['kms:CreateGrant'],
      resources: ['*'],
      conditions: { StringEquals: byAutoScaling, Bool: { 'kms:GrantIsForAWSResource': 'true' } },
    }),
  );
}

/**
 * Lets CloudWatch alarms publish to a topic under the key.
 *
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
 */
export function allowAlarms(scope: Construct, key: IKey): void {
  add(
    scope,
    key,
    'CloudWatch alarms',
    new PolicyStatement({
      sid: 'AlarmsUseKey',
      principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
      actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
      resources: ['*'],
      conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } },
    }),
  );
}

/**
 * Lets SES store mail in a bucket and tell a topic of it, both under the key.
 *
 * @param rulesArn of the receipt rules that may, with a `*` for their names
 * @see https://docs.aws.amazon.com/ses/latest/dg/receiving-email-permissions.html
 */
export function allowReceiving(scope: Construct, key: IKey, rulesArn: string): void {
  add(
    scope,
    key,
    'Amazon SES',
    new PolicyStatement({
      sid: 'SesReceivesMail',
      principals: [new ServicePrincipal('ses.amazonaws.com')],
      actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
      resources: ['*'],
      conditions: {
        StringEquals: { 'aws:SourceAccount': Stack.of(scope).account },
        ArnLike: { 'aws:SourceArn': rulesArn },
      },
    }),
  );
}

/** Lets nobody else sign: whoever may use keys in this account could otherwise sign what they like. */
export function onlySignedBy(key: Key, sid: string, role: IRole): void {
  key.addToResourcePolicy(
    new PolicyStatement({
      sid,
      effect: Effect.DENY,
      principals: [new AnyPrincipal()],
      actions: ['kms:Sign'],
      resources: ['*'],
      conditions: { ArnNotEquals: { 'aws:PrincipalArn': role.roleArn } },
    }),
  );
}

/** The same statements for the same key come from several constructs; a policy must not say a thing twice. */
function add(scope: Construct, key: IKey, who: string, ...statements: PolicyStatement[]): void {
  for (const statement of statements) {
    if (!key.addToResourcePolicy(statement, true).statementAdded) {
      Annotations.of(scope).addWarningV2(
        `cdk-mail-platform:keyPolicy${statement.sid}`,
        `the policy of an imported key can not be changed from here; it must let ${who} use the key (${statement.sid})`,
      );
    }
  }
}
