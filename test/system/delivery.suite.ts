import { randomUUID } from 'node:crypto';
import { createTransport } from 'nodemailer';
import { inbox, submit } from '../../local/round-trip';
import { waitFor } from '../../local/run';
import { LineClient, base64 } from './line-client';
import type { System } from './system.test';

/** What is accepted, from whom, and where it goes (B2, B7). */
export function deliverySuite(system: () => System): void {
  const domain = () => system().cluster.domains[0];

  /** A session on port 25 as another mail server has it. */
  const mx = async () => {
    const client = await LineClient.tcp(system().view.address, 25);
    await client.expect(/^220 /);
    await client.ask('EHLO mx.example.net', /^250 /);
    return client;
  };

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
    const client = await mx();
    await client.ask('MAIL FROM:<someone@example.net>', /^250 /);
    await client.ask(`RCPT TO:<${system().bob.address}>`, /^250 /);
    await client.ask('DATA', /^354 /);
    await client.ask(`From: someone@example.net\r\nSubject: ${subject}\r\n\r\nhello\r\n.`, /^250 /);
    client.close();
    await arrives(subject);
  });

  test('an address with a detail (+) leads to the mailbox', async () => {
    const subject = randomUUID();
    const { view, alice, bob } = system();
    await submit(view, alice, bob.address.replace('@', '+lists@'), subject);
    await arrives(subject);
  });

  describe('relay is refused', () => {
    test.each([
      ['to another domain', 'someone@example.net', 'victim@example.org'],
      ['to another domain with a sender of ours', 'alice@example.com', 'victim@example.org'],
      ['with a percent sign', 'someone@example.net', 'victim%example.org@example.com'],
      ['with a source route', 'someone@example.net', '@example.com:victim@example.org'],
      ['with two at signs', 'someone@example.net', '"victim@example.org"@example.com'],
      ['with a bang path', 'someone@example.net', 'example.org!victim@example.com'],
      ['from the null sender', '', 'victim@example.org'],
    ])('on port 25, %s', async (_how, sender, recipient) => {
      const client = await mx();
      await client.ask(`MAIL FROM:<${sender}>`, /^250 /);
      await client.ask(`RCPT TO:<${recipient}>`, /^(550|551|553|554|501) /);
      client.close();
    });

    test('on port 465 without a login', async () => {
      const client = await LineClient.tls(system().view.address, 465, system().tls);
      await client.expect(/^220 /);
      await client.ask('EHLO client.example.net', /^250 /);
      const answer = await client.ask(`MAIL FROM:<${system().alice.address}>`, /^\d{3} /);
      if (answer.startsWith('250')) await client.ask(`RCPT TO:<${system().bob.address}>`, /^(530|553|554) /);
      else expect(answer).toMatch(/^530 /);
      client.close();
    });
  });

  test('an unknown recipient is refused at once, not bounced later', async () => {
    const client = await mx();
    await client.ask('MAIL FROM:<someone@example.net>', /^250 /);
    await client.ask(`RCPT TO:<nobody@${domain()}>`, /^550 5\.1\.1/);
    client.close();
  });

  test("a user can't send in another user's name", async () => {
    const client = await submission();
    await client.ask(`MAIL FROM:<${system().bob.address}>`, /^(250|553) /);
    await client.ask(`RCPT TO:<${system().bob.address}>`, /^(553|503) /);
    client.close();
  });

  test('port 25 takes no login', async () => {
    const client = await mx();
    expect(await client.ask('EHLO mx.example.net', /^250 /)).not.toMatch(/AUTH/);
    client.close();
  });

  test('a line feed without carriage return does not end a message (SMTP smuggling)', async () => {
    const subject = randomUUID();
    const client = await mx();
    await client.ask('MAIL FROM:<someone@example.net>', /^250 /);
    await client.ask(`RCPT TO:<${system().bob.address}>`, /^250 /);
    await client.ask('DATA', /^354 /);
    const smuggled = `MAIL FROM:<a@example.net>\r\nRCPT TO:<${system().bob.address}>\r\nDATA\r\nSubject: ${subject}\r\n\r\nx`;
    client.send(`Subject: outer\r\n\r\nhello\n.\r\n${smuggled}\r\n.`);
    // https://www.postfix.org/smtp-smuggling.html: the whole is one message, or is refused.
    await client.expect(/^(250|521|550) /).catch(() => undefined);
    client.close();
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(await inbox(system().view, system().bob)).not.toContain(subject);
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
