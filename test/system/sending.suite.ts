import { randomUUID } from 'node:crypto';
import { submissionClient } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { submit } from '../../local/round-trip';
import { waitFor } from '../../local/run';
import type { System } from './system';

/** Users can't send more than a person does, and who is beside them can (C4). */
export function sendingSuite(system: () => System): void {
  const node = () => system().cluster.nodes[0];
  const at = (where: LocalNode) => ({ ...system().view, address: where.address });

  /** Gives the node other limits, and forgets what was counted. */
  const limit = (perUser: number, perDomain = 20_000, exempt = '') =>
    node().shell(
      `sed -i '/^MAIL_SEND_/d' /etc/mail-platform/env && printf 'MAIL_SEND_PER_USER=${perUser}\\nMAIL_SEND_PER_DOMAIN=${perDomain}\\n${exempt && `MAIL_SEND_EXEMPT="${exempt}"\\n`}' >>/etc/mail-platform/env &&` +
        'bash /opt/mail-platform/bootstrap.sh 2>&1; systemctl restart mail-sending.service',
      { timeout: 60_000 },
    );
  const log = (since: number) => node().shell(`journalctl --no-pager --output=cat -u mail-sending --since=@${since}`);
  const now = () => Math.floor(Date.now() / 1000);

  let before: string;
  beforeAll(async () => {
    before = await node().shell("grep '^MAIL_SEND_' /etc/mail-platform/env || true");
  });
  afterAll(
    () =>
      node().exec(
        [
          'bash',
          '-c',
          "sed -i '/^MAIL_SEND_/d' /etc/mail-platform/env && cat >>/etc/mail-platform/env && bash /opt/mail-platform/bootstrap.sh 2>&1; systemctl restart mail-sending.service",
        ],
        {
          input: before,
          timeout: 60_000,
        },
      ),
    60_000,
  );

  test('by default a user may send a thousand an hour', () => {
    expect(before).toContain('MAIL_SEND_PER_USER=1000\n');
    expect(before).toContain('MAIL_SEND_PER_DOMAIN=20000\n');
  });

  test('who has sent too much is put off, and logged; others are not', async () => {
    const { alice, bob, cluster } = system();
    await limit(10);
    const begin = now();
    for (let count = 0; count < 10; count++) await submit(at(node()), alice, bob.address, randomUUID());
    await expect(submit(at(node()), alice, bob.address, randomUUID())).rejects.toThrow(
      /450 4\.7\.1 .*too many recipients within an hour/,
    );
    await submit(at(node()), bob, alice.address, randomUUID());
    expect(await log(begin)).toContain(
      `'${alice.address}' has sent to 10 recipients within an hour, of 10: '${alice.address}' may not send to 1 more`,
    );
    // Each node counts for itself.
    await submit(at(cluster.nodes[1]), alice, bob.address, randomUUID());
  }, 120_000);

  test('recipients count, however many messages they are in; more than an hour allows never pass', async () => {
    const { alice, bob } = system();
    await limit(10);
    const send = async (count: number) => {
      const client = submissionClient(at(node()), alice);
      const to = Array.from({ length: count }, (_unused, index) => bob.address.replace('@', `+${index}@`));
      try {
        await client.sendMail({ from: alice.address, to, subject: randomUUID(), text: 'x' });
      } finally {
        client.close();
      }
    };
    await expect(send(11)).rejects.toThrow(/554 5\.7\.1 .*More recipients than you may send to/);
    await send(8);
    await expect(send(3)).rejects.toThrow(/450 4\.7\.1/);
    await send(2);
  }, 120_000);

  test('the users of a domain together', async () => {
    const { alice, bob } = system();
    await limit(1000, 10);
    for (let count = 0; count < 5; count++) {
      await submit(at(node()), alice, bob.address, randomUUID());
      await submit(at(node()), bob, alice.address, randomUUID());
    }
    await expect(submit(at(node()), alice, bob.address, randomUUID())).rejects.toThrow(/450 4\.7\.1 .*Your domain/);
  }, 120_000);

  test('no limit holds for who is exempt', async () => {
    const { alice, bob } = system();
    await limit(10, 10, alice.address);
    for (let count = 0; count < 15; count++) await submit(at(node()), alice, bob.address, randomUUID());
    await submit(at(node()), bob, alice.address, randomUUID());
  }, 120_000);

  test('tells CloudWatch how many were sent and put off', async () => {
    const { alice, bob } = system();
    await limit(10);
    for (let count = 0; count < 10; count++) await submit(at(node()), alice, bob.address, randomUUID());
    await expect(submit(at(node()), alice, bob.address, randomUUID())).rejects.toThrow(/450/);
    const { CloudWatchClient, GetMetricStatisticsCommand } = await import('@aws-sdk/client-cloudwatch');
    const cloudwatch = new CloudWatchClient(system().cluster.aws.client);
    await waitFor('the metric', 90_000, async () => {
      const { Datapoints = [] } = await cloudwatch.send(
        new GetMetricStatisticsCommand({
          Namespace: 'MailPlatform',
          MetricName: 'SendingRefused',
          Dimensions: [{ Name: 'Cluster', Value: system().cluster.plan.environment.MAIL_CLUSTER }],
          StartTime: new Date(Date.now() - 3_600_000),
          EndTime: new Date(Date.now() + 60_000),
          Period: 3600,
          Statistics: ['Sum'],
        }),
      );
      return Datapoints.some(({ Sum = 0 }) => Sum > 0) ? true : undefined;
    });
  }, 180_000);

  test('while it is away mail is taken', async () => {
    const { alice, bob } = system();
    await node().shell('systemctl stop mail-sending.socket mail-sending.service');
    try {
      await submit(at(node()), alice, bob.address, randomUUID());
    } finally {
      await node().shell('systemctl start mail-sending.socket');
    }
  });
}
