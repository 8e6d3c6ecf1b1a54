import type { LocalCluster } from '../../local/cluster';
import type { NetworkStore } from '../../local/network-store';
import type { LocalNode } from '../../local/node';
import type { Random } from './random';

/** Something that goes wrong, and how it is mended. */
export interface Fault {
  /** Seconds until it is mended. */
  readonly seconds: number;
  /** How many clients it may touch: all of them when the store or the table is away. */
  readonly reach: 'node' | 'cluster';
  /** Makes it happen; resolves to what mends it. */
  readonly strike: (cluster: LocalCluster, random: Random) => Promise<() => Promise<unknown>>;
}

/** Every way in which the cluster is broken, by name. */
export const FAULTS = {
  /** A machine loses power; a new one takes its place. */
  power: {
    seconds: 15,
    reach: 'node',
    strike: async (cluster, random) => {
      const node = random.of(cluster.nodes);
      await node.cutPower();
      return () => replace(cluster, [node]);
    },
  },
  /** Two machines of three lose power. */
  'power-of-two': {
    seconds: 15,
    reach: 'cluster',
    strike: async (cluster, random) => {
      const nodes = random.shuffled(cluster.nodes).slice(0, 2);
      await Promise.all(nodes.map((node) => node.cutPower()));
      return () => replace(cluster, nodes);
    },
  },
  /** A machine loses power, and the balancer notices only when it is back. */
  'power-unnoticed': {
    seconds: 25,
    reach: 'node',
    strike: async (cluster, random) => {
      const node = random.of(cluster.nodes);
      await cluster.balancer.look(node.name, false);
      await node.cutPower();
      return async () => {
        await cluster.balancer.look(node.name, true);
        await replace(cluster, [node]);
      };
    },
  },
  /** A machine reaches nobody, not even the store. */
  network: {
    seconds: 20,
    reach: 'node',
    strike: async (cluster, random) => {
      const node = random.of(cluster.nodes);
      await node.unplug();
      return () => node.plugAgain();
    },
  },
  /** A machine reaches the store and nobody else. */
  'network-but-store': {
    seconds: 20,
    reach: 'node',
    strike: async (cluster, random) => {
      const node = random.of(cluster.nodes);
      await firewall(
        node,
        `table ip fault {
          chain in { type filter hook input priority -300; iifname != "lo" tcp sport != 2049 drop; iifname != "lo" ip protocol != tcp drop; }
          chain out { type filter hook output priority -300; oifname != "lo" tcp dport != 2049 drop; oifname != "lo" ip protocol != tcp drop; }
        }`,
      );
      return () => firewall(node, 'delete table ip fault');
    },
  },
  /** Every process of a machine stops, and goes on as if nothing had been. */
  freeze: {
    seconds: 20,
    reach: 'node',
    strike: async (cluster, random) => {
      const node = random.of(cluster.nodes);
      node.freeze();
      return async () => node.thaw();
    },
  },
  /** The store answers nobody. */
  'store-stall': {
    seconds: 20,
    reach: 'cluster',
    strike: async (cluster) => {
      storeOf(cluster).stall();
      return async () => storeOf(cluster).resume();
    },
  },
  /** The store has no room left. */
  'store-full': {
    seconds: 10,
    reach: 'cluster',
    strike: async (cluster) => {
      await storeOf(cluster).fill();
      return () => storeOf(cluster).empty();
    },
  },
  /** The lease table answers nobody. */
  table: {
    seconds: 10,
    reach: 'cluster',
    strike: async (cluster) => {
      cluster.aws.stall();
      return async () => cluster.aws.resume();
    },
  },
  dovecot: killed('dovecot'),
  postfix: killed('postfix'),
  agent: killed('mail-agent'),
} satisfies { [name: string]: Fault };

export type FaultName = keyof typeof FAULTS;

/** Every process of a unit is killed; systemd starts it again. */
function killed(unit: string): Fault {
  return {
    seconds: 10,
    reach: 'node',
    strike: async (cluster, random) => {
      await random.of(cluster.nodes).shell(`systemctl kill --kill-whom=all --signal=SIGKILL ${unit}`);
      return async () => undefined;
    },
  };
}

async function replace(cluster: LocalCluster, nodes: readonly LocalNode[]): Promise<void> {
  for (const node of nodes) await cluster.clear(node);
  await Promise.all(nodes.map(() => cluster.launch()));
}

async function firewall(node: LocalNode, rules: string): Promise<void> {
  await node.exec(['nft', '-f', '-'], { input: rules });
}

function storeOf(cluster: LocalCluster): NetworkStore {
  return cluster.store as NetworkStore;
}
