import { Duration, Stack } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { CfnRotationSchedule, ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { HandlerFunction } from './handler-function';
import { addTopicAlarm } from './topic-alarm';

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
export function rotateByFunction(scope: Construct, options: RotationOptions): CfnRotationSchedule {
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
  return schedule;
}

/** Steps of rotations that failed. Sum over an hour. */
export function rotationFailures(handler: HandlerFunction, options?: MetricOptions): Metric {
  return handler.function.metricErrors({ statistic: Stats.SUM, period: Duration.hours(1), ...options });
}

/** Tells of a rotation that failed, which Secrets Manager tries again. @param alarmDescription what to check first, too */
export function addRotationAlarm(
  scope: Construct,
  id: string,
  topic: ITopic,
  { metric, alarmDescription }: { readonly metric: Metric; readonly alarmDescription: string },
): Alarm {
  return addTopicAlarm(scope, id, topic, {
    metric,
    alarmDescription,
    threshold: 0,
    comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
    treatMissingData: TreatMissingData.NOT_BREACHING,
  });
}
