import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import type { LocalCluster } from '../../local/cluster';
import { LocalNode } from '../../local/node';
import { FolderStore } from '../../local/store';
import { offset } from '../../local/plan';
import { waitFor } from '../../local/run';
import type { LocalUser } from '../../local/mail-clients';

/** Configurations that ours is compared with; each is a folder beside this file. */
export type PlainKind = 'debian' | 'docker-mailserver';

/** Boots the same Debian with another configuration of the same Dovecot and Postfix; its mail is on the same disk. */
export async function bootPlainServer(
  kind: PlainKind,
  cluster: LocalCluster,
  root: string,
  accounts: LocalUser[],
): Promise<LocalNode> {
  const disk = path.join(cluster.folder, kind);
  mkdirSync(disk);
  copyFileSync(path.join(__dirname, 'plain-setup.sh'), path.join(disk, 'setup.sh'));
  for (const file of ['dovecot.conf', 'postfix.sh'])
    copyFileSync(path.join(__dirname, kind, file), path.join(disk, file));
  copyFileSync(await cluster.authority.issue(cluster.hostname), path.join(disk, 'server.pem'));
  // As both would hash it; the accounts share one password.
  const hash = execFileSync('openssl', ['passwd', '-6', accounts[0].password], { encoding: 'utf8' }).trim();
  writeFileSync(
    path.join(disk, 'users'),
    accounts.map(({ address }) => `${address}:{SHA512-CRYPT}${hash}::::::\n`).join(''),
  );
  writeFileSync(path.join(disk, 'addresses'), accounts.map(({ address }) => `${address}\n`).join(''));

  const { plan } = cluster;
  const place = kind === 'debian' ? 100 : 101;
  const node = new LocalNode(
    {
      ...plan.nodes[0],
      name: kind === 'debian' ? 'debian' : 'dms',
      instanceId: `i-${kind}`,
      address: offset(plan.nodes[0].address, place),
    },
    {
      root,
      store: new FolderStore(disk),
      logs: cluster.folder,
      awsEndpoint: cluster.aws.endpointFor(plan.gateway),
      plan: { ...plan, userData: '#!/bin/bash\nexec bash /srv/mail-store/setup.sh\n' },
    },
  );
  await node.boot();
  await waitFor(`${kind} to serve`, 60_000, async () =>
    (await node.shell('systemctl is-active dovecot postfix', { timeout: 5000 })) === 'active\nactive\n'
      ? true
      : undefined,
  ).catch(async (error: Error) => {
    throw new Error(`${error.message}\n${await node.diagnosis()}`);
  });
  return node;
}
