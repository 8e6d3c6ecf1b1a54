import { randomUUID } from 'node:crypto';
import { S3Client } from '@aws-sdk/client-s3';
import { submissionClient } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { inbox, submit } from '../../local/round-trip';
import { sleep, waitFor } from '../../local/run';
import { loadMessage, readLoadMessage } from '../failures/ledger';
import { type Journalled, readJournal } from '../support/journal';
import { LineClient } from './line-client';
import { control, putRing, restAgents, wakeAgents } from './ring';
import type { System } from './system';

/** A copy of every message is in S3 (D2, D3, D7). */
export function journalSuite(system: () => System): void {
  const nodes = () => system().cluster.nodes;

  const journal = () => {
    const { aws, plan } = system().cluster;
    return readJournal(new S3Client(aws.client), plan.environment.MAIL_JOURNAL_BUCKET);
  };

  /** Objects of the message, as soon as there is one and it is in no queue any more. */
  const journalled = (subject: string, timeout = 30_000): Promise<Journalled[]> =>
    waitFor(`"${subject}" in the journal`, timeout, async () => {
      const found = (await journal()).filter(({ text }) => text.includes(`Subject: ${subject}\r\n`));
      return found.length > 0 && (await waiting()) === 0 ? found : undefined;
    });

  /** Messages whose copies wait, of these nodes together. */
  const waiting = async (of = nodes()): Promise<number> => {
    const queues = await Promise.all(of.map((node) => node.shell('postqueue -j').catch(() => 'journal.invalid')));
    return queues
      .join('\n')
      .split('\n')
      .filter((line) => line.includes('journal.invalid')).length;
  };

  const envelope = ({ text }: Journalled) => text.match(/^X-Journal-(From|To): .*(?=\r)/gm);

  /** Changes the daemon's environment on these nodes, or gives it back. */
  const setDaemon = (of: readonly LocalNode[], environment?: string) => {
    const folder = '/run/systemd/system/mail-journal.service.d';
    // Not Environment=, which the file with the node's settings overrides.
    const start = `ExecStart=/usr/bin/env ${environment} /opt/mail-platform/libexec/journal/serve`;
    const change = environment
      ? `mkdir -p ${folder} && printf '[Service]\\nExecStart=\\n${start}\\n' >${folder}/test.conf`
      : `rm -rf ${folder}`;
    return Promise.all(
      of.map((node) => node.shell(`${change}; systemctl daemon-reload; systemctl restart mail-journal.service`)),
    );
  };
  const S3_AWAY = 'AWS_ENDPOINT_URL_S3=http://127.0.0.1:9';

  test('a message from a user to users, by whatever names, is there once with its envelope', async () => {
    const { view, alice, bob } = system();
    const subject = randomUUID();
    const to = [bob.address, bob.address.replace('@', '+lists@'), alice.address];
    const client = submissionClient(view, alice);
    await client.sendMail({ from: alice.address, to, bcc: to[2], subject, text: '.\n..\nhello' });
    client.close();
    const [object, ...more] = await journalled(subject);
    expect(more).toEqual([]);
    expect(envelope(object)).toEqual([
      `X-Journal-From: <${alice.address}>`,
      ...to.sort().map((address) => `X-Journal-To: <${address}>`),
    ]);
    expect(object.text).toMatch(/\r\n\r\n\.\r\n\.\.\r\nhello\r\n$/);
    expect(object.metadata.recipients).toBe('3');
    await waitFor('it to arrive', 30_000, async () => ((await inbox(view, bob)).includes(subject) ? true : undefined));
  });

  test('a message from another server is there once, with who sent it', async () => {
    const { view, bob } = system();
    const subject = randomUUID();
    const client = await LineClient.mx(view.address);
    const message = `From: someone@example.net\r\nSubject: ${subject}\r\n\r\n${'x'.repeat(5000)}`;
    expect(await client.mail('someone@example.net', bob.address, message)).toMatch(/^250 /);
    client.close();
    const [object, ...more] = await journalled(subject);
    expect(more).toEqual([]);
    expect(envelope(object)).toEqual(['X-Journal-From: <someone@example.net>', `X-Journal-To: <${bob.address}>`]);
    expect(object.text).toMatch(/^X-Journal-Client: \d+\.\d+\.\d+\.\d+\r$/m);
    expect(object.text).toContain('x'.repeat(5000)); // no line was folded
  });

  test('a message outwards is there once; the notice that it was refused makes no second', async () => {
    const { view, alice } = system();
    const subject = randomUUID();
    const to = ['someone@elsewhere.example', 'somebody@elsewhere.example'];
    const client = submissionClient(view, alice);
    await client.sendMail({ from: alice.address, to, subject, text: 'hello' });
    client.close();
    await waitFor('the notice', 30_000, async () =>
      (await inbox(view, alice)).some((line) => line.startsWith('Undelivered')) ? true : undefined,
    );
    const [object, ...more] = await journalled(subject);
    expect(more).toEqual([]);
    expect(envelope(object)).toEqual([
      `X-Journal-From: <${alice.address}>`,
      ...to.sort().map((address) => `X-Journal-To: <${address}>`),
    ]);
  });

  test('mail that a program on a node sends is there once', async () => {
    const subject = randomUUID();
    const [node] = nodes();
    const { alice, bob } = system();
    await node.exec(['sendmail', '-f', alice.address, bob.address], { input: `Subject: ${subject}\n\nhello\n` });
    const [object, ...more] = await journalled(subject);
    expect(more).toEqual([]);
    expect(envelope(object)).toEqual([`X-Journal-From: <${alice.address}>`, `X-Journal-To: <${bob.address}>`]);
  });

  test('nobody can write to the copies themselves', async () => {
    const { view, alice, bob } = system();
    for (const to of [`${bob.address}.journal.invalid`, 'x@journal.invalid', 'x@JOURNAL.invalid']) {
      await expect(submit(view, alice, to, randomUUID())).rejects.toThrow(/554|550|501/);
    }
  });

  test('the daemon has no rights on the node but its own', async () => {
    const [node] = nodes();
    const pid = (await node.shell('systemctl show -p MainPID --value mail-journal')).trim();
    expect(await node.shell(`ps -o user= -p ${pid}`)).toBe('mail-journal\n');
    expect(await node.shell(`grep CapEff /proc/${pid}/status`)).toMatch(/0{16}/);
    expect(await node.shell('stat -c "%U %a" /run/mail-journal/lmtp')).toBe('postfix 600\n');
  });

  describe('while S3 is away', () => {
    afterAll(() => setDaemon(nodes()));

    test('mail is delivered, its copies wait, and are there once as soon as S3 is back', async () => {
      const { view, alice, bob } = system();
      await setDaemon(nodes(), S3_AWAY);
      const subjects = Array.from({ length: 10 }, () => randomUUID());
      for (const subject of subjects) await submit(view, alice, bob.address, subject);
      await waitFor('them to arrive', 30_000, async () => {
        const arrived = await inbox(view, bob);
        return subjects.every((subject) => arrived.includes(subject)) ? true : undefined;
      });
      expect(await waiting()).toBe(10);
      await setDaemon(nodes());
      await waitFor('the copies to be gone', 60_000, async () => ((await waiting()) === 0 ? true : undefined));
      const texts = (await journal()).map(({ text }) => text);
      for (const subject of subjects) {
        expect([subject, texts.filter((text) => text.includes(subject)).length]).toEqual([subject, 1]);
      }
    }, 120_000);

    test('no more mail comes in than may wait', async () => {
      const { view, alice, bob } = system();
      const [node] = nodes();
      const there = { ...view, address: node.address };
      await setDaemon([node], `${S3_AWAY} MAIL_JOURNAL_WAITING_MAX=1`);
      const first = randomUUID();
      await submit(there, alice, bob.address, first);
      // It looks at its start.
      await setDaemon([node], `${S3_AWAY} MAIL_JOURNAL_WAITING_MAX=1`);
      await waitFor('it to be full', 20_000, async () =>
        submit(there, alice, bob.address, randomUUID()).then(
          () => undefined,
          (error: Error) => (/452 4\.3\.1/.test(error.message) ? true : undefined),
        ),
      );
      await setDaemon([node]);
      expect(await journalled(first, 60_000)).toHaveLength(1);
      await waitFor('mail to come in again', 90_000, async () =>
        submit(there, alice, bob.address, randomUUID()).then(() => true),
      );
    }, 180_000);

    test('copies that wait on a node that dies are journalled by the one that adopts its queue', async () => {
      const { view, cluster, alice, bob } = system();
      const [adopter, dead] = nodes();
      await restAgents(nodes());
      try {
        for (const node of nodes()) await putRing(node, { version: 300, nodes: nodes() });
        await setDaemon([dead], S3_AWAY);
        const subject = randomUUID();
        await submit({ ...view, address: dead.address }, alice, bob.address, subject);
        await waitFor('it to wait', 20_000, async () =>
          (await dead.shell('postqueue -j')).includes('"queue_name": "deferred"') ? true : undefined,
        );
        await control(dead, 'fence', 'root');
        const { instanceId } = cluster.plan.nodes[1];
        expect(await control(adopter, `adopt ${instanceId}`)).toBe('ok');
        const objects = await waitFor('it in the journal', 30_000, async () => {
          const found = (await journal()).filter(({ text }) => text.includes(subject));
          return found.length > 0 && (await waiting([adopter])) === 0 ? found : undefined;
        });
        expect(objects).toHaveLength(1);
        expect(envelope(objects[0])).toEqual([`X-Journal-From: <${alice.address}>`, `X-Journal-To: <${bob.address}>`]);
        await control(dead, 'unfence', 'root');
      } finally {
        await wakeAgents(cluster);
      }
    }, 180_000);
  });

  test('Postfix and the daemon killed at random: what was acknowledged is there, nothing is there twice', async () => {
    const { view, alice, bob } = system();
    const acknowledged = new Set<string>();
    const refusals: string[] = [];
    let stopped = false;
    const sender = async () => {
      while (!stopped) {
        const { id, raw } = loadMessage(alice.address, bob.address);
        const client = submissionClient(view, alice, { greetingTimeout: 10_000, socketTimeout: 20_000 });
        await client.sendMail({ envelope: { from: alice.address, to: bob.address }, raw }).then(
          () => acknowledged.add(id),
          async (error: Error) => {
            refusals.push(error.message);
            await sleep(300);
          },
        );
        client.close();
      }
    };
    const senders = [sender(), sender(), sender()];
    const victims = ['mail-journal', 'mail-journal', 'postfix'];
    const killed: { [unit: string]: number } = {};
    for (const end = Date.now() + 20_000; Date.now() < end;) {
      await sleep(500 + Math.random() * 2000);
      const node = nodes()[Math.floor(Math.random() * nodes().length)];
      const unit = victims[Math.floor(Math.random() * victims.length)];
      await node.shell(`systemctl kill --signal=KILL ${unit}.service`);
      killed[unit] = (killed[unit] ?? 0) + 1;
    }
    stopped = true;
    await Promise.all(senders);
    await waitFor('the copies to be gone', 120_000, async () => ((await waiting()) === 0 ? true : undefined));

    const times = new Map<string, number>();
    for (const { text } of await journal()) {
      const message = readLoadMessage(text);
      if (!message) continue;
      expect([message.id, message.whole]).toEqual([message.id, true]);
      times.set(message.id, (times.get(message.id) ?? 0) + 1);
    }
    console.log(
      `${acknowledged.size} acknowledged, ${refusals.length} not, ${times.size} in the journal; killed ${JSON.stringify(killed)}`,
    );
    expect(acknowledged.size).toBeGreaterThan(20);
    expect([...acknowledged].filter((id) => !times.has(id))).toEqual([]);
    expect([...times].filter(([, count]) => count > 1)).toEqual([]);
  }, 300_000);
}
