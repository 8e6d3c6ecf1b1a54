import { Duration } from 'aws-cdk-lib';
import { Rule, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { IFunction } from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';

/**
 * Calls a function again and again. A run that failed is not repeated: the next one does its work.
 *
 * @param description of the rule, for the console
 */
export function callEvery(scope: Construct, interval: Duration, target: IFunction, description: string): Rule {
  return new Rule(scope, 'Schedule', {
    description,
    schedule: Schedule.rate(interval),
    targets: [new LambdaFunction(target, { retryAttempts: 0, maxEventAge: Duration.minutes(1) })],
  });
}
