import { ISubnet, IVpc, SubnetSelection } from 'aws-cdk-lib/aws-ec2';

/** Fewest zones that the mail system runs in: with three, the loss of one leaves a majority. */
export const MIN_ZONES = 3;

/** What the owner of an imported network chose; see `MailNetworkProps`. */
export interface ImportedSubnetSelections {
  readonly edgeSubnets?: SubnetSelection;
  readonly nodeSubnets?: SubnetSelection;
  readonly storageSubnets?: SubnetSelection;
}

/** Subnets of an imported network by purpose. */
export interface ImportedSubnets {
  readonly edge: ISubnet[];
  readonly node: ISubnet[];
  readonly storage: ISubnet[];
}

/**
 * Finds the subnets of an imported network.
 *
 * @throws when it has no subnets of a kind, or when they span fewer than three zones; the message names the kind, the
 *   zones found and the prop that chooses
 */
export function importedSubnets(vpc: IVpc, selections: ImportedSubnetSelections): ImportedSubnets {
  const edge = subnetsFor(vpc, 'public', 'edgeSubnets', vpc.publicSubnets, selections.edgeSubnets);
  const node = subnetsFor(vpc, 'private', 'nodeSubnets', vpc.privateSubnets, selections.nodeSubnets);
  return { edge: onePerZone(edge), node, storage: onePerZone(storageSubnets(vpc, node, selections)) };
}

/** Zones of subnets, each once. */
export function zonesOfSubnets(subnets: ISubnet[]): string[] {
  return [...new Set(subnets.map((subnet) => subnet.availabilityZone))];
}

/** Balancers and mount targets take one subnet of a zone. */
export function onePerZone(subnets: ISubnet[]): ISubnet[] {
  return subnets.filter(
    (subnet, index) => subnets.findIndex((other) => other.availabilityZone === subnet.availabilityZone) === index,
  );
}

function storageSubnets(vpc: IVpc, node: ISubnet[], selections: ImportedSubnetSelections): ISubnet[] {
  if (selections.storageSubnets) {
    return subnetsFor(vpc, 'storage', 'storageSubnets', [], selections.storageSubnets);
  }
  // A node without a mount target in its own zone would depend on another zone.
  const isolatedZones = zonesOfSubnets(vpc.isolatedSubnets);
  return zonesOfSubnets(node).every((zone) => isolatedZones.includes(zone)) ? vpc.isolatedSubnets : node;
}

function subnetsFor(vpc: IVpc, kind: string, prop: string, all: ISubnet[], selection?: SubnetSelection): ISubnet[] {
  const subnets = selection ? vpc.selectSubnets(selection).subnets : all;
  const zones = zonesOfSubnets(subnets);
  if (subnets.length > 0 && vpc.selectSubnets({ subnets }).isPendingLookup) {
    // Placeholders, in two zones: the network is looked up after this synthesis, before the next.
    return subnets;
  }
  if (zones.length < MIN_ZONES) {
    throw new Error(
      `vpc must have ${kind} subnets in ${MIN_ZONES} or more zones, got ${zones.length}` +
        `${zones.length > 0 ? ` (${zones.join(', ')})` : ''}; add subnets, or choose others by ${prop}`,
    );
  }
  return subnets;
}
