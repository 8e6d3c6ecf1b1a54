import { mkdirSync } from 'node:fs';
import * as path from 'node:path';
import type { LocalCluster } from '../../local/cluster';
import { LocalNode } from '../../local/node';
import { offset } from '../../local/plan';
import { FolderStore } from '../../local/store';

/** Boots one more node of ours, alone in a cluster of its own, whose store holds sdbox mailboxes. */
export async function bootSdboxNode(cluster: LocalCluster, root: string): Promise<LocalNode> {
  const { plan } = cluster;
  const store = path.join(cluster.folder, 'sdbox');
  mkdirSync(store);
  const planned = {
    ...plan.nodes[0],
    name: 'sdbox',
    instanceId: `i-${'f'.repeat(17)}`,
    address: offset(plan.nodes[0].address, 102),
  };
  const userData = plan.userData
    .replace('MAIL_MAILBOX_FORMAT=maildir', 'MAIL_MAILBOX_FORMAT=sdbox')
    .replace(/^MAIL_CLUSTER=.*$/m, 'MAIL_CLUSTER=sdbox');
  const awsEndpoint = cluster.aws.endpointFor(plan.gateway);
  const node = new LocalNode(planned, {
    root,
    store: new FolderStore(store),
    logs: cluster.folder,
    awsEndpoint,
    plan: { ...plan, userData },
  });
  cluster.nodes.push(node); // the metadata service tells nodes apart by this list
  await node.boot();
  await node.ready(180_000);
  return node;
}
