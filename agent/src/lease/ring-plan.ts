import { isActive, RingItem, RingNode, TableView } from './items';

/**
 * The ring that should follow the one in the table: without nodes that are down, and with this node or without it.
 *
 * @returns undefined when the ring is right as it is
 */
export const nextRing = (table: TableView, me: RingNode, wanted: boolean): RingItem | undefined => {
  const before = table.ring?.nodes ?? [];
  const nodes = othersInRing(table, me.id);
  if (wanted) nodes.push({ id: me.id, address: me.address, ...(me.shard !== undefined && { shard: me.shard }) });
  nodes.sort((one, other) => (one.id < other.id ? -1 : 1));
  if (listed(nodes) === listed(before)) return undefined;
  return { version: (table.ring?.version ?? 0) + 1, nodes };
};

/** Nodes of the ring other than this one that hold their lease. */
export const othersInRing = ({ ring, nodes }: TableView, me: string): RingNode[] =>
  (ring?.nodes ?? []).filter(({ id }) => id !== me && isActive(nodes.find((node) => node.id === id)));

/** Whether a node that holds its lease is about to join the ring, or one of the ring to leave it. */
export const isRingDue = ({ ring, nodes }: TableView): boolean => {
  const live = nodes.filter(({ state }) => state === 'live');
  return listed(live) !== listed(ring?.nodes ?? []);
};

const listed = (nodes: readonly RingNode[]): string =>
  nodes
    .map(({ id, address }) => `${id} ${address}`)
    .sort()
    .join();
