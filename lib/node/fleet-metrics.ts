import { Metric, MetricOptions, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import { Duration } from 'aws-cdk-lib';

/** CloudWatch namespace that the agent on each node writes to. */
export const METRIC_NAMESPACE = 'MailPlatform';

/**
 * A metric of the node agent over all nodes of a cluster.
 *
 * @param name metric name as the agent writes it
 * @param clusterName value of the dimension `Cluster`
 * @param statistic default statistic over the nodes
 */
export function agentMetric(name: string, clusterName: string, statistic: string, options?: MetricOptions): Metric {
  return new Metric({
    namespace: METRIC_NAMESPACE,
    metricName: name,
    dimensionsMap: { Cluster: clusterName },
    period: Duration.minutes(1),
    statistic,
    ...options,
  });
}

/** Average CPU of the group's instances, percent (AWS/EC2). */
export function cpuMetric(autoScalingGroupName: string, options?: MetricOptions): Metric {
  return new Metric({
    namespace: 'AWS/EC2',
    metricName: 'CPUUtilization',
    dimensionsMap: { AutoScalingGroupName: autoScalingGroupName },
    period: Duration.minutes(1),
    statistic: Stats.AVERAGE,
    ...options,
  });
}
