import * as path from 'node:path';
import { LocalCluster } from '../../local/cluster';
import type { ClientView, LocalUser } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { prepare } from '../../local/prepare';
import type { Progress } from '../../local/progress';
import { synthesise } from '../../local/synthesise';
import type { Mechanism } from '../load/job';
import { enrol, makeAccounts } from './accounts';
import { bootOtherNode } from './other-node';
import { bootPlainServer } from './plain-server';
import { bootWithout, WITHOUT, type Without } from './without';

/** One way to serve the same accounts. */
export interface Variant {
  readonly name: string;
  readonly endpoint: ClientView;
  readonly accounts: LocalUser[];
  /** How its clients log in. @default 'plain' */
  readonly mechanism?: Mechanism;
  /** Machines that take part, for their processor time. */
  readonly machines: string[];
}

/** The servers of one run. */
export interface Servers {
  readonly variants: Variant[];
  stop(): void;
}

/**
 * Starts nodes of ours. The first zone's node is the one that clients connect to.
 *
 * @param configuration file beside mail.config.ts
 */
export function startCluster(
  progress: Progress,
  nodes: number,
  configuration = 'mail.config.ts',
): Promise<LocalCluster> {
  const config = path.join(__dirname, '..', configuration);
  return LocalCluster.start({ synthesise: (folder) => synthesise(folder, progress, config), progress, nodes });
}

/** Where clients find a node. */
export function endpointOf(cluster: LocalCluster, node: LocalNode): ClientView {
  return { ...cluster.view, address: node.address };
}

/** The variants of `bench:node`: those of every run, and those that `--variants` may name besides. */
export const VARIANTS = ['ours', 'default', 'dms', 'hop', 'sdbox'];
export const MORE_VARIANTS = Object.keys(WITHOUT);

/** Starts the named variants; `count` accounts each. All of them stay up during the run and idle while another is measured. */
export async function startServers(progress: Progress, count: number, names: string[]): Promise<Servers> {
  const unknown = names.filter((name) => ![...VARIANTS, ...MORE_VARIANTS].includes(name));
  if (unknown.length > 0)
    throw new Error(
      `there is no variant ${unknown.join(', ')}; there are ${[...VARIANTS, ...MORE_VARIANTS].join(', ')}`,
    );
  // The journal is not in the other configurations, and moto takes more of the machine for it than a node for the message (bench:journal).
  const cluster = await startCluster(progress, 2, 'without-journal.config.ts');
  const others: LocalNode[] = [];
  const stop = () => {
    for (const node of others) node.kill();
    cluster.stop();
  };
  try {
    const { root } = await prepare(progress);
    const [front, home] = cluster.nodes;
    const accounts = makeAccounts(count, cluster.domains[0], [front.address, home.address]);
    const near = accounts.get(front.address)!;
    await progress.step('accounts', () => enrol(cluster, [...accounts.values()].flat()));

    const boot: { readonly [name: string]: () => Promise<LocalNode> } = {
      default: () => bootPlainServer('debian', cluster, root, near),
      dms: () => bootPlainServer('docker-mailserver', cluster, root, near),
      sdbox: () => bootOtherNode(cluster, root, 'sdbox', { MAIL_MAILBOX_FORMAT: 'sdbox' }),
    };
    const variants: Variant[] = [];
    for (const name of names) {
      if (name === 'ours' || name === 'hop') {
        const served = accounts.get(name === 'hop' ? home.address : front.address)!;
        const machines = name === 'hop' ? [front.name, home.name] : [front.name];
        variants.push({ name, endpoint: endpointOf(cluster, front), accounts: served, machines });
        continue;
      }
      const node = await progress.step(
        `${name} boots`,
        boot[name] ?? (() => bootWithout(cluster, root, name as Without)),
      );
      others.push(node);
      variants.push({ name, endpoint: endpointOf(cluster, node), accounts: near, machines: [node.name] });
    }
    return { variants, stop };
  } catch (error) {
    stop();
    throw error;
  }
}
