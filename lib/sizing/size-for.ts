import { Size } from 'aws-cdk-lib';
import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { connectionsPerNode, machineOf } from '../node/sizing';
import { MonthlyCost, monthlyCost } from './monthly-cost';
import { NodeLimits, nodeLimits } from './node-limits';

/** Users of one cluster: no more share a ring of nodes, a file system and its faults. Chosen, not measured. */
export const USERS_PER_CLUSTER_MAX = 100_000;

/** Connections in use when nodes are added, percent; the rest is the reserve. */
const TARGET = 70;

/** The busiest second against the mean of the day. An estimate for offices. */
const PEAK = 4;

/** Messages that a vCPU takes in and delivers a second. An estimate, well below what local disks allow. */
const DELIVERIES_PER_VCPU = 20;

/** From small to large; the first with which few nodes are enough. */
const INSTANCE_TYPES = ['t4g.medium', 'm7g.large', 'm7g.xlarge', 'm7g.2xlarge'];

/** More than these, and larger nodes are chosen: each node reads the leases of all. */
const FEW_NODES = 12;

/** What users ask of a mail system. */
export interface MailDemand {
  /** People with a mailbox. */
  readonly users: number;

  /**
   * Share of the users who are connected at the busiest time, above 0 to 1.
   * @default 0.6
   */
  readonly connectedShare?: number;

  /**
   * Connections that a connected user has: each device and program holds one or more. 1 to 20.
   * @default 3
   */
  readonly sessionsPerUser?: number;

  /**
   * Messages that a user gets and sends in a day.
   * @default 60
   */
  readonly messagesPerDay?: number;

  /**
   * Mean size of a message.
   * @default Size.kibibytes(75)
   */
  readonly messageSize?: Size;

  /**
   * Mean size of a mailbox; not its quota.
   * @default Size.gibibytes(2)
   */
  readonly mailboxSize?: Size;

  /**
   * Availability zones.
   * @default 3
   */
  readonly zones?: number;

  /**
   * Instance type that must be used.
   * @default - chosen
   */
  readonly instanceType?: InstanceType;

  /**
   * Memory of a node that other parts take, such as that of `MailFiltering`; smaller types are left out then.
   * @default - little
   */
  readonly memoryTaken?: Size;

  /**
   * Connections that a node of that type is sized for.
   * @default - from the instance type, see `connectionsPerNode`
   */
  readonly connectionsPerNode?: number;
}

/** A size of the mail system. Figures are of one cluster unless they say otherwise. */
export interface MailSizing {
  /** Clusters (a `MailStack` each, with domains of their own) that the users are spread over. */
  readonly clusters: number;
  /** Client connections at the busiest time. */
  readonly connections: number;
  /** Messages a second at the busiest time. */
  readonly deliveriesPerSecond: number;
  readonly instanceType: InstanceType;
  readonly minNodes: number;
  readonly maxNodes: number;
  readonly connectionsPerNode: number;
  /** What a node allows clients and daemons. */
  readonly limits: NodeLimits;
  /** Messages in one node's queue that are too many: ten minutes of the busiest time, 1000 or more. */
  readonly queueLengthMax: number;
  /** Size of the store that is a quarter more than all mailboxes. */
  readonly storeSizeMax: Size;
  /**
   * USD a month for all clusters.
   * @default - the price of the instance type is not known
   */
  readonly monthlyCost?: MonthlyCost;
}

/**
 * The size of a mail system for its users.
 *
 * Nodes are as many that
 * - 70 % of their connections are enough for the busiest time, and
 * - without one zone the others hold all of its connections, and
 * - 70 % of their vCPUs deliver what comes in then,
 *
 * a multiple of the zones. Their type is the smallest with which 12 nodes are enough; burstable ones are for clusters
 * that need no more than one a zone. `docs/sizing.md` has a table and says which figures are estimates.
 *
 * @throws when a figure is out of its range, or as `connectionsPerNode` does
 */
