import type { LocalCluster } from '../../local/cluster';
import type { LocalNode } from '../../local/node';
import { homeOf } from '../../agent/src/ring/home';
import { renderRing } from '../../agent/src/ring/ring-file';

const RING = '/run/mail-platform/ring';

/** A ring as a test wants a node to see it. */
export interface Ring {
  /** @default 1 */
  readonly version?: number;
  /** @default true */
  readonly serving?: boolean;
  /** @default true */
  readonly settled?: boolean;
  readonly nodes: readonly LocalNode[];
  /** Address of one more node that there is none of. @default - none */
  readonly newNode?: string;
  /** @default - the same nodes */
  readonly was?: readonly LocalNode[];
  /** @default - none */
  readonly leaving?: readonly LocalNode[];
}

/** Puts the ring file where the agent puts it. */
export async function putRing(node: LocalNode, ring: Ring): Promise<void> {
  const addresses = (nodes: readonly LocalNode[]) => nodes.map(({ address }) => address).sort();
  const text = renderRing({
    version: ring.version ?? 1,
    self: node.address,
    serving: ring.serving ?? true,
    settled: ring.settled ?? true,
    nodes: [...addresses(ring.nodes), ...(ring.newNode ? [ring.newNode] : [])].sort(),
    was: addresses(ring.was ?? ring.nodes),
    leaving: addresses(ring.leaving ?? []),
  });
  await node.exec(['sh', '-c', `cat >${RING}.test && mv ${RING}.test ${RING}`], { input: text });
}

/** Takes the ring file away. */
export async function removeRing(node: LocalNode): Promise<void> {
  await node.shell(`rm -f ${RING}`);
}

/** Stops the agents, so that a test can put rings of its own; what an agent had stopped on its node runs again. */
export async function restAgents(nodes: readonly LocalNode[]): Promise<void> {
  await Promise.all(nodes.map((node) => node.shell('systemctl stop mail-agent')));
  await Promise.all(nodes.map((node) => control(node, 'unfence', 'root')));
}

/** Starts the agents and waits until their nodes serve again. */
export async function wakeAgents(cluster: LocalCluster): Promise<void> {
  await Promise.all(cluster.nodes.map((node) => removeRing(node)));
  await Promise.all(cluster.nodes.map((node) => node.shell('systemctl start mail-agent')));
  await Promise.all(cluster.nodes.map((node) => node.ready(90_000)));
  await Promise.all(cluster.nodes.map((node) => cluster.balancer.sees(node.name, true)));
}

/** Asks the node's root helper as the agent does: as its user, over the socket. */
export async function control(node: LocalNode, request: string, user = 'mail-agent'): Promise<string> {
  const answer = await node.shell(
    `setpriv --reuid=${user} --regid=${user} --clear-groups python3 -c '
import socket
control = socket.socket(socket.AF_UNIX)
control.connect("/run/mail-platform/control.sock")
control.sendall(b"${request}\\n")
print(control.makefile().read(), end="")'`,
    { timeout: 60_000 },
  );
  return answer.trim();
}

/** The node among these that serves the user. */
export function homeAmong(nodes: readonly LocalNode[], user: string): LocalNode {
  const address = homeOf(
    user,
    nodes.map((node) => node.address),
  );
  return nodes.find((node) => node.address === address)!;
}

/** Users of the test domain, one for each node, whose home it is; their names begin with `prefix`. */
export function addressesHomedOn(cluster: LocalCluster, prefix: string): Map<LocalNode, string> {
  const found = new Map<LocalNode, string>();
  for (let number = 1; found.size < cluster.nodes.length; number++) {
    const address = `${prefix}${number}@${cluster.domains[0]}`;
    const home = homeAmong(cluster.nodes, address);
    if (!found.has(home)) found.set(home, address);
  }
  return found;
}
