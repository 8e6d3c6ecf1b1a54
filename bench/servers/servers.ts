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

/** Starts all variants; `count` accounts each. All of them stay up during the run and idle while another is measured. */
export async function startServers(progress: Progress, count: number): Promise<Servers> {
  const cluster = await startCluster(progress, 2);
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

    const debian = await progress.step("Debian's configuration", () => bootPlainServer('debian', cluster, root, near));
    const dms = await progress.step("docker-mailserver's configuration", () =>
      bootPlainServer('docker-mailserver', cluster, root, near),
    );
    const sdbox = await progress.step('a node with sdbox', () =>
      bootOtherNode(cluster, root, 'sdbox', { MAIL_MAILBOX_FORMAT: 'sdbox' }),
    );
    others.push(debian, dms, sdbox);

    const variant = (name: Variant['name'], node: LocalNode, served: LocalUser[], machines = [node.name]): Variant => ({
      name,
      endpoint: endpointOf(cluster, node),
      accounts: served,
      machines,
    });
    const variants = [
      variant('ours', front, near),
      variant('default', debian, near),
      variant('dms', dms, near),
      variant('hop', front, accounts.get(home.address)!, [front.name, home.name]),
      variant('sdbox', sdbox, near),
    ];
    return { variants, stop };
  } catch (error) {
    stop();
    throw error;
  }
}
