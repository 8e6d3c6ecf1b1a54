import { Metric, MetricOptions, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import { NetworkLoadBalancer, NetworkTargetGroup } from 'aws-cdk-lib/aws-elasticloadbalancingv2';

/** A metric of the balancer as a whole; a sum over a minute unless the options say otherwise. */
export function balancerMetric(balancer: NetworkLoadBalancer, name: string, options?: MetricOptions): Metric {
  return balancer.metrics.custom(name, { statistic: Stats.SUM, ...options });
}

/** A count of hosts, the greatest of all zones' unless the options say otherwise. */
export function hostMetric(targetGroup: NetworkTargetGroup, name: string, options?: MetricOptions): Metric {
  return targetGroup.metrics.custom(name, { statistic: Stats.MAXIMUM, ...options });
}
