import { IVpc, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Construct } from 'constructs';

/** What an imported network has: zones, and kinds of subnets, one of each kind in each zone. */
export interface ImportedVpcOptions {
  readonly zones?: string[];
  readonly public?: boolean;
  readonly private?: boolean;
  readonly isolated?: boolean;
}

/** A network that exists, known by its attributes. */
export function importedVpc(scope: Construct, options: ImportedVpcOptions = {}): IVpc {
  const zones = options.zones ?? ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'];
  const ids = (kind: string, wanted: boolean) =>
    wanted ? zones.map((_zone, index) => `subnet-${kind}${index + 1}`) : undefined;
  return Vpc.fromVpcAttributes(scope, 'ImportedVpc', {
    vpcId: 'vpc-0123456789abcdef0',
    vpcCidrBlock: '10.20.0.0/16',
    availabilityZones: zones,
    publicSubnetIds: ids('public', options.public ?? true),
    privateSubnetIds: ids('private', options.private ?? true),
    isolatedSubnetIds: ids('isolated', options.isolated ?? false),
    publicSubnetRouteTableIds: ids('public-routes', options.public ?? true),
    privateSubnetRouteTableIds: ids('private-routes', options.private ?? true),
    isolatedSubnetRouteTableIds: ids('isolated-routes', options.isolated ?? false),
  });
}
