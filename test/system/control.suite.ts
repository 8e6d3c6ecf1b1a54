import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import { inbox, submit } from '../../local/round-trip';
import type { LocalNode } from '../../local/node';
import { waitFor } from '../../local/run';
import { LineClient } from './line-client';
import { control, homeAmong, putRing, restAgents, wakeAgents } from './ring';
import type { System } from './system.test';

/** What the agent has done by root, and what the kernel does without it (E1, E3, E8). */
export function controlSuite(system: () => System): void {
  const nodes = () => system().cluster.nodes;
  const wholeRing = (version: number) => Promise.all(nodes().map((node) => putRing(node, { version, nodes: nodes() })));

  const onNode = async (node: LocalNode, name: string) => {
    const input = readFileSync(path.join(__dirname, 'on-node', name), 'utf8');
    await node.exec(['sh', '-c', `cat >/tmp/${name}`], { input });
    return (await node.exec(['python3', '-B', `/tmp/${name}`], { timeout: 120_000 })).stdout;
  };

  const imap = async (node: LocalNode) => {
    const { alice, tls } = system();
    const client = await LineClient.tls(node.address, 993, tls);
    await client.expect(/^\* OK/);
    await client.imap(`LOGIN ${alice.address} ${alice.password}`);
    await client.imap('SELECT INBOX');
    return client;
  };

  beforeAll(async () => {
    await restAgents(nodes());
    await wholeRing(200);
  }, 60_000);

  afterAll(() => wakeAgents(system().cluster), 120_000);

  test('only the agent may ask, and only what there is', async () => {
    const [node] = nodes();
    expect(await control(node, 'who')).toMatch(/^ok/);
    await expect(control(node, 'who', 'vmail')).rejects.toThrow(/Permission denied/);
    expect(await control(node, 'reboot')).toMatch(/^error unknown request/);
    expect(await control(node, 'kick *')).toMatch(/^error .*no address/);
    expect(await control(node, 'adopt ../../etc')).toMatch(/^error .*no instance id/);
  });

  test('names who is served here, and ends their sessions', async () => {
    const { alice } = system();
    const home = homeAmong(nodes(), alice.address);
    const [other] = nodes().filter((node) => node !== home);
    const clients = [await imap(home), await imap(other)];
    expect((await control(home, 'who')).split(' ')).toContain(alice.address);
    // What is only passed on is served elsewhere.
    expect((await control(other, 'who')).split(' ')).not.toContain(alice.address);

    expect(await control(home, `kick ${alice.address}`)).toBe('ok');
    expect((await control(home, 'who')).split(' ')).not.toContain(alice.address);
    for (const client of clients) {
      await expect(client.imap('NOOP')).rejects.toThrow();
      client.close();
    }

    const client = await imap(home);
    expect(await control(home, 'kick-all')).toBe('ok');
    expect(await control(home, 'who')).toBe('ok');
    client.close();
  });

  test('a session that does not end when it is asked to is killed', async () => {
    const { alice } = system();
    const home = homeAmong(nodes(), alice.address);
    const client = await imap(home);
    await home.shell(
      `doveadm -f tab who -1 ${alice.address} | awk -F '\\t' '$2 == "imap" { print $3 }' | xargs kill -STOP`,
    );
    expect(await control(home, `kick ${alice.address}`)).toBe('ok');
    expect(await control(home, 'who')).toBe('ok');
    client.close();
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
