import { LocalCluster } from '../../local/cluster';
import { Progress } from '../../local/progress';
import { roundTrip } from '../../local/round-trip';
import { synthesise } from '../../local/synthesise';
import type { GuestNode } from '../../local/uml/guest-node';
import { guests } from '../../local/uml/guests';
import { guestPrograms } from '../../local/uml/programs';

/**
 * The template's user data on machines with a kernel of their own (user-mode Linux), whose store is Linux nfsd behind TLS:
 * what containers on a shared folder can't show (E1, E3, E8).
 */
const progress = new Progress();
let cluster: LocalCluster;
/** Why there are no guests on this machine. */
let absent: string | undefined;

beforeAll(async () => {
  const programs = await guestPrograms(progress).catch((error: Error) => {
    if (process.env.CI) throw error;
    absent = error.message;
  });
  if (!programs) return;
  cluster = await LocalCluster.start({
    synthesise: (folder) => synthesise(folder, progress),
    progress,
    nodes: 1,
    machines: guests(programs),
    bootLimit: 480_000,
  });
}, 900_000);

afterAll(() => cluster?.stop());

/** A test that is skipped, with the reason, where guests can't be had. */
function onGuests(name: string, body: () => Promise<void>, limit = 120_000): void {
  test(
    name,
    async () => {
      if (absent) return console.log(`skipped: no user-mode Linux: ${absent}`);
      await progress.step(name, body).catch(async (error: Error) => {
        throw new Error(`${error.message}\n${(await Promise.all(nodes().map(lastWords))).join('\n')}`);
      });
    },
    limit,
  );
}

/** What a node has logged lately. */
const lastWords = (node: GuestNode) =>
  node
    .shell('journalctl --no-pager --output=short-monotonic --lines=60 | cut -c 1-250', { timeout: 20_000 })
    .catch((error: Error) => error.message);

const nodes = () => cluster.nodes as GuestNode[];

onGuests('the units run, none has failed, and the store is NFSv4.1 over TLS', async () => {
  for (const node of nodes()) {
    expect(await node.shell('systemctl --failed --no-legend')).toBe('');
    const units = 'dovecot postfix mail-agent mail-store-tls mail-control.socket';
    expect(await node.shell(`systemctl is-active ${units}`)).toBe('active\n'.repeat(5));
    const mounts = await node.shell('findmnt --noheadings --output FSTYPE,SOURCE,OPTIONS /srv/mail-store');
    expect(mounts).toMatch(/^nfs4 +127\.0\.0\.1:\/ .*vers=4\.1.*port=20049/);
    expect(await node.shell('findmnt --noheadings --output FSTYPE /var/spool/postfix')).toBe('nfs4\n');
    // 2: done, with warnings. The image has no ssh-keygen.
    expect(await node.shell('cloud-init status || test $? = 2')).toContain('status: done');
  }
});

onGuests('a message goes through the balancer: in by 587, out by 993', async () => {
  const [alice, bob] = cluster.users;
  await roundTrip(cluster.view, alice, bob);
});
