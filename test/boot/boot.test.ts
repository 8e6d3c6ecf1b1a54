import { LocalCluster } from '../../local/cluster';
import { Progress } from '../../local/progress';
import { roundTrip } from '../../local/round-trip';
import { waitFor } from '../../local/run';
import { synthesise } from '../../local/synthesise';
import type { GuestNode } from '../../local/uml/guest-node';
import { guests } from '../../local/uml/guests';
import { guestPrograms } from '../../local/uml/programs';
import { control } from '../system/ring';

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
    .shell(
      'journalctl --no-pager --output=short-monotonic --lines=400 | grep -v "audit\\|guest-shell" | tail -n 60 | cut -c 1-250',
      { timeout: 20_000 },
    )
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

describe('seen through a second mount, with caches and locks of its own', () => {
  const STORE = '/srv/mail-store';
  const OTHER = '/mnt/other-node';

  onGuests('the store is mounted once more', async () => {
    const [node] = nodes();
    const options = 'vers=4.1,proto=tcp,port=20049,nosharecache,lookupcache=none,noac';
    await node.shell(`mkdir ${OTHER}; mount -t nfs4 -o ${options} 127.0.0.1:/ ${OTHER}`);
  });

  onGuests('a node that gave its users away forgets what it knows of the store', async () => {
    const [node] = nodes();
    const size = async () => (await node.shell(`stat -c %s ${STORE}/mail/seen`)).trim();
    await node.shell(`echo 1 >${STORE}/mail/seen; sync`);
    expect(await size()).toBe('2');
    await node.shell(`echo more >>${OTHER}/mail/seen; sync`);
    expect(await size()).toBe('2'); // for a minute (actimeo)
    expect(await control(node, 'forget')).toMatch(/^ok/);
    expect(await size()).toBe('7');
  });

  onGuests('an index that another client has locked is replaced, and the mailbox can be used', async () => {
    const [node] = nodes();
    const [alice, bob] = cluster.users;
    const log = `mail/${bob.address.split('@').reverse().join('/')}/mail/dovecot.index.log`;
    const lock = `import fcntl, time; file = open("${OTHER}/${log}", "r+b"); fcntl.lockf(file, fcntl.LOCK_EX); print("held", flush=True); time.sleep(600)`;
    await node.shell(
      `systemd-run --quiet --unit=other-node python3 -c '${lock}'; until journalctl -u other-node | grep -q held; do sleep 0.1; done`,
    );
    expect(await control(node, 'take-over -')).toBe('ok');
    await waitFor('the order to be carried out', 60_000, async () =>
      (await node.shell('ls /run/mail-platform/take-over')) === '' ? true : undefined,
    );
    const said = await node.shell('journalctl -u mail-take-over -u mail-control --output=cat --no-pager');
    expect(said).toContain(`replaced ${STORE}/${log}, locked by a node that died`);
    await roundTrip(cluster.view, alice, bob);
  });
});

onGuests(
  'a clock that is an hour fast, then right again, costs no lease and no mail',
  async () => {
    const [node] = nodes();
    const [alice, bob] = cluster.users;
    for (const step of ['+1 hour', '-1 hour']) {
      await node.shell(`date --set '${step}'`);
      // Clients who were in the middle of something come back, and what could not be delivered is tried again.
      await waitFor('a message to go through', 100_000, () =>
        roundTrip(cluster.view, alice, bob).then(
          () => true,
          () => undefined,
        ),
      );
    }
    expect(await node.shell('journalctl -u mail-agent --output=cat --no-pager')).not.toContain('lease lost');
  },
  240_000,
);
