import { Tags } from 'aws-cdk-lib';
import { AutoScalingGroup } from 'aws-cdk-lib/aws-autoscaling';
import { ISubnet, IVpc, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import { Construct } from 'constructs';
import { IMailShard } from '../storage/mail-store';
import { FleetOptions } from './fleet-options';
import { createGroup, GroupProps } from './node-group';

/** What `createShardGroup` needs to know; every default is settled. `vpcSubnets` are those in the shard's zone. */
export interface ShardGroupProps extends GroupProps {
  readonly shard: IMailShard;
}

/**
 * The Auto Scaling group of a shard: exactly one node, where the shard's volume is. The volume can't be in two places, so an
 * old node goes before the new one comes, both when it is unhealthy and in a deployment.
 */
export function createShardGroup(scope: Construct, id: string, props: ShardGroupProps): AutoScalingGroup {
  const group = createGroup(scope, id, props, {
    minCapacity: 1,
    maxCapacity: 1,
    maintenance: { min: 0, max: 100 },
    refresh: { min: 0, max: 100 },
  });
  // By this tag the node may be given the volume, and no other instance.
  const { key, value } = props.shard.instanceTag;
  Tags.of(group).add(key, value, { includeResourceTypes: ['AWS::AutoScaling::AutoScalingGroup'] });
  return group;
}

/** Each shard has one node and a store of its own: another number, or what all share, can't be asked for. */
export function checkFitsShards({ minNodes, maxNodes, sharedFolders }: FleetOptions, shards?: IMailShard[]): void {
  if (shards && sharedFolders) {
    throw new Error(
      'sharedFolders must be left out with shards, whose nodes have no store in common; remove it, or use MailStorage.efs()',
    );
  }
  for (const [name, value] of Object.entries({ minNodes, maxNodes })) {
    if (shards && value !== undefined) {
      throw new Error(
        `${name} must be left out with shards, each of which has one node (${shards.length}), got ${value}; ` +
          'remove it, or change shardsPerZone',
      );
    }
  }
}

/** The subnets in a shard's zone. @throws when there is none */
export function subnetsIn(vpc: IVpc, selection: SubnetSelection, { name, availabilityZone }: IMailShard): ISubnet[] {
  const subnets = vpc.selectSubnets(selection).subnets.filter((subnet) => subnet.availabilityZone === availabilityZone);
  if (subnets.length === 0) {
    throw new Error(`vpcSubnets must have a subnet in ${availabilityZone}, the zone of ${name}, got none; add one`);
  }
  return subnets;
}
