import { Stack } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';

/** Reading one secret, and its key for nothing but that. */
export function readSecret(scope: Construct, secret: ISecret): PolicyStatement[] {
  return onSecret(scope, secret, ['secretsmanager:GetSecretValue'], ['kms:Decrypt']);
}

/** Writing one secret, and its key for nothing but that. */
export function writeSecret(scope: Construct, secret: ISecret): PolicyStatement[] {
  return onSecret(scope, secret, ['secretsmanager:PutSecretValue'], ['kms:Decrypt', 'kms:GenerateDataKey']);
}

/** Rotating one secret: reading it, adding a version, choosing the one in use; and its key for nothing but that. */
export function rotateSecret(scope: Construct, secret: ISecret): PolicyStatement[] {
  const actions = ['DescribeSecret', 'GetSecretValue', 'PutSecretValue', 'UpdateSecretVersionStage'];
  return onSecret(
    scope,
    secret,
    actions.map((action) => `secretsmanager:${action}`),
    ['kms:Decrypt', 'kms:GenerateDataKey'],
  );
}

function onSecret(scope: Construct, secret: ISecret, actions: string[], keyActions: string[]): PolicyStatement[] {
  // A secret that is known by its name has an ARN with six more characters, which are not known.
  const arn = secret.secretFullArn ?? `${secret.secretArn}-??????`;
  const statements = [new PolicyStatement({ actions, resources: [arn] })];
  if (secret.encryptionKey) {
    statements.push(keyFor(scope, secret.encryptionKey, arn, keyActions));
  }
  return statements;
}

function keyFor(scope: Construct, key: IKey, secretArn: string, actions: string[]): PolicyStatement {
  const { region, urlSuffix } = Stack.of(scope);
  return new PolicyStatement({
    actions,
    resources: [key.keyArn],
    conditions: {
      StringEquals: { 'kms:ViaService': `secretsmanager.${region}.${urlSuffix}` },
      // https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
      StringLike: { 'kms:EncryptionContext:SecretARN': secretArn },
    },
  });
}
