import { homeOf } from '../../agent/src/ring/home';
import type { Directory } from '../../bin/users/directory';
import { putAll } from '../../bin/users/import';
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

/** Puts the accounts into a directory, with one verifier: making one for each would take minutes. */
export async function register(directory: Directory, accounts: LocalUser[]): Promise<void> {
  const verifier = scramVerifier(PASSWORD);
  await directory.update((file) => {
    putAll(
      file,
      accounts.map(({ address }) => ({ address, verifier })),
    );
  });
}

/** Gives the accounts to the cluster's nodes. */
export async function enrol(cluster: LocalCluster, accounts: LocalUser[]): Promise<void> {
  await register(cluster.userDirectory(), accounts);
  await Promise.all(cluster.nodes.map((node) => node.shell('systemctl start mail-directory-sync.service')));
}
