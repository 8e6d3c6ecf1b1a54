import { Stack } from 'aws-cdk-lib';
import { Accelerator, CfnAccelerator, ConnectionProtocol } from 'aws-cdk-lib/aws-globalaccelerator';
import { NetworkLoadBalancerEndpoint } from 'aws-cdk-lib/aws-globalaccelerator-endpoints';
import { INetworkLoadBalancer } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';

/** Folder of flow logs in the bucket. */
const PREFIX = 'accelerator';

/** Properties of `MailAccelerator`. */
export interface MailAcceleratorProps {
  /** Balancer with a security group and TCP listeners only: with a TLS listener AWS does not keep clients' addresses. */
  readonly loadBalancer: INetworkLoadBalancer;

  /** Ports to take. */
  readonly ports: number[];

  /** Bucket for flow logs, with S3's own keys. */
  readonly flowLogsBucket: IBucket;
}

/**
 * Two fixed anycast addresses in front of the balancer: clients enter AWS' network where it is near to them. Nodes still see the
 * clients' addresses. Global Accelerator goes by the balancer's own health checks (docs/global-accelerator.md).
 *
 * 18 USD a month, and 0.015 a GB and more, by region.
 *
 * @throws when there is no port
 */
export class MailAccelerator extends Construct {
  /** Its two addresses, and its name. */
  public readonly accelerator: Accelerator;

  constructor(scope: Construct, id: string, props: MailAcceleratorProps) {
    super(scope, id);
    if (props.ports.length === 0) {
      throw new Error('ports must have one port or more, got none');
    }
    this.accelerator = new Accelerator(this, 'Accelerator');
    const listener = this.accelerator.addListener('Listener', {
      protocol: ConnectionProtocol.TCP,
      portRanges: props.ports.map((port) => ({ fromPort: port, toPort: port })),
    });
    listener.addEndpointGroup('Endpoints', {
      endpoints: [new NetworkLoadBalancerEndpoint(props.loadBalancer, { preserveClientIp: true })],
    });
    this.logFlows(props.flowLogsBucket);
  }

  /** @see https://docs.aws.amazon.com/global-accelerator/latest/dg/monitoring-global-accelerator.flow-logs.html */
  private logFlows(bucket: IBucket): void {
    const { account } = Stack.of(this);
    const principals = [new ServicePrincipal('delivery.logs.amazonaws.com')];
    const ofAccount = { 'aws:SourceAccount': account };
    bucket.addToResourcePolicy(
      new PolicyStatement({
        sid: 'FlowLogsLook',
        principals,
        actions: ['s3:GetBucketAcl'],
        resources: [bucket.bucketArn],
        conditions: { StringEquals: ofAccount },
      }),
    );
    bucket.addToResourcePolicy(
      new PolicyStatement({
        sid: 'FlowLogsWrite',
        principals,
        actions: ['s3:PutObject'],
        resources: [bucket.arnForObjects(`${PREFIX}/AWSLogs/${account}/*`)],
        conditions: { StringEquals: { ...ofAccount, 's3:x-amz-acl': 'bucket-owner-full-control' } },
      }),
    );
    const accelerator = this.accelerator.node.defaultChild as CfnAccelerator;
    accelerator.flowLogsEnabled = true;
    accelerator.flowLogsS3Bucket = bucket.bucketName;
    accelerator.flowLogsS3Prefix = PREFIX;
    if (bucket.policy) {
      accelerator.node.addDependency(bucket.policy);
    }
  }
}
