import { homeOf } from './home';

/** A zonal part of the store, and the node that has its volume. */
export interface Shard {
  readonly name: string;
  /** Address of the node; undefined while there is none, or two seem to have it. */
  readonly address?: string;
}

/** A node that may have a shard. */
export interface ShardHolder {
  readonly address: string;
  readonly shard?: string;
}

/** Who has which shard. Where two nodes say that they do, one of them is about to learn that it doesn't: neither counts. */
export const holdersOf = (names: readonly string[], nodes: readonly ShardHolder[]): Shard[] =>
  names.map((name) => {
    const addresses = nodes.filter(({ shard }) => shard === name).map(({ address }) => address);
    return { name, ...(addresses.length === 1 && { address: addresses[0] }) };
  });

/**
 * Where a user's mail is opened among these nodes. On a store that all nodes share, `homeOf` says. With shards a user has
 * the one that the directory says, or else one by the same rule over their names, whichever nodes there are, and the home is the
 * node that has it.
 *
 * `home.lua` and `ring.py` do the same; `agent/test/ring/shard-vectors.json` holds them to it.
 *
 * @param shards undefined on a shared store
 * @param chosen the user's shard in the directory
 * @returns undefined when there is no such node
 */
export const homeIn = (
  user: string,
  nodes: readonly string[],
  shards: readonly Shard[] | undefined,
  chosen?: string,
): string | undefined => {
  if (!shards) return homeOf(user, nodes);
  const names = shards.map((shard) => shard.name);
  const name = chosen ?? homeOf(user, names);
  const address = shards.find((shard) => shard.name === name)?.address;
  return address !== undefined && nodes.includes(address) ? address : undefined;
};
