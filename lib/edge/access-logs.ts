import { Annotations, Stack } from 'aws-cdk-lib';
import { NetworkLoadBalancer } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { acknowledge } from '../compliance';
import { inRegulatoryPacks } from '../private/rule-packs';

/**
 * Turns on the access logs of TLS listeners, or says why there are none.
 *
 * Not `loadBalancer.logAccessLogs()`: that needs to know the region, and lets a principal of other kinds of balancers
 * write to the bucket.
 *
 * @see https://docs.aws.amazon.com/elasticloadbalancing/latest/network/enable-access-logs.html
 */
export function logAccess(loadBalancer: NetworkLoadBalancer, prefix: string, bucket?: IBucket): void {
  if (!bucket) {
    acknowledge(
      loadBalancer,
      ...['AwsSolutions-ELB2', ...inRegulatoryPacks('ELBLoggingEnabled')].map((id) => ({
        id,
        reason:
          'Network Load Balancers log connections of TLS listeners only, and this one has none: TLS ends at the ' +
          'nodes, whose logs and the flow logs have each connection (test/edge/mail-edge.test.ts).',
      })),
    );
    return;
  }
  allowDelivery(loadBalancer, prefix, bucket);
  loadBalancer.setAttribute('access_logs.s3.enabled', 'true');
  loadBalancer.setAttribute('access_logs.s3.bucket', bucket.bucketName);
  loadBalancer.setAttribute('access_logs.s3.prefix', prefix);
}

function allowDelivery(loadBalancer: NetworkLoadBalancer, prefix: string, bucket: IBucket): void {
  const { partition, region, account } = Stack.of(loadBalancer);
  const principals = [new ServicePrincipal('delivery.logs.amazonaws.com')];
  const sourceArn = { 'aws:SourceArn': `arn:${partition}:logs:${region}:${account}:*` };
  const write = bucket.addToResourcePolicy(
    new PolicyStatement({
      sid: 'BalancerLogsWrite',
      principals,
      actions: ['s3:PutObject'],
      resources: [bucket.arnForObjects(`${prefix}/AWSLogs/${account}/*`)],
      conditions: {
        StringEquals: { 'aws:SourceAccount': account, 's3:x-amz-acl': 'bucket-owner-full-control' },
        ArnLike: sourceArn,
      },
    }),
  );
  bucket.addToResourcePolicy(
    new PolicyStatement({
      sid: 'BalancerLogsCheck',
      principals,
      actions: ['s3:GetBucketAcl'],
      resources: [bucket.bucketArn],
      conditions: { StringEquals: { 'aws:SourceAccount': account }, ArnLike: sourceArn },
    }),
  );
  if (!write.statementAdded) {
    Annotations.of(loadBalancer).addWarningV2(
      'cdk-mail-platform:accessLogsBucketPolicy',
      'the policy of an imported bucket can not be changed from here; it must let delivery.logs.amazonaws.com ' +
        `call s3:GetBucketAcl, and s3:PutObject below ${prefix}/AWSLogs, or the balancer is refused`,
    );
  }
  // AWS writes a test object when logging is turned on.
  if (write.policyDependable) {
    loadBalancer.node.addDependency(write.policyDependable);
  }
}
