import { IConstruct } from 'constructs';

/**
 * Turns feature flags on for what is created below this construct, whatever the consumer's app has set, so that the
 * same library version gives the same resources in each app. Call it before the first child is created.
 *
 * @param flags names of CDK feature flags, such as `@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy`
 */
export function pinFlags(construct: IConstruct, ...flags: string[]): void {
  for (const flag of flags) {
    construct.node.setContext(flag, true);
  }
}
