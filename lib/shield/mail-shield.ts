import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { CfnProtection } from 'aws-cdk-lib/aws-shield';
import { AwsCustomResource, PhysicalResourceId } from 'aws-cdk-lib/custom-resources';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { inRegulatoryPacks } from '../private/rule-packs';
import { MailKey } from '../security';

/** Properties of `MailShield`. */
export interface MailShieldProps {
  /** Allocation ids of the balancer's Elastic IPs, such as `MailEdge.allocationIds`. */
  readonly allocationIds: string[];

  /**
   * ARNs of Route 53 health checks, one for each address in the same order: with them Shield acts on smaller attacks.
   * @default - none
   */
  readonly healthCheckArns?: string[];

  /**
   * ARN of an accelerator in front of the balancer, to be protected, too.
   * @default - none
   */
  readonly acceleratorArn?: string;

  /**
   * Key of the logs of the subscription check. An imported key must let CloudWatch Logs use it.
   * @default - a new one
   */
  readonly encryptionKey?: IKey;
}

/**
 * Shield Advanced for the balancer's addresses. Shield Standard is always on and free; this is a choice.
 *
 * It costs 3000 USD a month for the whole organization plus fees for data out, and **the subscription binds for a year
 * and renews itself**. So this construct never subscribes: somebody does that by hand in the Shield console
 * (https://aws.amazon.com/shield/pricing/). A deployment in an account without a subscription fails before
 * anything else of Shield is made.
 *
 * The addresses are protected, not the balancer: Shield does not take the ARN of a Network Load Balancer.
 *
 * @throws when there is no address, or the health checks are not one for each
 */
export class MailShield extends Construct {
  /** One for each address, and that of the accelerator if there is one. */
  public readonly protections: CfnProtection[];

  constructor(scope: Construct, id: string, props: MailShieldProps) {
    super(scope, id);
    const { allocationIds, healthCheckArns } = props;
    if (allocationIds.length === 0) {
      throw new Error('allocationIds must have one Elastic IP or more, got none');
    }
    if (healthCheckArns && healthCheckArns.length !== allocationIds.length) {
      throw new Error(
        `healthCheckArns must have one for each of the ${allocationIds.length} addresses, got ${healthCheckArns.length}`,
      );
    }
    const subscription = this.assertSubscription(new MailKey(this, 'Key', { encryptionKey: props.encryptionKey }).key);
    const { partition, region, account, stackName } = Stack.of(this);
    this.protections = allocationIds.map((allocationId, index) => {
      const protection = new CfnProtection(this, `Protection${index + 1}`, {
        name: `${stackName}-${index + 1}`,
        resourceArn: `arn:${partition}:ec2:${region}:${account}:eip-allocation/${allocationId}`,
        healthCheckArns: healthCheckArns && [healthCheckArns[index]],
      });
      protection.node.addDependency(subscription);
      return protection;
    });
    if (props.acceleratorArn) {
      const protection = new CfnProtection(this, 'AcceleratorProtection', {
        name: `${stackName}-accelerator`,
        resourceArn: props.acceleratorArn,
      });
      protection.node.addDependency(subscription);
      this.protections.push(protection);
    }
  }

  private assertSubscription(encryptionKey: IKey): AwsCustomResource {
    const description = 'Asserts the Shield Advanced subscription of the account';
    const logGroup = new LogGroup(this, 'SubscriptionLogs', {
      encryptionKey,
      retention: RetentionDays.ONE_YEAR,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const role = new Role(this, 'SubscriptionRole', {
      description,
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
    });
    const policy = new ManagedPolicy(this, 'SubscriptionPolicy', {
      description,
      roles: [role],
      statements: [
        new PolicyStatement({ actions: ['shield:DescribeSubscription'], resources: ['*'] }),
        new PolicyStatement({
          actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
          resources: [logGroup.logGroupArn],
        }),
      ],
    });
    acknowledge(policy, {
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason: 'shield:DescribeSubscription has no resource; it reads one fact (test/shield/mail-shield.test.ts).',
    });
    const subscription = new AwsCustomResource(this, 'Subscription', {
      resourceType: 'Custom::ShieldSubscription',
      // By its ARN: on the role itself the function would depend twice, which template rules warn of.
      role: Role.fromRoleArn(this, 'SubscriptionRoleByArn', role.roleArn, { mutable: false }),
      logGroup,
      timeout: Duration.minutes(1),
      // The SDK of the Lambda runtime has had this call for years; nothing is downloaded.
      installLatestAwsSdk: false,
      onUpdate: {
        service: 'Shield',
        action: 'DescribeSubscription',
        // Shield's API is in one region only.
        region: 'us-east-1',
        physicalResourceId: PhysicalResourceId.of('ShieldSubscription'),
        outputPaths: ['Subscription.EndTime'],
      },
    });
    subscription.node.addDependency(policy);
    this.acknowledgeProvider();
    return subscription;
  }

  /** The function is one for all custom resources of its kind in the stack, beside this construct. */
  private acknowledgeProvider(): void {
    const provider = Stack.of(this).node.findChild(`AWS${AwsCustomResource.PROVIDER_FUNCTION_UUID.replace(/-/g, '')}`);
    acknowledge(
      provider,
      ...['LambdaInsideVPC', 'LambdaDLQ', 'LambdaConcurrency'].flatMap(inRegulatoryPacks).map((id) => ({
        id,
        reason:
          'CloudFormation alone calls this function of the CDK, once for a change of the stack, and sees its failure ' +
          'as that of the deployment. It reads one fact from an AWS API (test/shield/mail-shield.test.ts).',
      })),
    );
  }
}
