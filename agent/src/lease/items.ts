/** Where a node stands, as its item in the lease table says. */
export type NodeState =
  /** Holds the lease. */
  | 'live'
  /** Holds the lease and is about to go. */
  | 'draining'
  /** Lost the lease: others saw no renewal. */
  | 'fenced'
  /** Went in good order. */
  | 'gone';

/** How far a node follows the ring, under its lease; 0 for not at all. */
export interface Followed {
  /** Version for which the node is ready to end the sessions of users who move: deliveries to them have ended. */
  readonly ready: number;
  /** Version that the node has applied: these sessions have ended. */
  readonly ring: number;
}

/** A node's item in the lease table. */
export interface NodeItem extends Followed {
  /** EC2 instance id. */
  readonly id: string;
  readonly address: string;
  readonly zone: string;
  /** Grows by one with each lease of this node. */
  readonly epoch: number;
  /** Grows by one with each renewal of a lease. */
  readonly counter: number;
  readonly state: NodeState;
  /** Who adopts or has adopted the node's queue: a `claimOf`. */
  readonly adoptedBy?: string;
  /** The queue is adopted. */
  readonly adopted?: boolean;
}

/** A node of the ring. */
export interface RingNode {
  readonly id: string;
  readonly address: string;
  /** Shard whose volume the node has; undefined where all nodes share one store. */
  readonly shard?: string;
}

/** The ring: the nodes that are homes of users. Each change has the next version. */
export interface RingItem {
  readonly version: number;
  readonly nodes: readonly RingNode[];
}

/** All that the table says of a cluster. */
export interface TableView {
  readonly nodes: readonly NodeItem[];
  readonly ring?: RingItem;
}

/** What a registration replaces; it is refused when the item has changed since. */
export type Replaced = Pick<NodeItem, 'epoch' | 'state' | 'adoptedBy'>;

/** Whether the node holds its lease. */
export const isActive = (node: NodeItem | undefined): boolean => node?.state === 'live' || node?.state === 'draining';

/** How the holder of one lease signs the queues that it adopts. */
export const claimOf = (id: string, epoch: number): string => `${id}#${epoch}`;

/**
 * Whether the one who signed a claim may be at work on it: the node holds a lease, be it a later one, because what a
 * dead agent began goes on without it.
 */
export const isClaimAlive = (claim: string, nodes: readonly NodeItem[]): boolean =>
  nodes.some((node) => isActive(node) && isClaimOf(claim, node.id));

export const isClaimOf = (claim: string, id: string): boolean => claim.startsWith(`${id}#`);
