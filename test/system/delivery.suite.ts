import { randomUUID } from 'node:crypto';
import { createTransport } from 'nodemailer';
import { inbox, submit } from '../../local/round-trip';
import { waitFor } from '../../local/run';
import { LineClient, base64 } from './line-client';
import type { System } from './system';

/** What is accepted, from whom, and where it goes (B2). What is refused to strangers is in security.suite.ts. */
export function deliverySuite(system: () => System): void {
  const domain = () => system().cluster.domains[0];

  /** A logged-in submission session. */
  const submission = async () => {
    const { view, tls, alice } = system();
    const client = await LineClient.tls(view.address, 465, tls);
    await client.expect(/^220 /);
    await client.ask('EHLO client.example.net', /^250 /);
    await client.ask(`AUTH PLAIN ${base64(`\0${alice.address}\0${alice.password}`)}`, /^235 /);
    return client;
  };

  const arrives = (subject: string, timeout = 30_000) =>
    waitFor(`"${subject}" to arrive`, timeout, async () =>
      (await inbox(system().view, system().bob)).includes(subject) ? true : undefined,
    );

  test('mail from another server arrives', async () => {
    const subject = randomUUID();
    const client = await LineClient.mx(system().view.address);
    const message = `From: someone@example.net\r\nSubject: ${subject}\r\n\r\nhello`;
    expect(await client.mail('someone@example.net', system().bob.address, message)).toMatch(/^250 /);
    client.close();
    await arrives(subject);
  });

  test('an address with a detail (+) leads to the mailbox', async () => {
    const subject = randomUUID();
    const { view, alice, bob } = system();
    await submit(view, alice, bob.address.replace('@', '+lists@'), subject);
    await arrives(subject);
  });

  test('an unknown recipient is refused at once, not bounced later', async () => {
    const client = await LineClient.mx(system().view.address);
    expect(await client.mail('someone@example.net', `nobody@${domain()}`, '')).toMatch(/^550 5\.1\.1/);
    client.close();
  });

  test('offers what clients expect', async () => {
    const client = await submission();
    const answer = await client.ask('EHLO client.example.net', /^250 /);
    for (const extension of ['PIPELINING', 'CHUNKING', 'SMTPUTF8', '8BITMIME', 'ENHANCEDSTATUSCODES', 'SIZE']) {
      expect(answer).toContain(extension);
    }
    expect(answer).not.toContain('VRFY');
    client.close();
  });

  describe('size', () => {
    const send = (megabytes: number, subject: string) => {
      const { view, alice, bob } = system();
      const head = `From: ${alice.address}\r\nTo: ${bob.address}\r\nSubject: ${subject}\r\n\r\n`;
      const line = `${'x'.repeat(76)}\r\n`;
      const body = line.repeat(Math.floor((megabytes * 1024 * 1024 - head.length) / line.length));
      const transport = createTransport({
        host: view.address,
        port: 587,
        requireTLS: true,
        tls: { ca: view.authority, servername: view.hostname },
        auth: { user: alice.address, pass: alice.password },
      });
      const envelope = { from: alice.address, to: bob.address };
      return transport.sendMail({ envelope, raw: head + body }).finally(() => transport.close());
    };

    test('50 MB are accepted and arrive', async () => {
      const subject = randomUUID();
      await send(50, subject);
      await arrives(subject, 60_000);
    }, 120_000);

    test('51 MB are refused', async () => {
      await expect(send(51, randomUUID())).rejects.toThrow(/552|message size exceeds/i);
    }, 120_000);
  });
}
