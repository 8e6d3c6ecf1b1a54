import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { machineOf } from '../node/sizing';

/** Where and when the prices below were looked up. */
export const PRICES_OF = 'us-east-1, list prices on demand, 2026';

/** USD. Hours in a month: 730. */
const PRICE = {
  hours: 730,
  /** For an hour and a vCPU of families whose sizes cost in proportion. */
  vcpu: { m7g: 0.0816 / 2, c7g: 0.0725 / 2 } as { [family: string]: number },
  burstable: { 't4g.medium': 0.0336 } as { [type: string]: number },
  rootVolumeGb: 0.08,
  natGateway: 32.85,
  publicAddress: 3.65,
  balancer: 16.43,
  nlcu: 4.38,
  efs: { standardGb: 0.3, infrequentGb: 0.016, archiveGb: 0.008, readGb: 0.03, writtenGb: 0.06 },
  key: 1,
  hostedZone: 0.5,
  secret: 0.4,
  alarm: 0.1,
  /** Writes and reads of a node's lease, see `LeaseTable`. */
  leases: 2,
};

/** Active TLS connections, and GB an hour, that one load balancer capacity unit holds. */
const NLCU = { tlsConnections: 3000, gbPerHour: 1 };

/** Alarms of the smallest `MailStack`; a test counts them. */
const ALARMS = 23;

/** USD a month, without backups, logs, data transfer, NAT traffic and taxes. */
export interface MonthlyCost {
  /** Instances and their root volumes. */
  readonly nodes: number;
  /** NAT gateways, one a zone. */
  readonly network: number;
  /** Network Load Balancer, its capacity units, and an address a zone. */
  readonly edge: number;
  /** EFS: mail by age in three classes, and what is written and read. */
  readonly storage: number;
  /** Key, hosted zone, secrets, alarms, leases. */
  readonly other: number;
  readonly total: number;
}

/** What is paid for. */
export interface Quantities {
  readonly instanceType: InstanceType;
  readonly nodes: number;
  readonly zones: number;
  /** TLS connections at the busiest time. */
  readonly connections: number;
  /** Mail that comes and goes, GB a day. */
  readonly gbPerDay: number;
  /** Mail in mailboxes, GB. */
  readonly storedGb: number;
}

/**
 * What a cluster costs, from list prices (`PRICES_OF`).
 *
 * Mail is taken to have come in at the same rate for ever, so its age follows from size and rate; each message is
 * written twice (queue, mailbox) and read three times (delivery, two clients).
 *
 * @returns nothing when the price of the instance type is not known
 */
export function monthlyCost(quantities: Quantities): MonthlyCost | undefined {
  const { nodes: count, zones, connections, gbPerDay, storedGb } = quantities;
  const hourly = hourlyPrice(quantities.instanceType);
  if (hourly === undefined) {
    return undefined;
  }
  const nodes = count * (hourly * PRICE.hours + 20 * PRICE.rootVolumeGb);
  const network = zones * (PRICE.natGateway + PRICE.publicAddress);
  // Each message comes once and is fetched twice, in traffic too.
  const nlcus = Math.max(connections / NLCU.tlsConnections, (3 * gbPerDay) / 24 / NLCU.gbPerHour);
  const edge = PRICE.balancer + zones * PRICE.publicAddress + nlcus * PRICE.nlcu;
  const young = Math.min(storedGb, 30 * gbPerDay);
  const older = Math.min(storedGb - young, 60 * gbPerDay);
  const { efs } = PRICE;
  const storage =
    young * efs.standardGb +
    older * efs.infrequentGb +
    (storedGb - young - older) * efs.archiveGb +
    (PRICE.hours / 24) * gbPerDay * (2 * efs.writtenGb + 3 * efs.readGb);
  const other = PRICE.key + PRICE.hostedZone + 2 * PRICE.secret + ALARMS * PRICE.alarm + count * PRICE.leases;
  return { nodes, network, edge, storage, other, total: nodes + network + edge + storage + other };
}

function hourlyPrice(instanceType: InstanceType): number | undefined {
  const name = instanceType.toString();
  const [family] = name.split('.');
  const perVcpu = PRICE.vcpu[family];
  return perVcpu === undefined ? PRICE.burstable[name] : perVcpu * machineOf(instanceType).vcpus;
}
