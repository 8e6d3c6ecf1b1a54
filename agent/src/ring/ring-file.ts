import { chmodSync, renameSync, writeFileSync } from 'node:fs';
import { homeIn, Shard } from './shards';

/** Where Dovecot's passdb reads the ring. */
export const RING_FILE = '/run/mail-platform/ring';

/** What this node may serve, as it stands in the ring file. */
export interface RingView {
  /** Version of the ring; 0 when none was applied under this lease. */
  readonly version: number;
  /** This node's address. */
  readonly self: string;
  /** Without a lease nothing may be served. */
  readonly serving: boolean;
  /** Every node has applied this ring. */
  readonly settled: boolean;
  /** Addresses of the ring's nodes, sorted. */
  readonly nodes: readonly string[];
  /**
   * Addresses of all nodes of the last ring that was settled here and of those that were in effect since, sorted. A user
   * whose home is this node among all of them has had no other home in between. Empty when there can be no such user.
   */
  readonly was: readonly string[];
  /**
   * Addresses of nodes that have left the ring and hold their lease still, sorted: they bring to an end what was passed on to
   * them. Connections to all others that are not in the ring are cut.
   */
  readonly leaving: readonly string[];
  /** All shards of the store, with the nodes that have them; undefined where all nodes share one store. */
  readonly shards?: readonly Shard[];
}

/** Whether this node may open the user's mail now. */
export const serves = (view: RingView, user: string): boolean =>
  view.serving &&
  homeIn(user, view.nodes, view.shards) === view.self &&
  (view.settled || homeIn(user, view.was, view.shards) === view.self);

/** The file's text: a key and a value on each line, with a tab between them; of a shard its name and its node. */
export const renderRing = (view: RingView): string =>
  [
    ['version', String(view.version)],
    ['self', view.self],
    ['state', view.serving ? 'serving' : 'fenced'],
    ['settled', view.settled ? 'yes' : 'no'],
    ...view.nodes.map((address) => ['node', address]),
    ...view.was.map((address) => ['was', address]),
    ...view.leaving.map((address) => ['leaving', address]),
    ...(view.shards ?? []).map(({ name, address }) => ['shard', name, address ?? '']),
  ]
    .map((fields) => `${fields.join('\t')}\n`)
    .join('');

/**
 * Replaces the ring file at once: a reader sees the old text or the new. In memory, so nothing is synced; and without
 * giving up the processor, so that nothing comes between the decision and the file.
 */
export const writeRing = (path: string, view: RingView): void => {
  writeFileSync(`${path}.tmp`, renderRing(view));
  // Whatever the umask is: Dovecot reads it as another user.
  chmodSync(`${path}.tmp`, 0o644);
  renameSync(`${path}.tmp`, path);
};
