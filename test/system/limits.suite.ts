import type { LocalNode } from '../../local/node';
import { LineClient } from './line-client';
import { homeAmong } from './ring';
import type { System } from './system';

const SESSIONS = 20;
/** The fewest that a node has (assets/node/libexec/lib.sh). */
const SMTP_SESSIONS = 100;

/** A node that is full refuses at once, keeps whom it has, and stays healthy (B3). */
export function limitsSuite(system: () => System): void {
  const node = () => homeAmong(system().cluster.nodes, system().alice.address);
  const open: LineClient[] = [];

  const resize = async (connections: number) => {
    await node().shell(
      `sed -i 's/^MAIL_CONNECTIONS_MAX=.*/MAIL_CONNECTIONS_MAX=${connections}/' /etc/mail-platform/env && bash /opt/mail-platform/bootstrap.sh`,
      { timeout: 60_000 },
    );
  };
  const imap = async () => {
    const { tls, alice, bob } = system();
    const client = await LineClient.tls(node().address, 993, tls);
    await client.expect(/^\* OK/);
    // A user may have 20 sessions from one address.
    const user = open.length % 2 === 0 ? alice : bob;
    await client.imap(`LOGIN ${user.address} ${user.password}`);
    await client.imap('SELECT INBOX');
    return client;
  };
  const closeAll = () => open.splice(0).forEach((client) => client.close());

  let before: number;
  beforeAll(async () => {
    before = Number(system().cluster.plan.environment.MAIL_CONNECTIONS_MAX);
    await resize(SESSIONS);
  }, 60_000);
  afterEach(closeAll);
  afterAll(() => resize(before), 60_000);

  test('IMAP: refused by a reset, at once; others live, and whoever tries again gets the place of one who left', async () => {
    for (let i = 0; i < SESSIONS; i++) open.push(await imap());
    const begin = Date.now();
    await expect(LineClient.tls(node().address, 993, system().tls)).rejects.toThrow(/ECONNREFUSED|ECONNRESET/);
    expect(Date.now() - begin).toBeLessThan(1000);

    for (const client of open) await client.imap('NOOP');
    await staysHealthy(node());
    for (const client of open) await client.imap('NOOP');

    await open.pop()!.imap('LOGOUT');
    await new Promise((resolve) => setTimeout(resolve, 500));
    open.push(await imap());
  }, 60_000);

  test('submission: the same, and mail that is being sent goes through', async () => {
    const { plan } = system().cluster;
    // Postfix takes 50 from one address (smtpd_client_connection_count_limit).
    const sources = [plan.gateway, ...plan.balancerAddresses];
    for (let i = 0; i < SMTP_SESSIONS; i++) {
      const client = await LineClient.tcp(node().address, 587, sources[i % sources.length]);
      open.push(client);
      await client.expect(/^220 /);
    }
    const begin = Date.now();
    await expect(LineClient.tcp(node().address, 587)).rejects.toThrow(/ECONNREFUSED|ECONNRESET/);
    expect(Date.now() - begin).toBeLessThan(1000);
    await staysHealthy(node());
    for (const client of open) expect(await client.ask('NOOP', /^\d/)).toMatch(/^250/);
    // Port 25 has places of its own.
    const mx = await LineClient.tcp(node().address, 25);
    await mx.expect(/^220 /);
    mx.close();
  }, 60_000);
}

/** For as long as the balancer would take to give the node up, and longer. */
async function staysHealthy(node: LocalNode): Promise<void> {
  for (let second = 0; second < 12; second++) {
    expect(await node.health()).toMatchObject({ status: 200 });
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
