import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { homeOf } from '../../agent/src/ring/home';
import { scramVerifier } from '../../bin/users/password';
import type { LocalCluster } from '../../local/cluster';
import type { LocalUser } from '../../local/mail-clients';

const PASSWORD = 'bench-local-password';

/** Makes accounts of the same password, `count` of them at home at each of the addresses. */
export function makeAccounts(count: number, domain: string, homes: string[]): Map<string, LocalUser[]> {
  const accounts = new Map(homes.map((home): [string, LocalUser[]] => [home, []]));
  for (let number = 0; [...accounts.values()].some(({ length }) => length < count); number++) {
    const address = `user${number}@${domain}`;
    const group = accounts.get(homeOf(address, homes) ?? '');
    if (group && group.length < count) group.push({ address, password: PASSWORD });
  }
  return accounts;
}

/** Gives the accounts to the cluster's nodes, with one verifier: making one for each would take minutes. */
export async function enrol(cluster: LocalCluster, accounts: LocalUser[]): Promise<void> {
  const [, Bucket, Key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(cluster.plan.environment.MAIL_DIRECTORY_OBJECT) ?? [];
  const users = await cluster.userDirectory().read();
  const verifier = scramVerifier(PASSWORD);
  const lines = accounts.map(({ address }) => `${address}:${verifier}::::::\n`).join('');
  await new S3Client(cluster.aws.client).send(new PutObjectCommand({ Bucket, Key, Body: `${users}${lines}` }));
  await Promise.all(cluster.nodes.map((node) => node.shell('systemctl start mail-directory-sync.service')));
}
