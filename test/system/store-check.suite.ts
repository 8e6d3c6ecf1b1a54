import { randomUUID } from 'node:crypto';
import { CloudWatchClient, ListMetricsCommand } from '@aws-sdk/client-cloudwatch';
import { S3Client } from '@aws-sdk/client-s3';
import { createTransport } from 'nodemailer';
import { imapClient } from '../../local/mail-clients';
import { waitFor } from '../../local/run';
import { readJournal } from '../support/journal';
import type { System } from './system';

const COPY = '/var/tmp/restored';
const CHECK = '/opt/mail-platform/libexec/check-store';
const COUNT = 120;

/** A copy of the store, as a restored backup is, is checked in three stages (D5). */
export function storeCheckSuite(system: () => System): void {
  const node = () => system().cluster.nodes[0];
  const bucket = () => system().cluster.plan.environment.MAIL_JOURNAL_BUCKET;

  /** Runs the check on the node, with the rights to read the journal. */
  const check = async (folder: string, ...options: string[]) => {
    const { aws, plan } = system().cluster;
    const rights = { ...aws.environment, AWS_ENDPOINT_URL: aws.endpointFor(plan.gateway) };
    const variables = Object.entries({ ...rights, AWS_ENDPOINT_URL_S3: rights.AWS_ENDPOINT_URL })
      .filter(([name]) => name.startsWith('AWS_'))
      .map(([name, value]) => `${name}=${value}`);
    const command = [...variables, CHECK, folder, ...options].join(' ');
    const output = await node().shell(
      `${command} 2>/tmp/check-said; status=$?; echo; echo $status; cat /tmp/check-said`,
      {
        timeout: 120_000,
      },
    );
    const [report, ...rest] = output.trim().split(/\n+/);
    const status = report.startsWith('{') ? rest.shift() : report;
    return { status: Number(status), report: report.startsWith('{') ? JSON.parse(report) : {}, said: rest.join('\n') };
  };

  beforeAll(async () => {
    const { view, alice, bob, cluster } = system();
    const s3 = new S3Client(cluster.aws.client);
    const before = (await readJournal(s3, bucket())).length;
    const client = createTransport({
      ...{ host: view.address, port: 25, pool: true, maxConnections: 2, maxMessages: 1e6 },
      tls: { ca: view.authority, servername: view.hostname },
    });
    const send = (index: number) =>
      client.sendMail({
        envelope: { from: 'someone@example.net', to: [index % 2 ? alice.address : bob.address] },
        raw: `From: <someone@example.net>\r\nSubject: ${randomUUID()}\r\n\r\nhello ${index}\r\n.\r\n${'x'.repeat(2000)}\r\n`,
      });
    const inMailboxes = async () => {
      let count = 0;
      for (const user of [alice, bob]) {
        const imap = imapClient(view, user);
        await imap.connect();
        count += (await imap.status('INBOX', { messages: true })).messages!;
        await imap.logout();
      }
      return count;
    };
    const present = await inMailboxes();
    const delivered = (number: number) =>
      waitFor('all of it in the mailboxes', 60_000, async () =>
        (await inMailboxes()) >= present + number ? true : undefined,
      );
    await Promise.all(Array.from({ length: COUNT - 1 }, (_none, index) => send(index)));
    await delivered(COUNT - 1);
    // Alice's newest, by its time as well as by its UID.
    await send(COUNT - 1);
    await delivered(COUNT);
    client.close();
    await waitFor('all of it in the journal', 60_000, async () =>
      (await readJournal(s3, bucket())).length >= before + COUNT ? true : undefined,
    );
    s3.destroy();
  }, 180_000);

  beforeEach(() => node().shell(`rm -rf ${COPY} && cp -a /srv/mail-store ${COPY}`));

  const journal = () => ['--journal', `s3://${bucket()}`];

  test('a whole store passes all three stages, and the result is a metric', async () => {
    const { status, report, said } = await check(COPY, ...journal());
    expect(said).toBe('');
    expect(status).toBe(0);
    expect(report).toMatchObject({
      passed: true,
      integrity: { passed: true, broken: 0 },
      function: { passed: true, read: 100, failed: 0 },
      load: { passed: true, connections: 200, failed: 0 },
    });
    expect(report.integrity.checked).toBeGreaterThanOrEqual(COUNT);
    console.log(JSON.stringify(report));
    const metrics = new CloudWatchClient(system().cluster.aws.client);
    const { Metrics = [] } = await metrics.send(new ListMetricsCommand({ Namespace: 'MailPlatform' }));
    metrics.destroy();
    expect(Metrics.map(({ MetricName }) => MetricName)).toContain('RestoreCheckPassed');
    // The node's own Dovecot never noticed, and nothing of the copy's is left.
    expect(await node().shell('systemctl is-active dovecot; ls -d /run/mail-copy.* 2>/dev/null || echo none')).toBe(
      'active\nnone\n',
    );
    expect(await node().shell("ss --listening --tcp --numeric | grep -c ':10143 ' || true")).toBe('0\n');
  }, 180_000);

  /** The copy's file of the newest message in alice's INBOX. */
  const oneFile = async () => {
    const [name, domain] = system().alice.address.split('@');
    const found = await node().shell(`ls -t ${COPY}/mail/${domain}/${name}/mail/{new,cur}/* 2>/dev/null | head -n 1`);
    return found.trim();
  };

  test('a message with other words in it is found by its digest, though it can be read', async () => {
    const { alice, view } = system();
    const file = await oneFile();
    const imap = imapClient(view, alice);
    await imap.connect();
    await imap.mailboxOpen('INBOX', { readOnly: true });
    const newest = await imap.fetchOne('*', { source: true });
    await imap.logout();
    const changed = (newest as { source: Buffer }).source.toString('latin1').replace('hello', 'jello');
    const packed = Buffer.from(changed.replaceAll('\r\n', '\n'), 'latin1').toString('base64');
    await node().shell(`base64 -d <<<'${packed}' >'${file}'`);
    const { status, report, said } = await check(COPY, ...journal(), '--connections', '5');
    expect(status).toBe(1);
    expect(report).toMatchObject({ passed: false, integrity: { passed: false, broken: 1 } });
    expect(said).toMatch(/^integrity: .*INBOX, UID \d+: is not what was accepted as /m);
  }, 120_000);

  test('a message that is cut off can not be read', async () => {
    const file = await oneFile();
    await node().shell(`truncate --size=40 '${file}'`);
    const { status, report, said } = await check(COPY, ...journal(), '--connections', '5', '--messages', '1000');
    expect(status).toBe(1);
    expect(report).toMatchObject({ passed: false, load: { passed: true } });
    expect(report.integrity.broken + report.function.failed).toBeGreaterThan(0);
    expect(said).toMatch(/^(integrity|function): /m);
  }, 120_000);

  test('fails when the folder is the live store, or none', async () => {
    expect(await check('/srv/mail-store')).toMatchObject({
      status: 1,
      said: expect.stringContaining('the store itself'),
    });
    expect(await check('/srv/nothing')).toMatchObject({
      status: 1,
      said: expect.stringContaining('there is no folder'),
    });
    await node().shell(`rm -rf ${COPY}/mail/*`);
    expect(await check(COPY)).toMatchObject({ status: 1, said: expect.stringContaining('the store has no mailboxes') });
  }, 60_000);
}
