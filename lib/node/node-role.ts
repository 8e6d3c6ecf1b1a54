import { Stack } from 'aws-cdk-lib';
import { CfnAutoScalingGroup } from 'aws-cdk-lib/aws-autoscaling';
import { ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { acknowledge, Acknowledgement, findingId } from '../compliance';
import { METRIC_NAMESPACE } from './fleet-metrics';

/** Properties of `NodeRole`. */
export interface NodeRoleProps {
  /** What bundle, store, directory and certificate ask for. */
  readonly statements: PolicyStatement[];
  /** Findings that these statements cause. */
  readonly acknowledgements: Acknowledgement[];
  /** Whether operators reach nodes by Session Manager. */
  readonly sessionManager: boolean;
}

/**
 * The role of a node: managed policies only, one for each kind of need. Nodes need all but the lifecycle policy when
 * they boot; that one names the group, which names the role, so it comes last.
 */
export class NodeRole extends Construct {
  /** The role. */
  public readonly role: Role;

  /** What must be there before a node boots. */
  public readonly bootPolicies: ManagedPolicy[];

  constructor(scope: Construct, id: string, props: NodeRoleProps) {
    super(scope, id);
    this.role = new Role(this, 'Role', {
      assumedBy: new ServicePrincipal('ec2.amazonaws.com'),
      description: 'Mail nodes',
    });
    this.bootPolicies = [this.createPartsPolicy(props), this.createTelemetryPolicy()];
    if (props.sessionManager) {
      this.bootPolicies.push(this.createSessionPolicy());
    }
  }

  /** Lets a node tell its group that it is drained, or that it needs more time. */
  public allowLifecycle(groups: CfnAutoScalingGroup[]): void {
    const { partition, region, account } = Stack.of(this);
    // The id in the middle is given by AWS; the name alone is unique in account and region.
    const arns = groups.map(
      (group) =>
        `arn:${partition}:autoscaling:${region}:${account}:autoScalingGroup:*:autoScalingGroupName/${group.ref}`,
    );
    const policy = this.createPolicy('LifecyclePolicy', 'Mail nodes: finish their own draining', [
      new PolicyStatement({
        sid: 'FinishDraining',
        actions: ['autoscaling:CompleteLifecycleAction', 'autoscaling:RecordLifecycleActionHeartbeat'],
        resources: arns,
      }),
    ]);
    acknowledge(
      policy,
      ...arns.map((arn) => ({
        id: findingId(policy, 'AwsSolutions-IAM5', 'Resource', arn),
        reason:
          "The * stands for the id that AWS puts before a group's name in its ARN; the name, which is unique, is given. " +
          'It allows two lifecycle actions on this group only (test/node/mail-fleet.test.ts).',
      })),
    );
  }

  private createPartsPolicy(props: NodeRoleProps): ManagedPolicy {
    const policy = this.createPolicy('PartsPolicy', 'Mail nodes: bundle, store, directory and certificate', [
      ...props.statements,
    ]);
    acknowledge(policy, ...props.acknowledgements);
    return policy;
  }

  private createTelemetryPolicy(): ManagedPolicy {
    const policy = this.createPolicy('TelemetryPolicy', 'Mail nodes: metrics and their own lifecycle state', [
      new PolicyStatement({
        sid: 'WriteMetrics',
        actions: ['cloudwatch:PutMetricData'],
        resources: ['*'],
        conditions: { StringEquals: { 'cloudwatch:namespace': METRIC_NAMESPACE } },
      }),
      new PolicyStatement({
        sid: 'SeeLifecycleState',
        actions: ['autoscaling:DescribeAutoScalingInstances'],
        resources: ['*'],
      }),
    ]);
    acknowledge(policy, {
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason:
        'PutMetricData and DescribeAutoScalingInstances have no resource in IAM. The first is limited to one namespace ' +
        'by a condition, the second only reads (test/node/mail-fleet.test.ts).',
    });
    return policy;
  }

  /**
   * The agent's package needs no permission: AWS publishes it in a public bucket.
   *
   * @see https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html
   */
  private createSessionPolicy(): ManagedPolicy {
    const policy = this.createPolicy('SessionPolicy', 'Mail nodes: Session Manager', [
      new PolicyStatement({
        sid: 'OfferSessions',
        actions: [
          'ssm:UpdateInstanceInformation',
          'ssmmessages:CreateControlChannel',
          'ssmmessages:CreateDataChannel',
          'ssmmessages:OpenControlChannel',
          'ssmmessages:OpenDataChannel',
        ],
        resources: ['*'],
      }),
    ]);
    acknowledge(policy, {
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason:
        "These five actions are the documented minimum for Session Manager and are bound to the caller's own instance " +
        'by the service. AmazonSSMManagedInstanceCore, which could read every parameter of the account, is not used ' +
        '(test/node/mail-fleet.test.ts).',
    });
    return policy;
  }

  private createPolicy(id: string, description: string, statements: PolicyStatement[]): ManagedPolicy {
    return new ManagedPolicy(this, id, { description, statements, roles: [this.role] });
  }
}
