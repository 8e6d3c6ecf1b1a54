import { inbox, roundTrip } from '../../local/round-trip';
import { run, waitFor } from '../../local/run';
import { LineClient, base64 } from './line-client';
import type { System } from './system';

/** Listeners, health checks and targets as the template has them (A2, A6, E1 in part). */
export function balancerSuite(system: () => System): void {
  test('nodes see the address of the client', async () => {
    const { cluster, view, tls, alice } = system();
    await run('ip', ['address', 'replace', '198.51.100.7/32', 'dev', 'lo']);
    const since = (await cluster.nodes[0].shell('date +%s')).trim();
    const client = await LineClient.tls(view.address, 993, { ...tls, localAddress: '198.51.100.7' } as object);
    await client.expect(/^\* OK/);
    await client.imap(`AUTHENTICATE PLAIN ${base64(`\0${alice.address}\0${alice.password}`)}`);
    client.close();
    await waitFor('the login in a log', 10_000, async () => {
      const logs = await Promise.all(
        cluster.nodes.map((node) => node.shell(`journalctl --unit dovecot --since @${since} --no-pager`)),
      );
      return logs.join('').includes('rip=198.51.100.7') ? true : undefined;
    });
  });

  test('with Dovecot killed on one node, mail flows through the other; then the node is used again', async () => {
    const { cluster, view, alice, bob } = system();
    const [node] = cluster.nodes;
    await node.shell('systemctl kill --signal=SIGKILL dovecot; systemctl stop dovecot');
    try {
      await roundTrip(view, alice, bob);
      await cluster.balancer.sees(node.name, false);
      const health = await node.health();
      expect(health.status).toBe(503);
      expect(JSON.parse(health.body)).toMatchObject({ status: 'failing', checks: { dovecot: { ok: false } } });
      await roundTrip(view, bob, alice);
    } finally {
      await node.shell('systemctl start dovecot');
    }
    await cluster.balancer.sees(node.name, true);
  }, 120_000);

  test('a node without its store is taken out and writes nothing beneath the mount point', async () => {
    const { cluster, view, alice, bob } = system();
    const node = cluster.nodes[1];
    await node.shell(
      'systemctl stop postfix dovecot mail-agent; umount --lazy /srv/mail-store; systemctl start mail-agent',
    );
    await waitFor('the health check to fail', 15_000, async () =>
      (await node.health()).status === 503 ? true : undefined,
    );
    expect(JSON.parse((await node.health()).body).checks.store.ok).toBe(false);
    await expect(node.shell('systemctl start dovecot && sleep 1 && systemctl is-active dovecot')).rejects.toThrow();
    expect(await node.shell('find /srv/mail-store -mindepth 1')).toBe('');
    await cluster.balancer.sees(node.name, false);
    await roundTrip(view, alice, bob);
  }, 120_000);

  test('mail of a node that dies is still there', async () => {
    const { cluster, view, bob } = system();
    const before = await inbox(view, bob);
    cluster.nodes[1].kill();
    await waitFor('all mail on the other node', 30_000, async () =>
      (await inbox(view, bob)).length === before.length ? true : undefined,
    );
  }, 60_000);
}
