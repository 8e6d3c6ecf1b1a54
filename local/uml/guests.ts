import type { Machines } from '../cluster';
import { Guest } from './guest';
import { GuestNode } from './guest-node';
import { nfsServer } from './nfs-server';

/**
 * Machines of a cluster as user-mode Linux guests, and one more that is the file system which they mount by NFSv4.1 over
 * TLS. For `LocalCluster.start`.
 *
 * @param programs the folder of `guestPrograms`, which must be made outside of the sandbox or before
 */
export function guests(programs: string): Machines {
  return async ({ boot, authority }) => {
    const host = { programs, folder: boot.logs };
    await Guest.host(host, boot.root);
    const store = nfsServer(host, boot.plan, await authority.issue(boot.plan.environment.MAIL_STORE_SERVER));
    await store.start();
    await store.says('the store is served', 60_000);
    return boot.plan.nodes.map((planned) => new GuestNode(planned, host, boot, authority.certificateFile));
  };
}
