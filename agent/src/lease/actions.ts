import { RingView } from '../ring/ring-file';
import { Followed, NodeItem, NodeState, Replaced, RingItem, TableView } from './items';

/** One node under one lease. */
export type LeaseOf = Pick<NodeItem, 'id' | 'epoch'>;

/** What membership has done. Those of `ImmediateAction` are over when they return; each other one has one outcome. */
export type Action = ImmediateAction | TableAction | NodeAction;

export type ImmediateAction =
  | { readonly do: 'publish'; readonly view: RingView }
  | { readonly do: 'log'; readonly level: 'info' | 'warning' | 'error'; readonly message: string };

/** In the lease table; a condition that doesn't hold gives the outcome `refused`. */
export type TableAction =
  | { readonly do: 'read' }
  | { readonly do: 'register'; readonly epoch: number; readonly state: NodeState; readonly replaced?: Replaced }
  | ({ readonly do: 'renew'; readonly epoch: number; readonly state: NodeState } & Followed)
  | { readonly do: 'go'; readonly epoch: number }
  | { readonly do: 'fence-peer'; readonly peer: LeaseOf & Pick<NodeItem, 'counter'> }
  | { readonly do: 'write-ring'; readonly ring: RingItem }
  | { readonly do: 'claim'; readonly peer: LeaseOf; readonly claim: string; readonly replaced?: string }
  | { readonly do: 'finish-adoption'; readonly peer: LeaseOf; readonly claim: string };

/** On this node. */
export type NodeAction =
  /** Ends all sessions. */
  | { readonly do: 'kick-all' }
  /** Ends deliveries to users that the view doesn't let this node serve. */
  | { readonly do: 'end-deliveries'; readonly view: RingView }
  /** Ends their sessions, when that is done. */
  | { readonly do: 'kick'; readonly view: RingView }
  /** Forgets what was read in their mailboxes. */
  | { readonly do: 'forget' }
  /** Kills the mail daemons and keeps them down. */
  | { readonly do: 'stop' }
  /** Undoes `stop`. */
  | { readonly do: 'start'; readonly epoch: number }
  /** Keeps the store open until then. */
  | { readonly do: 'alive'; readonly deadline: number }
  /** Takes over the queue of a node that is down. */
  | { readonly do: 'adopt'; readonly peer: LeaseOf; readonly claim: string };

/** How an action went. */
export interface Outcome {
  readonly action: TableAction | NodeAction;
  /** When it was begun. */
  readonly sentAt: number;
  /** `failed`: it may have happened or not. */
  readonly result: 'ok' | 'refused' | 'failed';
  /** Why it failed. */
  readonly reason?: string;
  /** What was read. */
  readonly table?: TableView;
}
