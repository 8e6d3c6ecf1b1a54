import { Duration, Stack } from 'aws-cdk-lib';
import { CfnLifecyclePolicy } from 'aws-cdk-lib/aws-dlm';
import { ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { ShardTag } from './mail-store';

/** Hours between snapshots that Data Lifecycle Manager takes. */
const HOURS = [1, 2, 3, 4, 6, 8, 12, 24];

/** Properties of `ShardSnapshots`. */
export interface ShardSnapshotsProps {
  /** Tag that all of the volumes have, and no others. */
  readonly tag: ShardTag;

  /** The volumes themselves; the role may make snapshots of no others. */
  readonly volumeArns: string[];

  /** Time between snapshots: 1, 2, 3, 4, 6, 8, 12 or 24 hours. */
  readonly every: Duration;

  /** Snapshots to keep of each volume, 1 to 1000. */
  readonly kept: number;
}

/**
 * Incremental snapshots of volumes by Amazon Data Lifecycle Manager, with the volumes' tags and key. They survive a zone.
 *
 * @throws on times and counts that the service does not take
 */
export class ShardSnapshots extends Construct {
  /** When snapshots are made, and how many are kept. */
  public readonly policy: CfnLifecyclePolicy;

  constructor(scope: Construct, id: string, props: ShardSnapshotsProps) {
    super(scope, id);
    const interval = props.every.toHours({ integral: false });
    if (!HOURS.includes(interval)) {
      throw new Error(`snapshotEvery must be one of ${HOURS.join(', ')} hours, got ${interval} hours`);
    }
    if (!Number.isInteger(props.kept) || props.kept < 1 || props.kept > 1000) {
      throw new Error(`snapshotsKept must be a whole number from 1 to 1000, got ${props.kept}`);
    }
    const role = new Role(this, 'Role', {
      assumedBy: new ServicePrincipal('dlm.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
      }),
      description: 'Snapshots of mail volumes',
    });
    const rights = this.createPolicy(role, props);
    this.policy = new CfnLifecyclePolicy(this, 'Policy', {
      description: 'Snapshots of mail volumes',
      state: 'ENABLED',
      executionRoleArn: role.roleArn,
      policyDetails: {
        resourceTypes: ['VOLUME'],
        targetTags: [props.tag],
        schedules: [
          {
            name: 'Mail',
            copyTags: true,
            createRule: { interval, intervalUnit: 'HOURS' },
            retainRule: { count: props.kept },
          },
        ],
      },
    });
    this.policy.node.addDependency(rights);
  }

  /** @see https://docs.aws.amazon.com/ebs/latest/userguide/service-role.html */
  private createPolicy(role: Role, { tag, volumeArns }: ShardSnapshotsProps): ManagedPolicy {
    const snapshots = Stack.of(this).formatArn({
      service: 'ec2',
      account: '',
      resource: 'snapshot',
      resourceName: '*',
    });
    const policy = new ManagedPolicy(this, 'Rights', {
      description: 'Data Lifecycle Manager: snapshots of mail volumes',
      roles: [role],
      statements: [
        new PolicyStatement({
          sid: 'See',
          actions: ['ec2:DescribeInstances', 'ec2:DescribeSnapshots', 'ec2:DescribeTags', 'ec2:DescribeVolumes'],
          resources: ['*'],
        }),
        new PolicyStatement({
          sid: 'MakeSnapshots',
          actions: ['ec2:CreateSnapshot'],
          resources: [...volumeArns, snapshots],
        }),
        new PolicyStatement({ sid: 'CopyTags', actions: ['ec2:CreateTags'], resources: [snapshots] }),
        new PolicyStatement({
          sid: 'ExpireSnapshots',
          actions: ['ec2:DeleteSnapshot'],
          resources: [snapshots],
          conditions: { StringEquals: { [`aws:ResourceTag/${tag.key}`]: tag.value } },
        }),
      ],
    });
    acknowledge(
      policy,
      {
        id: 'AwsSolutions-IAM5[Resource::*]',
        reason:
          'The four Describe actions have no resource in IAM, and only read (test/storage/ebs-mail-store.test.ts).',
      },
      {
        id: findingId(policy, 'AwsSolutions-IAM5', 'Resource', snapshots),
        reason:
          'Snapshots have ids that nobody knows before. They can be made of these volumes only, and deleted only when they have ' +
          'their tag (test/storage/ebs-mail-store.test.ts).',
      },
    );
    return policy;
  }
}
