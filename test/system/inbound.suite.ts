import { randomUUID } from 'node:crypto';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { imapClient, type LocalUser } from '../../local/mail-clients';
import { submit } from '../../local/round-trip';
import { sleep, waitFor } from '../../local/run';
import { readJournal } from '../support/journal';
import { takenBySes, type Taken } from '../support/ses-mail';
import { LineClient } from './line-client';
import type { System } from './system';

/** Short enough for a test that a claim of somebody who was killed ends. */
const PATIENCE = 24;
const PROGRAM = '/opt/mail-platform/libexec/inbound';

/** Mail that SES stored in S3, and told of by SNS and SQS, is delivered once (B2, E1, E8). */
export function inboundSuite(system: () => System): void {
  const nodes = () => system().cluster.nodes;
  const s3 = () => new S3Client(system().cluster.aws.client);
  const bucket = () => system().cluster.plan.environment.MAIL_INBOUND_BUCKET;
  const queue = () => system().cluster.plan.environment.MAIL_INBOUND_QUEUE;
  const everywhere = (script: string) => Promise.all(nodes().map((node) => node.shell(script)));

  /** Stores what SES writes. Returns its notice, as the topic puts it into the queue. */
  const store = async (taken: Taken): Promise<string> => {
    const { key, raw, notice } = takenBySes(bucket(), taken);
    await s3().send(new PutObjectCommand({ Bucket: bucket(), Key: key, Body: raw }));
    return notice;
  };
  const tell = (notice: string) =>
    system().cluster.aws.askQueues('SendMessage', { QueueUrl: queue(), MessageBody: notice });
  const receive = async (taken: Taken) => tell(await store(taken));

  /** Messages with the subject in a mailbox, whole. */
  const read = async (user: LocalUser, subject: string, mailbox = 'INBOX'): Promise<string[]> => {
    const client = imapClient(system().view, user);
    await client.connect();
    try {
      const { exists } = await client.mailboxOpen(mailbox, { readOnly: true });
      if (exists === 0) return [];
      const found: string[] = [];
      const uids = (await client.search({ header: { subject } }, { uid: true })) || [];
      for (const uid of uids)
        found.push(
          String(((await client.fetchOne(`${uid}`, { source: true }, { uid: true })) as { source?: Buffer }).source),
        );
      return found;
    } catch (error) {
      if (/doesn't exist|NONEXISTENT|Command failed/.test(String(error))) return [];
      throw error;
    } finally {
      await client.logout().catch(() => client.close());
    }
  };
  const arrives = (user: LocalUser, subject: string, mailbox?: string, timeout = 40_000) =>
    waitFor(`"${subject}" to arrive`, timeout, async () => {
      const found = await read(user, subject, mailbox);
      return found.length > 0 ? found : undefined;
    });

  /** Notices in the queue, in the hands of nodes or not. */
  const waiting = async (): Promise<number> => {
    const text = await system().cluster.aws.askQueues('GetQueueAttributes', {
      QueueUrl: queue(),
      'AttributeName.1': 'All',
    });
    const count = (name: string) => Number(new RegExp(`<Name>${name}</Name>\\s*<Value>(\\d+)`).exec(text)![1]);
    return count('ApproximateNumberOfMessages') + count('ApproximateNumberOfMessagesNotVisible');
  };
  const done = (timeout = 40_000) =>
    waitFor('the queue to be empty', timeout, async () => ((await waiting()) === 0 ? true : undefined));

  const keys = async (prefix: string): Promise<string[]> => {
    const { Contents = [] } = await s3().send(new ListObjectsV2Command({ Bucket: bucket(), Prefix: prefix }));
    return Contents.map(({ Key }) => Key!);
  };
  const setAside = async (reason: string, subject: string) => {
    for (const key of await keys(`quarantine/${reason}/`)) {
      const text = await (
        await s3().send(new GetObjectCommand({ Bucket: bucket(), Key: key }))
      ).Body!.transformToString();
      if (key.endsWith('.eml') && text.includes(subject)) {
        const told = await s3().send(new GetObjectCommand({ Bucket: bucket(), Key: key.replace(/eml$/, 'json') }));
        return { raw: text, ...(JSON.parse(await told.Body!.transformToString()) as { why: unknown; notice: string }) };
      }
    }
    return undefined;
  };
  const journalled = async (subject: string) =>
    (await readJournal(s3(), system().cluster.plan.environment.MAIL_JOURNAL_BUCKET)).filter(({ text }) =>
      text.includes(`Subject: ${subject}\r\n`),
    );

  const setPatience = (seconds?: number) => {
    const folder = '/run/systemd/system/mail-inbound.service.d';
    const start = `ExecStart=/usr/bin/env MAIL_INBOUND_PATIENCE=${seconds} /opt/mail-platform/libexec/inbound/serve`;
    const change = seconds
      ? `mkdir -p ${folder} && printf '[Service]\\nExecStart=\\n${start}\\n' >${folder}/test.conf`
      : `rm -rf ${folder}`;
    return everywhere(`${change}; systemctl daemon-reload; systemctl restart mail-inbound.service`);
  };

  test('it arrives once, for whom SES took it from, whatever its headers say, and nothing of it stays', async () => {
    const { bob } = system();
    const subject = randomUUID();
    const notice = await store({
      subject,
      recipients: [bob.address.replace('@', '+lists@')],
      sender: 'bounces+7@lists.example.net',
    });
    await tell(notice);
    const [message, ...more] = await arrives(bob, subject);
    expect(more).toEqual([]);
    expect(message).toMatch(/^Return-Path: <bounces\+7@lists\.example\.net>$/m);
    expect(message).toContain('To: <nobody@elsewhere.example>');
    // Postfix's own line: who brought it to SES, not this machine.
    expect(message).toMatch(
      /^Received: from mx\.example\.net \(mx\.example\.net \[198\.51\.100\.77\]\)\s+by mail\.example\.com/m,
    );
    await done();
    const [object, ...others] = await waitFor('its copy', 20_000, async () => {
      const found = await journalled(subject);
      return found.length > 0 ? found : undefined;
    });
    expect(others).toEqual([]);
    expect(object.text.match(/^X-Journal-(From|To|Client): .*(?=\r)/gm)).toEqual([
      'X-Journal-Client: 198.51.100.77',
      'X-Journal-From: <bounces+7@lists.example.net>',
      `X-Journal-To: <${bob.address.replace('@', '+lists@')}>`,
    ]);
    const { objectKey } = (JSON.parse(notice) as { receipt: { action: { objectKey: string } } }).receipt.action;
    expect(await keys('mail/')).not.toContain(objectKey);
  });

  test('several recipients, an alias among them, and a notice without a sender', async () => {
    const { alice, bob } = system();
    const subject = randomUUID();
    await receive({ subject, recipients: [alice.address, bob.address], sender: '<>' });
    for (const user of [alice, bob]) {
      const found = await arrives(user, subject);
      expect(found).toHaveLength(1);
      expect(found[0]).toMatch(/^Return-Path: <>$/m);
    }
  });

  test('a notice that comes again, at once and at the same moment, makes no second message', async () => {
    const { bob } = system();
    const subject = randomUUID();
    const notice = await store({ subject, recipients: [bob.address] });
    await Promise.all(Array.from({ length: 6 }, () => tell(notice)));
    await arrives(bob, subject);
    await tell(notice);
    await done(90_000);
    await sleep(2000);
    expect(await read(bob, subject)).toHaveLength(1);
    expect(await journalled(subject)).toHaveLength(1);
  }, 150_000);

  test('SES says what it found, and nobody else', async () => {
    const { bob } = system();
    const subject = randomUUID();
    const fields =
      'Authentication-Results: amazonses.com; spf=pass; dkim=pass; dmarc=pass\r\n' +
      'authentication-results: (x) MAIL.example.com 1;\r\n dkim=pass header.d=bank.example\r\n' +
      'Authentication-Results: mx.example.net; dkim=pass\r\n' +
      'X-SES-Spam-Verdict: FAIL\r\nX-Inbound-Verdict: junk\r\nReturn-Path: <forged@example.com>\r\n';
    await receive({
      subject,
      recipients: [bob.address],
      fields,
      verdicts: { spf: 'FAIL', dkim: 'GRAY', dmarc: 'FAIL' },
    });
    const [message] = await arrives(bob, subject);
    expect(message.match(/^(Authentication-Results|X-SES-.*|X-Inbound-.*|Return-Path):.*(?=\r)/gim)).toEqual([
      'Return-Path: <someone@example.net>',
      'Authentication-Results: mail.example.com; spf=fail smtp.mailfrom=someone@example.net; dkim=none; dmarc=fail',
      'Authentication-Results: mx.example.net; dkim=pass',
    ]);
  });

  test('what SES takes for spam, or a domain has put aside, goes to Junk', async () => {
    const { bob } = system();
    const [spam, foreign] = [randomUUID(), randomUUID()];
    await receive({ subject: spam, recipients: [bob.address], verdicts: { spam: 'FAIL' } });
    await receive({
      subject: foreign,
      recipients: [bob.address],
      verdicts: { dmarc: 'FAIL' },
      dmarcPolicy: 'quarantine',
    });
    for (const subject of [spam, foreign]) {
      expect(await arrives(bob, subject, 'Junk')).toHaveLength(1);
      expect(await read(bob, subject)).toEqual([]);
    }
  });

  test('by port 25 nobody writes the header that sends mail to Junk', async () => {
    const { view, bob } = system();
    const subject = randomUUID();
    const client = await LineClient.mx(view.address);
    const forged = `From: someone@example.net\r\nX-Inbound-Verdict: junk\r\nSubject: ${subject}\r\n\r\nx`;
    expect(await client.mail('someone@example.net', bob.address, forged)).toMatch(/^250 /);
    client.close();
    const [message] = await arrives(bob, subject);
    expect(message).not.toContain('X-Inbound-Verdict');
  });

  test.each([
    ['a virus', 'virus', { verdicts: { virus: 'FAIL' } }],
    ['what its domain wants refused', 'dmarc', { verdicts: { dmarc: 'FAIL' }, dmarcPolicy: 'reject' }],
  ])('%s reaches nobody, and is set aside', async (_what, reason, more) => {
    const { bob } = system();
    const subject = randomUUID();
    await receive({ subject, recipients: [bob.address], ...more });
    const kept = await waitFor('it to be set aside', 30_000, () => setAside(reason, subject));
    expect(kept).toMatchObject({ why: reason });
    expect(JSON.parse(kept.notice)).toMatchObject({ receipt: { recipients: [bob.address] } });
    await done();
    expect(await read(bob, subject)).toEqual([]);
    expect(await read(bob, subject, 'Junk')).toEqual([]);
  });

  test('for whom nobody knows it is set aside, without a bounce; the others get it', async () => {
    const { bob } = system();
    const [some, all] = [randomUUID(), randomUUID()];
    const stranger = 'no-such-user@example.com';
    await receive({ subject: some, recipients: [stranger, bob.address] });
    await receive({ subject: all, recipients: [stranger] });
    expect(await arrives(bob, some)).toHaveLength(1);
    for (const subject of [some, all]) {
      const kept = await waitFor('it to be set aside', 30_000, () => setAside('unknown', subject));
      expect(kept.why).toEqual({ [stranger]: expect.stringMatching(/^550 5\.1\.1 .*User unknown/) });
    }
    await done();
    const logs = await everywhere(`journalctl --no-pager -u mail-inbound | grep -c "not for '${stranger}'" || true`);
    expect(logs.map(Number).reduce((sum, count) => sum + count)).toBe(2);
    expect((await everywhere('postqueue -j')).join('')).not.toContain('someone@example.net');
  });

  test('a notice that can not be read is kept, and holds up nothing', async () => {
    const { bob } = system();
    const [mark, subject] = [randomUUID(), randomUUID()];
    const elsewhere = (await store({ subject: mark, recipients: [bob.address] })).replace(bucket(), 'another-bucket');
    for (const text of [`no JSON ${mark}`, `{"mark":"${mark}"}`, elsewhere]) await tell(text);
    await receive({ subject, recipients: [bob.address] });
    expect(await arrives(bob, subject)).toHaveLength(1);
    await done();
    const kept: string[] = [];
    for (const key of await keys('quarantine/unreadable/')) {
      const text = await (
        await s3().send(new GetObjectCommand({ Bucket: bucket(), Key: key }))
      ).Body!.transformToString();
      if (text.includes(mark) || text.includes('another-bucket')) kept.push(text);
    }
    expect(kept).toHaveLength(3);
    expect(await read(bob, mark)).toEqual([]);
  });

  test('40 MB, with lines that begin with dots', async () => {
    const { bob } = system();
    const subject = randomUUID();
    const line = `.${'x'.repeat(75)}\r\n`;
    const body = line.repeat(Math.floor(40_000_000 / line.length));
    await receive({ subject, recipients: [bob.address], body });
    const [message] = await arrives(bob, subject, 'INBOX', 120_000);
    expect(message.slice(message.indexOf('\r\n\r\n') + 4) === body).toBe(true);
    await done();
  }, 180_000);

  test('nobody else says that Postfix has it', async () => {
    const { view, alice } = system();
    await expect(submit(view, alice, 'x.y@inbound.invalid', randomUUID())).rejects.toThrow(/554|550/);
    const client = await LineClient.mx(view.address);
    expect(await client.mail('someone@example.net', 'x.y@inbound.invalid', '')).toMatch(/^5\d\d /);
    client.close();
    const [node] = nodes();
    // A program on the node, such as a user's Sieve script, may write there, but knows no claim.
    await node.exec(['sendmail', '-f', alice.address, 'x.y@inbound.invalid'], { input: 'Subject: x\n\nx\n' });
    await waitFor('it to be noticed', 20_000, async () =>
      (await node.shell('journalctl --no-pager -u mail-inbound')).includes('x.y') ? true : undefined,
    );
    await node.shell('postsuper -d ALL 2>&1');
  });

  test('the daemon has no rights on the node but its own', async () => {
    const [node] = nodes();
    const pid = (await node.shell('systemctl show -p MainPID --value mail-inbound')).trim();
    expect(await node.shell(`ps -o user= -p ${pid}`)).toBe('mail-inbound\n');
    expect(await node.shell(`grep CapEff /proc/${pid}/status`)).toMatch(/0{16}/);
    expect(await node.shell('stat -c "%U %a" /run/mail-inbound/lmtp')).toBe('postfix 600\n');
    // Others who deliver mail on the node can't reach the socket on which it is believed who the client is.
    await expect(node.shell('runuser -u vmail -- test -S /var/spool/postfix/public/inbound')).rejects.toThrow();
    const report = await node.shell('systemd-analyze security --no-pager mail-inbound.service | grep Overall');
    expect(Number(/level for \S+: ([0-9.]+)/.exec(report)![1])).toBeLessThanOrEqual(3);
  });

  test('while nodes are away, or Postfix is, mail waits', async () => {
    const { bob } = system();
    const subjects = [randomUUID(), randomUUID()];
    await everywhere('systemctl stop mail-inbound.service');
    await receive({ subject: subjects[0], recipients: [bob.address] });
    await sleep(3000);
    expect(await waiting()).toBe(1);
    // As if Postfix took nothing for the moment.
    await everywhere(
      'postconf -P "inbound/unix/smtpd_recipient_restrictions=defer" && postfix reload 2>&1 && systemctl start mail-inbound.service',
    );
    await receive({ subject: subjects[1], recipients: [bob.address] });
    await waitFor('it to be tried', 60_000, async () =>
      (await everywhere('journalctl --no-pager -u mail-inbound --since -1min')).join('').includes('again in')
        ? true
        : undefined,
    );
    for (const subject of subjects) expect(await read(bob, subject)).toEqual([]);
    await everywhere('bash /opt/mail-platform/bootstrap.sh 2>&1; postfix reload 2>&1');
    for (const subject of subjects) expect(await arrives(bob, subject, 'INBOX', 60_000)).toHaveLength(1);
    await done();
  }, 180_000);

  describe('killed', () => {
    beforeAll(() => setPatience(PATIENCE));
    afterAll(() => setPatience());

    test.each([
      ['before it has claimed it', 'bucket.py', 'def claim(self, id):'],
      ['after it has claimed it', 'bucket.py', 'def read(self, key):'],
      ['before the end of the message', 'postfix.py', 'smtp\\.send(b'],
      ['after the end of the message, before it heard the answer', 'postfix.py', 'answer = smtp\\.getreply()'],
      ['before it marks it as done', 'bucket.py', 'def finish(self, id, word):'],
      ['before it takes the notice out of the queue', 'serve', 'async def forget(self'],
    ])(
      '%s: it arrives, and once',
      async (_when, file, line) => {
        const { bob } = system();
        const subject = randomUUID();
        await dieAt(file, line);
        try {
          const before = await deaths();
          await receive({ subject, recipients: [bob.address] });
          // A question of the daemon before may have taken the notice with it, for half a minute.
          await waitFor('it to die', 75_000, async () => ((await deaths()) > before ? true : undefined));
        } finally {
          await live(file);
        }
        await arrives(bob, subject, 'INBOX', 90_000);
        await done(90_000);
        expect(await read(bob, subject)).toHaveLength(1);
        expect(await journalled(subject)).toHaveLength(1);
      },
      200_000,
    );

    test('at random, and Postfix too: everything arrives, and once', async () => {
      const { alice, bob } = system();
      const run = randomUUID();
      const subjects = Array.from({ length: 80 }, (_unused, index) => `${run} ${index}`);
      const feeding = (async () => {
        for (const subject of subjects) {
          await receive({
            subject,
            recipients: [Math.random() < 0.5 ? bob.address : alice.address],
            body: `${'x'.repeat(70)}\r\n`.repeat(200),
          });
          await sleep(200);
        }
      })();
      const killed: { [unit: string]: number } = {};
      for (const end = Date.now() + 20_000; Date.now() < end;) {
        await sleep(300 + Math.random() * 1200);
        const node = nodes()[Math.floor(Math.random() * nodes().length)];
        const unit = ['mail-inbound', 'mail-inbound', 'postfix'][Math.floor(Math.random() * 3)];
        await node.shell(`systemctl kill --signal=KILL ${unit}.service`);
        killed[unit] = (killed[unit] ?? 0) + 1;
      }
      await feeding;
      await done(150_000);
      const times = new Map<string, number>();
      for (const { text } of await readJournal(s3(), system().cluster.plan.environment.MAIL_JOURNAL_BUCKET)) {
        const subject = new RegExp(`^Subject: (${run} \\d+)\\r`, 'm').exec(text)?.[1];
        if (subject) times.set(subject, (times.get(subject) ?? 0) + 1);
      }
      const arrived = [...(await read(bob, run)), ...(await read(alice, run))];
      console.log(`${subjects.length} taken, ${arrived.length} arrived; killed ${JSON.stringify(killed)}`);
      expect(subjects.filter((subject) => times.get(subject) !== 1)).toEqual([]);
      expect(arrived).toHaveLength(subjects.length);
    }, 400_000);
  });

  /** Has the daemon on each node die when it comes to a line, until `live`: before it, or after it when that is the head of a function. */
  async function dieAt(file: string, line: string): Promise<void> {
    const kill = '        import os; os.kill(os.getpid(), 9)';
    const change = line.includes('def ') ? `s/^.*${line}.*$/&\\n${kill}/` : `s/^ *${line}/${kill}\\n&/`;
    const program = `${PROGRAM}/${file}`;
    await everywhere(
      `cp -p ${program} /var/tmp/inbound-before && sed -i '${change}' ${program} && ! cmp --silent ${program} /var/tmp/inbound-before &&` +
        'systemctl restart mail-inbound.service',
    );
  }

  async function live(file: string): Promise<void> {
    await everywhere(`cp -p /var/tmp/inbound-before ${PROGRAM}/${file} && systemctl restart mail-inbound.service`);
  }

  const deaths = async () =>
    (await everywhere('systemctl show -p NRestarts --value mail-inbound.service')).reduce(
      (sum, count) => sum + Number(count),
      0,
    );
}
