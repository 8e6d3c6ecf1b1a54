import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { UserFile } from '../../bin/users/user-file';
import type { LocalUser } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { inbox } from '../../local/round-trip';
import { run, waitFor } from '../../local/run';
import { base64, fromBase64, LineClient, ScramClient } from './line-client';
import { attempt, plainMessage, PROTOCOLS, tokenMessage, type Protocol } from './sign-in-client';
import type { System } from './system';
import { makeKey, signToken, TokenIssuer } from './token-issuer';

const NETWORK = '203.0.113';

/** Users in a PostgreSQL database (C1, C2): what nodes make of them, and what they do without it. */
export function directorySuite(system: () => System): void {
  const nodes = () => system().cluster.nodes;
  const database = () => system().cluster.database!;
  const onAll = (script: string) => Promise.all(nodes().map((node) => node.shell(script, { timeout: 60_000 })));
  const synchronise = () => onAll('systemctl start mail-directory-sync.service');
  /** The same when it is to fail. */
  const synchroniseInVain = () => onAll('! systemctl start mail-directory-sync.service');
  const change = async (edit: (file: UserFile) => void) => {
    await system().cluster.userDirectory().update(edit);
    await synchronise();
  };

  /** Each attempt has an address of its own: failures make the next answer to an address late. */
  let attempts = 0;
  const from = () => `${NETWORK}.${(attempts++ % 250) + 1}`;
  const plain = async (user: LocalUser, how: { node?: LocalNode; protocol?: Protocol } = {}) => {
    const { node = nodes()[0], protocol = 'imap' } = how;
    const message = plainMessage(user.address, user.password);
    const { ok, answer, client } = await attempt(node, protocol, 'PLAIN', message, { tls: system().tls, from: from() });
    client.close();
    return { ok, answer };
  };
  const opens = async (...args: Parameters<typeof plain>) => (await plain(...args)).ok;
  const scram = async ({ address, password }: LocalUser, node = nodes()[0]) => {
    const client = await LineClient.tls(node.address, 993, { ...system().tls, localAddress: from() } as object);
    await client.expect(/^\* OK/);
    const session = new ScramClient(address, password);
    const challenge = await client.ask(`a1 AUTHENTICATE SCRAM-SHA-256 ${base64(session.first())}`, /^(\+|a1) /);
    if (challenge.startsWith('a1')) return challenge.trim();
    const last = await client.ask(base64(session.final(fromBase64(challenge.trim().slice(2)))), /^(\+|a1) /);
    const end = last.startsWith('a1') ? last : await client.ask('', /^a1 /);
    client.close();
    return end.trim();
  };

  /** What another mail server is told about a recipient. */
  const recipient = async (address: string) => {
    const client = await LineClient.tcp(nodes()[0].address, 25, from());
    await client.expect(/^220 /);
    await client.ask('EHLO mx.example.net', /^250 /);
    await client.ask('MAIL FROM:<someone@example.net>', /^250 /);
    const answer = await client.ask(`RCPT TO:<${address}>`, /^\d{3} /);
    return { client, answer: answer.trim() };
  };
  const deliver = async (address: string) => {
    const subject = randomUUID();
    const { client, answer } = await recipient(address);
    expect(answer).toMatch(/^250 /);
    await client.ask('DATA', /^354 /);
    await client.ask(`From: someone@example.net\r\nSubject: ${subject}\r\n\r\nhello\r\n.`, /^250 /);
    client.close();
    return subject;
  };
  const arrives = (user: LocalUser, subject: string) =>
    waitFor(`"${subject}" at ${user.address}`, 30_000, async () =>
      (await inbox(system().view, user)).includes(subject) ? true : undefined,
    );
  const healthy = async () => Promise.all(nodes().map(async (node) => (await node.health()).status));

  const carol = { address: 'carol@example.com', password: 'carols-own-password' };

  beforeAll(async () => {
    await run('ip', ['address', 'replace', `${NETWORK}.0/24`, 'dev', 'lo']);
    await run('ip', ['route', 'replace', 'local', `${NETWORK}.0/24`, 'dev', 'lo']);
    await change((file) => file.add(carol.address, carol.password));
  }, 60_000);

  test.each(PROTOCOLS)(
    'a password opens the mailbox by %s on each node, and a wrong one does not',
    async (protocol) => {
      for (const node of nodes()) {
        expect(await plain(system().alice, { node, protocol })).toMatchObject({ ok: true });
      }
      expect(await opens({ ...system().alice, password: 'wrong-password' }, { protocol })).toBe(false);
    },
  );

  test('SCRAM-SHA-256 opens it on each node', async () => {
    for (const node of nodes()) expect(await scram(system().alice, node)).toMatch(/^a1 OK/);
    expect(await scram({ ...system().alice, password: 'wrong-password' })).toMatch(/^a1 NO \[AUTHENTICATIONFAILED\]/);
  });

  test('mail to users, aliases and groups arrives, and to nobody else', async () => {
    const { alice, bob } = system();
    await change((file) => {
      for (const { address } of [alice, bob]) file.addAlias('sales@example.com', address);
      file.addMember('team@example.com', bob.address);
    });
    const [toAlice, toSales, toTeam] = [
      await deliver(alice.address),
      await deliver('sales@example.com'),
      await deliver('team@example.com'),
    ];
    await arrives(alice, toAlice);
    await arrives(alice, toSales);
    await arrives(bob, toSales);
    await arrives(bob, toTeam);
    expect(await inbox(system().view, alice)).not.toContain(toTeam);
    expect((await recipient('nobody@example.com')).answer).toMatch(/^550 5\.1\.1/);
  });

  test('a user sends from an alias, and not from a group', async () => {
    const { client } = await attempt(
      nodes()[0],
      'smtp',
      'PLAIN',
      plainMessage(system().bob.address, system().bob.password),
      {
        tls: system().tls,
        from: from(),
      },
    );
    await client.ask('MAIL FROM:<sales@example.com>', /^250 /);
    await client.ask(`RCPT TO:<${system().alice.address}>`, /^250 /);
    await client.ask('RSET', /^250 /);
    await client.ask('MAIL FROM:<team@example.com>', /^250 /);
    await client.ask(`RCPT TO:<${system().alice.address}>`, /^553 5\.7\.1/);
    client.close();
  });

  test('a user who is disabled, or whose domain is, is refused, and let in again', async () => {
    for (const whom of [carol.address, 'example.com']) {
      await change((file) => file.setEnabled(whom, false));
      expect(await plain(carol)).toEqual({ ok: false, answer: expect.stringContaining('AUTHENTICATIONFAILED') });
      expect(await scram(carol)).toMatch(/^a1 NO \[AUTHENTICATIONFAILED\]/);
      await deliver(carol.address);
      await change((file) => file.setEnabled(whom, true));
      expect(await opens(carol)).toBe(true);
    }
  });

  test('a user who has some of the protocols is refused by the others', async () => {
    await change((file) => file.change(carol.address, { protocols: ['imap', 'smtp'] }));
    for (const protocol of PROTOCOLS) {
      expect({ protocol, ok: await opens(carol, { protocol }) }).toEqual({
        protocol,
        ok: ['imap', 'smtp'].includes(protocol),
      });
    }
    // By whichever node, and by SCRAM.
    for (const node of nodes()) expect(await scram(carol, node)).toMatch(/^a1 OK/);
    await change((file) => file.change(carol.address, { protocols: ['pop3'] }));
    for (const node of nodes()) expect(await scram(carol, node)).toMatch(/^a1 NO/);
    await deliver(carol.address);
    await change((file) => file.change(carol.address, { protocols: [] }));
    expect(await opens(carol)).toBe(true);
  });

  test('a second factor is required, and an app password is one, for its protocols', async () => {
    let password = '';
    await change((file) => {
      file.requireSecondFactor(carol.address, true);
      password = file.addAppPassword(carol.address, 'phone', ['imap']);
    });
    expect(await opens(carol)).toBe(false);
    expect(await opens({ ...carol, password })).toBe(true);
    expect(await opens({ ...carol, password }, { protocol: 'pop3' })).toBe(false);
    await change((file) => {
      file.revokeAppPassword(carol.address, 'phone');
      file.requireSecondFactor(carol.address, false);
    });
    expect(await opens({ ...carol, password })).toBe(false);
    expect(await opens(carol)).toBe(true);
  });

  test('the shard that the database has for a user comes to nodes', async () => {
    await change((file) => file.add('frank@example.com', 'franks-own-password', { shard: 2 }));
    for (const shards of await onAll('cat /etc/dovecot/shards')) expect(shards).toBe('frank@example.com:shard-2\n');
    // On a store that all nodes share it says nothing.
    const frank = { address: 'frank@example.com', password: 'franks-own-password' };
    for (const node of nodes()) expect(await opens(frank, { node })).toBe(true);
    await change((file) => file.remove(frank.address));
  });

  test('a removed user is put out', async () => {
    const eve = { address: 'eve@example.com', password: 'eves-own-password' };
    await change((file) => file.add(eve.address, eve.password));
    const { ok, client } = await attempt(nodes()[0], 'imap', 'PLAIN', plainMessage(eve.address, eve.password), {
      tls: system().tls,
      from: from(),
    });
    expect(ok).toBe(true);
    await change((file) => file.remove(eve.address));
    await expect(client.ask('a2 NOOP', /^(\* BYE|a2 )/)).resolves.toMatch(/BYE/);
    expect(await opens(eve)).toBe(false);
    expect((await recipient(eve.address)).answer).toMatch(/^550 /);
  });

  test('nodes ask for users only when there was a change, and hold no connection', async () => {
    const calls = () =>
      database().asOwner(async (client) => {
        await client.query('SELECT pg_stat_force_next_flush()').catch(() => undefined);
        const { rows } = await client.query(
          "SELECT count(*)::int AS open FROM pg_stat_activity WHERE usename = 'mail_node'",
        );
        return rows[0].open as number;
      });
    await synchronise();
    const before = await onAll('stat --format=%Y%i /etc/dovecot/users');
    await synchronise();
    expect(await onAll('stat --format=%Y%i /etc/dovecot/users')).toEqual(before);
    expect(await calls()).toBe(0);
  });

  describe('without the database', () => {
    const issuerKey = makeKey('key-1');
    let issuer: TokenIssuer;
    const token = () => {
      const now = Math.floor(Date.now() / 1000);
      return signToken(
        { iss: issuer.url, aud: 'mail-clients', sub: '1', email: carol.address, iat: now - 5, exp: now + 600 },
        issuerKey,
      );
    };
    const byToken = async (protocol: Protocol) => {
      const message = tokenMessage('OAUTHBEARER', carol.address, token());
      const { ok, answer, challenge, client } = await attempt(nodes()[0], protocol, 'OAUTHBEARER', message, {
        tls: system().tls,
        from: from(),
      });
      client.close();
      return { ok, answer, challenge };
    };

    beforeAll(async () => {
      const { cluster } = system();
      issuer = new TokenIssuer('https://login.example.com', await cluster.authority.issue('login.example.com'));
      issuer.keys = [issuerKey];
      await issuer.start(cluster.plan.gateway);
      for (const node of nodes()) {
        await node.exec(['sh', '-c', 'cat >/usr/local/share/ca-certificates/local.crt && update-ca-certificates'], {
          input: readFileSync(cluster.authority.certificateFile, 'utf8'),
        });
      }
      await onAll('systemctl start mail-token-keys.service');
      await synchronise();
      await onAll('systemctl stop mail-directory-sync.timer');
      await database().kill();
      await synchroniseInVain();
    }, 180_000);

    afterAll(async () => {
      issuer?.stop();
      await onAll('systemctl start mail-directory-sync.timer');
    });

    test('everybody logs in, those too who never did before, and nodes are healthy', async () => {
      await onAll('doveadm auth cache flush');
      for (const node of nodes()) {
        for (const protocol of PROTOCOLS) expect(await plain(carol, { node, protocol })).toMatchObject({ ok: true });
        expect(await scram(carol, node)).toMatch(/^a1 OK/);
      }
      expect(await byToken('imap')).toMatchObject({ ok: true });
      expect(await opens({ ...carol, password: 'wrong-password' })).toBe(false);
      await arrives(carol, await deliver(carol.address));
      expect(await healthy()).toEqual([200, 200]);
    });

    test('after five minutes a recipient whom nobody knows is put off, as there may be one by now', async () => {
      expect((await recipient('newcomer@example.com')).answer).toMatch(/^550 /);
      await onAll('echo $(($(date +%s) - 301)) >/etc/dovecot/directory-seen');
      await synchroniseInVain();
      expect((await recipient('newcomer@example.com')).answer).toMatch(/^450 4\.3\.0/);
      await arrives(carol, await deliver(carol.address));
      expect((await recipient('someone@example.net')).answer).toMatch(/^554 5\.7\.1/);
    });

    test('after a day nobody is told that a password is wrong, but to come again; mail is taken, and nodes are healthy', async () => {
      await onAll('echo $(($(date +%s) - 86400 - 60)) >/etc/dovecot/directory-seen');
      await synchroniseInVain();
      for (const password of [carol.password, 'wrong-password']) {
        expect(await plain({ ...carol, password })).toEqual({
          ok: false,
          answer: expect.stringMatching(/^a1 NO \[UNAVAILABLE\]/),
        });
        expect(await plain({ ...carol, password }, { protocol: 'pop3' })).toEqual({
          ok: false,
          answer: expect.stringMatching(/^-ERR \[SYS\/TEMP\]/),
        });
        expect(await plain({ ...carol, password }, { protocol: 'sieve' })).toEqual({
          ok: false,
          answer: expect.stringMatching(/^NO \(TRYLATER\)/),
        });
      }
      expect(await scram(carol)).toMatch(/^a1 NO \[UNAVAILABLE\]/);
      expect(await byToken('imap')).toEqual({
        ok: false,
        challenge: '',
        answer: expect.stringMatching(/^a1 NO \[UNAVAILABLE\]/),
      });
      const { client } = await attempt(nodes()[0], 'smtp', 'PLAIN', plainMessage(carol.address, carol.password), {
        tls: system().tls,
        from: from(),
      });
      await client.ask(`MAIL FROM:<${carol.address}>`, /^250 /);
      await client.ask('RCPT TO:<someone@example.net>', /^450 4\.3\.0/);
      client.close();
      const subject = await deliver(carol.address);
      expect(await healthy()).toEqual([200, 200]);

      await database().start();
      await synchronise();
      for (const node of nodes()) expect(await opens(carol, { node })).toBe(true);
      await arrives(carol, subject);
      expect((await recipient('newcomer@example.com')).answer).toMatch(/^550 /);
    }, 120_000);
  });

  test('users with a wrong line are refused as a whole, and those of before stay', async () => {
    // As only the owner of the database can: no check of the schema stands in the way.
    await database().asOwner(async (client) => {
      await client.query('ALTER DOMAIN mail.verifier DROP CONSTRAINT verifier_check');
      await client.query("UPDATE mail.users SET verifier = 'clear text' WHERE address = $1", [carol.address]);
    });
    try {
      await synchroniseInVain();
      expect(await opens(carol)).toBe(true);
    } finally {
      await database().asOwner((client) => client.query('DELETE FROM mail.users WHERE address = $1', [carol.address]));
    }
    await synchronise();
    expect(await opens(carol)).toBe(false);
  });
}
