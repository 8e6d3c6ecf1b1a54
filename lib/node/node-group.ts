import { Duration } from 'aws-cdk-lib';
import {
  AdditionalHealthCheckType,
  AutoScalingGroup,
  CfnAutoScalingGroup,
  DefaultResult,
  GroupMetrics,
  HealthChecks,
  InstanceRefreshStrategy,
  LifecycleTransition,
  UpdatePolicy,
} from 'aws-cdk-lib/aws-autoscaling';
import { IMetric } from 'aws-cdk-lib/aws-cloudwatch';
import { IVpc, LaunchTemplate, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import { INetworkTargetGroup } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';

/** Name of the lifecycle hook that a node completes when it is drained. */
export const DRAIN_HOOK = 'drain';

/** What every group of nodes needs to know; every default is settled. */
export interface GroupProps {
  readonly vpc: IVpc;
  readonly vpcSubnets: SubnetSelection;
  readonly launchTemplate: LaunchTemplate;
  /** Time from a node's start until it must be healthy. */
  readonly bootTimeout: Duration;
  /** Time between two nodes of a deployment. */
  readonly pauseTime: Duration;
  /** Time that a node has to drain. */
  readonly drainTimeout: Duration;
  readonly targetGroups: INetworkTargetGroup[];
  readonly notificationsTopic?: ITopic;
}

/** How many nodes a group has, and how many of them there may be while one is replaced. */
export interface GroupSize {
  readonly minCapacity: number;
  readonly maxCapacity: number;
  /** Bounds of the instance maintenance policy, percent. */
  readonly maintenance: { readonly min: number; readonly max: number };
  /** Bounds of an instance refresh, percent. */
  readonly refresh: { readonly min: number; readonly max: number };
  /** How long a finished refresh is watched. @default - not */
  readonly bakeTime?: Duration;
}

/** A group of nodes: how it heals, drains, and replaces nodes in a deployment. */
export function createGroup(scope: Construct, id: string, props: GroupProps, size: GroupSize): AutoScalingGroup {
  const group = new AutoScalingGroup(scope, id, {
    vpc: props.vpc,
    vpcSubnets: props.vpcSubnets,
    launchTemplate: props.launchTemplate,
    minCapacity: size.minCapacity,
    maxCapacity: size.maxCapacity,
    // Exactly this one type: with more, the rule AutoScalingGroupELBHealthCheckRequired does not recognise it.
    healthChecks: HealthChecks.withAdditionalChecks({
      additionalTypes: [AdditionalHealthCheckType.ELB],
      gracePeriod: props.bootTimeout,
    }),
    defaultInstanceWarmup: props.bootTimeout,
    minHealthyPercentage: size.maintenance.min,
    maxHealthyPercentage: size.maintenance.max,
    groupMetrics: [GroupMetrics.all()],
    notifications: props.notificationsTopic ? [{ topic: props.notificationsTopic }] : undefined,
    updatePolicy: UpdatePolicy.instanceRefresh({
      strategy: InstanceRefreshStrategy.ROLLING,
      minHealthyPercentage: size.refresh.min,
      maxHealthyPercentage: size.refresh.max,
      instanceWarmup: props.pauseTime,
      bakeTime: size.bakeTime,
      skipMatching: true,
    }),
  });
  for (const targetGroup of props.targetGroups) {
    group.attachToNetworkTargetGroup(targetGroup);
  }
  // In a zonal shift the balancer keeps clients out of the zone. Nodes there are left alone: they may only look
  // unhealthy, and they hold sessions and queues of their users, or the volume that nobody else could have.
  (group.node.defaultChild as CfnAutoScalingGroup).availabilityZoneImpairmentPolicy = {
    zonalShiftEnabled: true,
    impairedZoneHealthCheckBehavior: 'IgnoreUnhealthy',
  };
  drainBeforeTermination(group, props.drainTimeout);
  return group;
}

/** What `createNodeGroup` needs to know; every default is settled. */
export interface NodeGroupProps extends GroupProps {
  readonly minNodes: number;
  readonly maxNodes: number;
  /** Connections in use, percent. */
  readonly utilization: IMetric;
}

/** The Auto Scaling group of the nodes, which grows with connections. */
export function createNodeGroup(scope: Construct, id: string, props: NodeGroupProps): AutoScalingGroup {
  const group = createGroup(scope, id, props, {
    minCapacity: props.minNodes,
    maxCapacity: props.maxNodes,
    // What replaces an unhealthy node is there before that one goes, and all nodes of a zone that was lost are replaced
    // at once.
    maintenance: { min: 100, max: 200 },
    // A new node is there before an old one goes, and has been healthy for the pause before the next batch. The update
    // ends when the group has been watched for as long once more, without any old node.
    refresh: { min: 100, max: 110 },
    bakeTime: props.pauseTime,
  });
  group.scaleToTrackMetric('Connections', { metric: props.utilization, targetValue: 70 });
  return group;
}

/** Holds back a node's end until it has drained. */
function drainBeforeTermination(group: AutoScalingGroup, timeout: Duration): void {
  group.addLifecycleHook('Drain', {
    lifecycleHookName: DRAIN_HOOK,
    lifecycleTransition: LifecycleTransition.INSTANCE_TERMINATING,
    // The node ends by itself after the timeout; the hook gives it time to say so.
    heartbeatTimeout: timeout.plus(Duration.seconds(60)),
    // A node that does not answer is terminated with either result: its mail and its queue are on the store. CONTINUE
    // also runs the hooks that an owner may have added, where ABANDON would skip them.
    defaultResult: DefaultResult.CONTINUE,
  });
}
