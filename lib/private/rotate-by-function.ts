import { Duration, Stack } from 'aws-cdk-lib';
import { ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { CfnRotationSchedule, ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { HandlerFunction } from './handler-function';

/** How a secret is rotated. */
export interface RotationOptions {
  readonly secret: ISecret;
  /** Does the steps of a rotation. */
  readonly handler: HandlerFunction;
  /** Whole days. */
  readonly rotateAfter: Duration;
  /** Whether the first rotation begins at once. */
  readonly immediately: boolean;
}

/** Has Secrets Manager rotate a secret by a function, which it alone may call, and for this account alone. */
export function rotateByFunction(scope: Construct, options: RotationOptions): void {
  const { secret, handler, rotateAfter, immediately } = options;
  handler.function.addPermission('SecretsManager', {
    principal: new ServicePrincipal('secretsmanager.amazonaws.com'),
    sourceAccount: Stack.of(scope).account,
    sourceArn: secret.secretArn,
  });
  const schedule = new CfnRotationSchedule(scope, 'Rotation', {
    secretId: secret.secretArn,
    rotationLambdaArn: handler.function.functionArn,
    rotationRules: { automaticallyAfterDays: rotateAfter.toDays() },
    rotateImmediatelyOnUpdate: immediately,
  });
  schedule.node.addDependency(handler);
}
