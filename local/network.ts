import { existsSync, writeFileSync } from 'node:fs';
import { offset, type Plan, type PlannedPlace } from './plan';
import { run } from './run';

const BRIDGE = 'vpc';

/** Link-local address of the instance metadata service. */
export const METADATA_ADDRESS = '169.254.169.254';

/** Lays the cluster's network into the current network namespace, which the sandbox made. */
export async function layNetwork(plan: Plan): Promise<void> {
  const addresses = [plan.gateway, ...plan.balancerAddresses].map(
    (address) => `address add ${address}/${plan.prefixLength} dev ${BRIDGE}`,
  );
  await batch([
    `link add ${BRIDGE} type bridge`,
    `link set ${BRIDGE} up`,
    ...addresses,
    `address add ${METADATA_ADDRESS}/32 dev lo`,
    // Replies of nodes to a client's own address come back to the balancer, as an NLB that preserves client addresses has it.
    'rule add fwmark 1 lookup 100',
    'route add local default dev lo table 100',
  ]);
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  for (const scope of ['all', 'default', BRIDGE]) writeFileSync(`/proc/sys/net/ipv4/conf/${scope}/rp_filter`, '0');
  await run('nft', ['-f', '-'], {
    input: `table ip balancer {
      chain divert { type filter hook prerouting priority mangle; meta l4proto tcp socket transparent 1 meta mark set 1 accept; }
    }`,
  });
}

/** Makes the node's network namespace, joined to the cluster's network. */
export async function plugIn(node: PlannedPlace, plan: Plan): Promise<void> {
  const octets = node.address.split('.').map((octet) => Number(octet).toString(16).padStart(2, '0'));
  await run('ip', ['netns', 'add', node.name]);
  await batch([
    // A fixed hardware address: neighbours need not learn a new one when a node is booted again.
    `link add ${node.name} type veth peer name host0 address 02:00:${octets.join(':')} netns ${node.name}`,
    `link set ${node.name} master ${BRIDGE} up`,
  ]);
  await batch(
    [
      'link set lo up',
      `address add ${node.address}/${plan.prefixLength} dev host0`,
      'link set host0 up',
      `route add default via ${plan.gateway}`,
    ],
    node.name,
  );
}

/** Takes the node's network namespace away. */
export async function unplug(node: PlannedPlace): Promise<void> {
  await run('ip', ['link', 'delete', node.name]);
  await run('ip', ['netns', 'delete', node.name]);
}

/** Adds a network card for a virtual machine to the cluster's network; returns its name. */
export async function joinNetwork(machine: string): Promise<string> {
  const card = `tap-${machine}`;
  if (!existsSync(`/sys/class/net/${card}`)) {
    await batch([`tuntap add ${card} mode tap`, `link set ${card} master ${BRIDGE} up`]);
  }
  return card;
}

/** Where nodes that mount the store themselves find it, under EFS's name: the address before the gateway's. */
export function storeAddress(plan: Plan): string {
  return offset(plan.gateway, -1);
}

async function batch(lines: string[], namespace?: string): Promise<void> {
  await run('ip', [...(namespace ? ['-n', namespace] : []), '-batch', '-'], { input: lines.join('\n') });
}
