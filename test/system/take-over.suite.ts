import type { LocalUser } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { waitFor } from '../../local/run';
import { LineClient } from './line-client';
import { control, homeAmong, putRing, restAgents, wakeAgents } from './ring';
import type { System } from './system';

/** Locks that a node left which died are no obstacle for the next home of its users (E1, E3). */
export function takeOverSuite(system: () => System): void {
  const password = 'take-over-password';
  let home: LocalNode;
  let dead: LocalNode;
  let came: LocalUser;
  let stayed: LocalUser;

  const folderOf = ({ address }: LocalUser) => `/srv/mail-store/mail/${address.split('@').reverse().join('/')}`;
  const put = (path: string, text: string) => home.shell(`printf '%s' '${text}' >${path}; chown vmail:vmail ${path}`);
  const takeOver = () => control(home, `take-over ${[home, dead].map(({ address }) => address).join(',')}`);
  const locksOf = async (user: LocalUser) =>
    (await home.shell(`cd ${folderOf(user)}/mail; find . -name '*.lock' | sort`)).split('\n').filter(Boolean);

  const done = () =>
    waitFor('the order to be carried out', 20_000, async () =>
      (await home.shell('ls /run/mail-platform/take-over')) === '' ? true : undefined,
    );

  /** A process of that name that holds a lock on the file; resolves to what ends it. */
  const hold = async (node: LocalNode, name: string, path: string) => {
    const lock = `import fcntl, time; file = open("${path}", "r+b"); fcntl.lockf(file, fcntl.LOCK_EX); print("held", flush=True); time.sleep(60)`;
    await node.shell('cp /usr/bin/python3 /tmp/imap');
    const process = await node.shell(
      `rm -f /tmp/held; setsid ${name} -c '${lock}' >/tmp/held 2>&1 & timeout 10 sh -c 'until grep -q held /tmp/held; do sleep 0.1; done'; echo $!`,
    );
    return () => node.shell(`kill ${process.trim()} || true`);
  };

  const open = async (user: LocalUser) => {
    const client = await LineClient.tls(home.address, 993, system().tls);
    await client.expect(/^\* OK/);
    await client.imap(`LOGIN ${user.address} ${user.password}`);
    return client;
  };

  beforeAll(async () => {
    const { cluster } = system();
    await restAgents(cluster.nodes);
    [home, dead] = cluster.nodes;
    const [domain] = cluster.domains;
    const candidates = Array.from({ length: 100 }, (_unused, index) => `take-over${index}@${domain}`);
    const user = (was: LocalNode) => ({
      address: candidates.find((address) => homeAmong([home, dead], address) === was)!,
      password,
    });
    came = user(dead);
    stayed = user(home);
    await cluster.userDirectory().update((file) => {
      for (const { address } of [came, stayed]) file.add(address, password);
    });
    await home.shell('systemctl start mail-directory-sync.service');
    await putRing(home, { version: 300, nodes: [home] });
    for (const each of [came, stayed]) {
      const client = await open(each);
      for (const mailbox of ['Sent', 'Drafts', 'Trash', 'INBOX']) await client.imap(`SELECT ${mailbox}`);
      client.close();
    }
    // Of a session that has not ended yet.
    await waitFor('the mailboxes to be closed', 10_000, async () =>
      (await locksOf(came)).length + (await locksOf(stayed)).length === 0 ? true : undefined,
    );
  }, 60_000);

  afterAll(() => wakeAgents(system().cluster), 120_000);

  afterEach(() => home.shell(`find ${folderOf(came)} ${folderOf(stayed)} -name '*.lock' -delete`));

  test('a mailbox with a lock file of a dead node can be written to at once', async () => {
    await put(`${folderOf(came)}/mail/dovecot-uidlist.lock`, '4711:dead-node');
    const client = await open(came);
    const append = client.imap('APPEND INBOX {2+}\r\nhi');
    // It waits, for minutes if nothing is done about it.
    const waits = new Promise((resolve) => setTimeout(resolve, 3000, 'waits'));
    expect(await Promise.race([append, waits])).toBe('waits');
    expect(await takeOver()).toBe('ok');
    expect(await append).toMatch(/OK .*APPENDUID/);
    client.close();
  }, 60_000);

  test('an index that is locked from another node is replaced by a copy; one that is locked here is not', async () => {
    const log = `${folderOf(came)}/mail/dovecot.index.log`;
    const keep = `${folderOf(came)}/mail/.Sent/dovecot.index.log`;
    const inodes = async () => (await home.shell(`stat -c %i ${log} ${keep}`)).split('\n');
    const before = await inodes();
    const locks = [await hold(dead, 'python3', log), await hold(home, '/tmp/imap', keep)];
    try {
      const waiting = await open(came);
      const append = waiting.imap('APPEND INBOX {2+}\r\nhi');
      await new Promise((resolve) => setTimeout(resolve, 2000));
      expect(await takeOver()).toBe('ok');
      // Its session is ended rather than left to wait.
      await expect(append).rejects.toThrow();
      await done();
      const after = await inodes();
      expect(after[0]).not.toBe(before[0]);
      expect(after[1]).toBe(before[1]);
      await locks.pop()!(); // the quota counts the other mailbox, too
      const client = await open(came);
      expect(await client.imap('APPEND INBOX {2+}\r\nhi')).toMatch(/OK .*APPENDUID/);
      client.close();
      expect(await home.shell('journalctl -u dovecot --output=cat --no-pager -n 50')).not.toMatch(/corrupt/i);
    } finally {
      for (const release of locks) await release();
    }
  }, 60_000);

  test('only what others left with users who came is removed', async () => {
    const hostname = (await home.shell('hostname')).trim();
    const mail = `${folderOf(came)}/mail`;
    await put(`${mail}/.Sent/dovecot-uidlist.lock`, '4711:dead-node');
    await put(`${mail}/.Drafts/dovecot.index.cache.lock`, `1:${hostname}`);
    await put(`${mail}/.Trash/dovecot.index.log.lock`, '');
    await home.shell(`install -d -o vmail -g vmail ${mail}/.a.lock`); // a folder of that name
    await put(`${mail}/cur/1.lock`, '4711:dead-node'); // a message
    await put(`${folderOf(stayed)}/mail/dovecot-uidlist.lock`, '4711:dead-node');
    expect(await takeOver()).toBe('ok');
    await done();
    expect(await locksOf(came)).toEqual(['./.Drafts/dovecot.index.cache.lock', './.a.lock', './cur/1.lock']);
    expect(await locksOf(stayed)).toEqual(['./dovecot-uidlist.lock']);
    const said = await home.shell('journalctl -u mail-take-over --output=cat --no-pager');
    expect(said).toContain('.Sent/dovecot-uidlist.lock, left by dead-node');
    expect(said).toContain('.Trash/dovecot.index.log.lock, left by a node that died');
    await home.shell(`rmdir ${mail}/.a.lock`);
  }, 60_000);

  test('nothing is removed by a node that is not the home, and nothing else is taken for an order', async () => {
    await put(`${folderOf(came)}/mail/dovecot-uidlist.lock`, '4711:living-node');
    await putRing(home, { version: 301, nodes: [home, dead] });
    expect(await takeOver()).toBe('ok');
    await done();
    expect(await locksOf(came)).toEqual(['./dovecot-uidlist.lock']);
    expect(await control(home, 'take-over ../../etc')).toMatch(/^error take-over wants addresses/);
    expect(await control(home, 'take-over')).toMatch(/^error unknown request/);
    await putRing(home, { version: 302, nodes: [home] });
  }, 60_000);

  test('what a release interrupts is done with the next order', async () => {
    await put(`${folderOf(came)}/mail/.Trash/dovecot.index.log.lock`, ''); // keeps it busy for two seconds
    expect(await takeOver()).toBe('ok');
    await waitFor('the run', 5000, async () =>
      (await home.shell('systemctl is-active mail-take-over || true')) === 'activating\n' ? true : undefined,
    );
    expect(await control(home, 'release-sessions')).toMatch(/^ok [1-9]\d*$/);
    expect(await locksOf(came)).toEqual(['./.Trash/dovecot.index.log.lock']);
    expect(await home.shell('systemctl --failed --no-legend')).toBe('');
    // Nobody came with this one.
    expect(await control(home, `take-over ${home.address}`)).toBe('ok');
    await waitFor('the lock to be removed', 20_000, async () =>
      (await locksOf(came)).length === 0 ? true : undefined,
    );
  }, 60_000);
}