export function sizeFor(demand: MailDemand): MailSizing {
  const { users, connectedShare = 0.6, sessionsPerUser = 3, messagesPerDay = 60, zones = 3 } = demand;
  check('users', users, Number.isInteger(users) && users >= 1, 'a whole number >= 1');
  check('connectedShare', connectedShare, connectedShare > 0 && connectedShare <= 1, 'above 0 and <= 1');
  check('sessionsPerUser', sessionsPerUser, sessionsPerUser >= 1 && sessionsPerUser <= 20, '1 to 20');
  check('messagesPerDay', messagesPerDay, messagesPerDay >= 0, '>= 0');
  check('zones', zones, Number.isInteger(zones) && zones >= 1, 'a whole number >= 1');
  const messageSize = demand.messageSize ?? Size.kibibytes(75);
  const mailboxSize = demand.mailboxSize ?? Size.gibibytes(2);

  const clusters = Math.ceil(users / USERS_PER_CLUSTER_MAX);
  const usersOfOne = Math.ceil(users / clusters);
  const connections = Math.ceil(usersOfOne * connectedShare * sessionsPerUser);
  const deliveriesPerSecond = (PEAK * usersOfOne * messagesPerDay) / 86_400;
  const chosen = chooseNodes(demand, { connections, deliveriesPerSecond, zones });
  const { instanceType, nodes } = chosen;
  const cost = monthlyCost({
    instanceType,
    nodes,
    zones,
    connections,
    gbPerDay: (usersOfOne * messagesPerDay * messageSize.toBytes()) / 1e9,
    storedGb: (usersOfOne * mailboxSize.toBytes()) / 1e9,
  });
  const queued = (600 * deliveriesPerSecond) / nodes;
  return {
    clusters,
    connections,
    deliveriesPerSecond,
    instanceType,
    minNodes: nodes,
    maxNodes: 2 * nodes,
    connectionsPerNode: chosen.connectionsPerNode,
    limits: nodeLimits(chosen.connectionsPerNode, machineOf(instanceType)),
    queueLengthMax: Math.max(1000, 1000 * Math.ceil(queued / 1000)),
    storeSizeMax: Size.gibibytes(Math.ceil((1.25 * usersOfOne * mailboxSize.toBytes()) / 2 ** 30)),
    monthlyCost: cost && times(cost, clusters),
  };
}

interface Load {
  readonly connections: number;
  readonly deliveriesPerSecond: number;
  readonly zones: number;
}

interface Nodes {
  readonly instanceType: InstanceType;
  readonly connectionsPerNode: number;
  readonly nodes: number;
}

function chooseNodes(demand: MailDemand, load: Load): Nodes {
  const types = demand.instanceType ? [demand.instanceType] : INSTANCE_TYPES.map((name) => new InstanceType(name));
  const options = types.map((instanceType) => {
    const perNode = demand.connectionsPerNode ?? connectionsPerNode(instanceType, demand.memoryTaken);
    return { instanceType, connectionsPerNode: perNode, nodes: nodesFor(load, instanceType, perNode) };
  });
  const few = options.find(({ instanceType, nodes }) => nodes <= (instanceType.isBurstable() ? load.zones : FEW_NODES));
  return few ?? options[options.length - 1];
}

function nodesFor({ connections, deliveriesPerSecond, zones }: Load, type: InstanceType, perNode: number): number {
  const left = zones > 1 ? (zones - 1) / zones : 1;
  const share = Math.min(TARGET / 100, left);
  const busy = deliveriesPerSecond / (machineOf(type).vcpus * DELIVERIES_PER_VCPU * (TARGET / 100));
  return zones * Math.max(1, Math.ceil(Math.max(connections / (perNode * share), busy) / zones));
}

function times(cost: MonthlyCost, factor: number): MonthlyCost {
  return {
    nodes: factor * cost.nodes,
    network: factor * cost.network,
    edge: factor * cost.edge,
    storage: factor * cost.storage,
    other: factor * cost.other,
    total: factor * cost.total,
  };
}

function check(name: string, value: number, valid: boolean, expected: string): void {
  if (!valid) {
    throw new Error(`${name} must be ${expected}, got ${value}; change ${name}`);
  }
}
