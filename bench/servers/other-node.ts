import { mkdirSync } from 'node:fs';
import * as path from 'node:path';
import type { LocalCluster } from '../../local/cluster';
import { LocalNode } from '../../local/node';
import { instanceId, offset } from '../../local/plan';
import { FolderStore } from '../../local/store';

/** Places of the cluster's network that no node of its own takes. */
const PLACE = 102;

/**
 * Boots one more node of ours, alone in a cluster of its own, with its store on the same disk.
 *
 * @param name of the node and of its cluster, 15 characters at most
 * @param settings what its environment file says otherwise, or more, than that of the cluster's nodes
 */
export async function bootOtherNode(
  cluster: LocalCluster,
  root: string,
  name: string,
  settings: { readonly [key: string]: string },
): Promise<LocalNode> {
  const { plan } = cluster;
  const store = path.join(cluster.folder, name);
  mkdirSync(store);
  const place = PLACE + cluster.nodes.length;
  const planned = {
    ...plan.nodes[0],
    name,
    instanceId: instanceId(place),
    address: offset(plan.nodes[0].address, place),
  };
  const awsEndpoint = cluster.aws.endpointFor(plan.gateway);
  const node = new LocalNode(planned, {
    root,
    store: new FolderStore(store),
    logs: cluster.folder,
    awsEndpoint,
    plan: { ...plan, userData: withSettings(plan.userData, { ...settings, MAIL_CLUSTER: name }) },
    authority: cluster.database && cluster.view.authority,
  });
  cluster.nodes.push(node); // the metadata service tells nodes apart by this list
  await node.boot();
  await node.ready(180_000).catch(async (error: Error) => {
    throw new Error(`${error.message}\n${await node.diagnosis()}`);
  });
  return node;
}

/** The user data with other values; keys that it does not have come before the others. */
function withSettings(userData: string, settings: { readonly [key: string]: string }): string {
  const replaced = Object.keys(settings).reduce(
    (text, key) => text.replace(new RegExp(`^${key}=.*\n`, 'm'), ''),
    userData,
  );
  const lines = Object.entries(settings).map(([key, value]) => `${key}="${value}"\n`);
  return replaced.replace(/<<'END_OF_ENVIRONMENT'\n/, (begin) => begin + lines.join(''));
}
