import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import { homeOf } from '../../agent/src/ring/home';
import type { LocalUser } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { inbox, submit } from '../../local/round-trip';
import { sleep, waitFor } from '../../local/run';
import { LineClient } from './line-client';
import { control, homeAmong, putRing, restAgents, wakeAgents } from './ring';
import type { System } from './system';

/** What the agent has done by root, and what the kernel does without it (E1, E3, E8). */
export function controlSuite(system: () => System): void {
  const nodes = () => system().cluster.nodes;
  const wholeRing = (version: number) => Promise.all(nodes().map((node) => putRing(node, { version, nodes: nodes() })));

  const onNode = async (node: LocalNode, name: string) => {
    const input = readFileSync(path.join(__dirname, 'on-node', name), 'utf8');
    await node.exec(['sh', '-c', `cat >/tmp/${name}`], { input });
    return (await node.exec(['python3', '-B', `/tmp/${name}`], { timeout: 120_000 })).stdout;
  };

  beforeAll(async () => {
    await restAgents(nodes());
    await wholeRing(200);
  }, 60_000);

  afterAll(() => wakeAgents(system().cluster), 120_000);

  test('only the agent may ask, and only what there is', async () => {
    const [node] = nodes();
    expect(await control(node, 'release-sessions')).toMatch(/^ok/);
    await expect(control(node, 'release-sessions', 'vmail')).rejects.toThrow(/Permission denied/);
    expect(await control(node, 'reboot')).toMatch(/^error unknown request/);
    expect(await control(node, 'release-sessions all')).toMatch(/^error unknown request/);
    expect(await control(node, 'adopt ../../etc')).toMatch(/^error .*no instance id/);
  });

  describe('release, after a ring in which a user has moved', () => {
    const NEW_NODE = '10.255.255.1'; // nobody has it
    const password = 'release-password';
    const withNewNode = () => [...nodes().map(({ address }) => address), NEW_NODE];
    let home: LocalNode;
    let stays: LocalUser;
    let moves: LocalUser;
    let passes: LocalUser; // whose home is another node

    /** Sessions on the node that have the user's mailbox open. */
    const sessions = async (node: LocalNode, user: LocalUser) =>
      (await node.shell(`doveadm -f tab who -1 ${user.address}`)).split('\n').filter((line) => /\timap\t/.test(line));

    const open = async (node: LocalNode, user: LocalUser) => {
      const client = await LineClient.tls(node.address, 993, system().tls);
      await client.expect(/^\* OK/);
      await client.imap(`LOGIN ${user.address} ${user.password}`);
      await client.imap('SELECT INBOX');
      return client;
    };

    /** A delivery that waits between RCPT and DATA until there is /tmp/go-on; `ends` is the answer to its end. */
    const beginDelivery = async (user: LocalUser) => {
      const input = readFileSync(path.join(__dirname, 'on-node/slow-delivery.py'), 'utf8');
      await home.exec(['sh', '-c', 'cat >/tmp/slow-delivery.py; rm -f /tmp/let-in /tmp/go-on'], { input });
      const ends = home.shell(`python3 /tmp/slow-delivery.py ${user.address}`, { timeout: 50_000 });
      await home.shell('timeout 20 sh -c "until test -e /tmp/let-in; do sleep 0.1; done"', { timeout: 30_000 });
      return { ends };
    };

    const move = () => putRing(home, { version: 201, settled: false, nodes: nodes(), newNode: NEW_NODE });

    beforeAll(async () => {
      const { cluster } = system();
      [home] = nodes();
      const [domain] = cluster.domains;
      const candidates = Array.from({ length: 100 }, (_unused, index) => `release${index}@${domain}`);
      const own = candidates.filter((address) => homeAmong(nodes(), address) === home);
      const user = (address: string) => ({ address, password });
      stays = user(own.find((address) => homeOf(address, withNewNode()) === home.address)!);
      moves = user(own.find((address) => homeOf(address, withNewNode()) === NEW_NODE)!);
      passes = user(candidates.find((address) => homeAmong(nodes(), address) === nodes()[1])!);
      await cluster.userDirectory().update((file) => {
        for (const { address } of [stays, moves, passes]) file.add(address, password);
      });
      await Promise.all(nodes().map((node) => node.shell('systemctl start mail-directory-sync.service')));
    }, 60_000);

    afterEach(() => wholeRing(202));

    test('ends their sessions, wherever they came in, and no others', async () => {
      const [, other] = nodes();
      const [kept, ...ended] = [await open(home, stays), await open(home, moves), await open(other, moves)];
      await move();
      expect(await control(home, 'release-sessions')).toMatch(/^ok \d+$/);
      expect(await sessions(home, moves)).toEqual([]);
      for (const client of ended) await expect(client.imap('NOOP')).rejects.toThrow();
      await kept.imap('NOOP');
      kept.close();
    }, 60_000);

    test('ends a session that does not end when it is asked to', async () => {
      const client = await open(home, moves);
      const [session] = await sessions(home, moves);
      await home.shell(`kill -STOP ${session.split('\t')[2]}`);
      await move();
      expect(await control(home, 'release-sessions')).toMatch(/^ok \d+$/);
      expect(await sessions(home, moves)).toEqual([]);
      client.close();
    }, 60_000);

    // A delivery asks for the home at RCPT: under load, one went on at the old home after the new one had begun to write.
    test('ends a delivery that was let in before', async () => {
      const delivery = await beginDelivery(moves);
      await move();
      expect(await control(home, 'release-deliveries')).toMatch(/^ok [1-9]\d*$/);
      await home.shell('touch /tmp/go-on');
      expect(await delivery.ends).not.toMatch(/^250/m);
      await wholeRing(203);
      const client = await open(home, moves);
      expect(await client.imap('STATUS INBOX (MESSAGES)')).toContain('MESSAGES 0');
      client.close();
    }, 90_000);

    // Whoever brought it would bring it again: it arrived twice when a busy node took more than a second for it.
    test('lets a delivery that is under way come to its end; sessions go on until they are to end, too', async () => {
      const [, other] = nodes();
      const session = await open(home, moves);
      const delivery = await beginDelivery(passes);
      await other.shell('pkill -STOP -x lmtp');
      await home.shell('touch /tmp/go-on');
      await move();
      const released = control(home, 'release-deliveries');
      await sleep(2500);
      await session.imap('NOOP');
      await other.shell('pkill -CONT -x lmtp');
      expect(await delivery.ends).toMatch(/^250 /m);
      expect(await released).toMatch(/^ok [1-9]\d*$/);
      await session.imap('NOOP');
      expect(await control(home, 'release-sessions')).toMatch(/^ok [1-9]\d*$/);
      await expect(session.imap('NOOP')).rejects.toThrow();
    }, 90_000);

    test('what asks for a mailbox after that is refused, whoever let it in', async () => {
      await move();
      await expect(home.shell(`doveadm user ${moves.address}`)).rejects.toThrow();
      expect(await home.shell(`doveadm user ${stays.address}`)).toContain(stays.address.split('@')[0]);
    });
  });

  test('the kernel cuts the store from a machine that was frozen', async () => {
    const report = await onNode(nodes()[0], 'frozen.py');
    expect(report).toBe("open ok\nbefore passes write\nafter '' refused\nlate error\n");
  }, 60_000);

  test('reading the firewall rules again does not cut the store', async () => {
    const [node] = nodes();
    await node.shell('/opt/mail-platform/libexec/open-store 60; nft -f /etc/nftables.conf; nft -f /etc/nftables.conf');
    expect(await node.shell('nft list set inet mail_store open')).toMatch(/2049 timeout 1m expires/);
    expect((await node.shell('nft list chain inet mail_store output')).match(/reject/g)).toHaveLength(1);
  });

  test('a fenced node has no mail process, starts none, and comes back when it is told to', async () => {
    const node = nodes()[1];
    expect(await control(node, 'fence')).toBe('ok');
    expect(await node.shell('pgrep -u vmail; pgrep -u dovecot; pgrep -u postfix; pgrep -x master; true')).toBe('');
    expect(await control(node, 'alive 99999999999')).toMatch(/^error this node is fenced/);
    expect(await node.shell('nft list set inet mail_store open')).not.toContain('elements');
    await new Promise((resolve) => setTimeout(resolve, 6000)); // Restart= waits for 5 s
    await node.shell('systemctl start dovecot postfix');
    expect(await node.shell('systemctl is-active dovecot postfix mail-quota || true')).toBe(
      'inactive\ninactive\ninactive\n',
    );
    expect(await control(node, 'unfence')).toBe('ok');
    expect(await node.shell('systemctl is-active dovecot postfix mail-quota')).toBe('active\nactive\nactive\n');
    expect(await node.shell('systemctl --failed --no-legend')).toBe('');
  }, 60_000);

  test('a fence that comes while the node is given its store back holds', async () => {
    const node = nodes()[1];
    const slow = '/run/systemd/system/mail-remount.service.d';
    const conf = String.raw`[Service]\nExecStartPost=sleep 3\n`;
    await node.shell(`mkdir -p ${slow}; printf '${conf}' >${slow}/slow.conf; systemctl daemon-reload`);
    try {
      expect(await control(node, 'fence')).toBe('ok');
      const coming = control(node, 'unfence');
      await waitFor('the new mount', 5000, async () =>
        (await node.shell('systemctl is-active mail-remount || true')) === 'activating\n' ? true : undefined,
      );
      expect(await control(node, 'fence')).toBe('ok');
      expect(await coming).toBe('error fenced again meanwhile');
      expect(await node.shell('systemctl is-active dovecot postfix || true')).not.toMatch(/^active/m);
      expect(await node.shell('nft list set inet mail_store open')).not.toContain('elements');
    } finally {
      await node.shell(`rm -r ${slow}; systemctl daemon-reload`);
    }
    expect(await control(node, 'unfence')).toBe('ok');
  }, 60_000);

  test('the queue of a dead node is adopted: each message arrives once', async () => {
    const { cluster, view, alice, bob } = system();
    const [adopter, dead] = nodes();
    // It takes mail and can't deliver it.
    await putRing(dead, { serving: false, nodes: nodes() });
    const subjects = ['first', 'second', 'third'].map((word) => `${word} of the dead ${Date.now()}`);
    for (const subject of subjects) await submit({ ...view, address: dead.address }, alice, bob.address, subject);
    await waitFor('the messages to be put off', 10_000, async () =>
      (await dead.shell('postqueue -j')).match(/"queue_name": "deferred"/g)?.length === 3 ? true : undefined,
    );
    await control(dead, 'fence');
    await putRing(adopter, { version: 201, nodes: [adopter] });

    const { instanceId } = cluster.plan.nodes[1];
    expect(await control(adopter, `adopt ${instanceId}`)).toBe('ok');
    expect(await adopter.shell(`ls -d /srv/mail-store/queue/${instanceId} 2>&1 || true`)).toMatch(/No such file/);
    const there = { ...view, address: adopter.address };
    const arrived = await waitFor('the messages', 20_000, async () => {
      const found = (await inbox(there, bob)).filter((subject) => subjects.includes(subject));
      return found.length >= 3 ? found : undefined;
    });
    expect(arrived.sort()).toEqual([...subjects].sort());
    expect(await adopter.shell('postqueue -j')).toBe('');
    // Nothing is left to do the second time.
    expect(await control(adopter, `adopt ${instanceId}`)).toBe('ok');

    expect(await control(dead, 'unfence')).toBe('ok');
    await wholeRing(202);
    expect(await dead.shell('postqueue -j')).toBe('');
  }, 90_000);

  test('whoever kills the adoption at whatever step loses nothing', async () => {
    expect(await onNode(nodes()[0], 'adoption.py')).toMatch(/^\d+ steps\n\d+ steps\n$/);
  }, 120_000);

  test("Postfix's numbers are the same on every node", async () => {
    for (const node of nodes()) {
      expect((await node.shell('id -u postfix; id -g postfix; getent group postdrop')).trim()).toBe(
        '5002\n5002\npostdrop:x:5003:',
      );
    }
  });

  test('the nightly work is done for the users of this node', async () => {
    const { alice } = system();
    const home = homeAmong(nodes(), alice.address);
    for (const node of nodes()) {
      await node.shell('systemctl start mail-maintenance.service', { timeout: 60_000 });
      const log = await node.shell('journalctl --unit mail-maintenance --output=cat --no-pager -n 20');
      expect(log).toMatch(/\d+ of \d+ users have their home here, \d+ s, 0 commands failed/);
    }
    expect(await home.shell('systemctl list-timers --no-legend mail-maintenance.timer')).toMatch(/ 02:\d\d:/);
  }, 90_000);
}
