import { sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { UserFile } from '../../bin/users/user-file';
import type { LocalNode } from '../../local/node';
import { run, waitFor } from '../../local/run';
import { base64, fromBase64, LineClient, ScramClient } from './line-client';
import { addressesHomedOn, homeAmong, putRing, restAgents, wakeAgents } from './ring';
import { attempt, plainMessage, PROTOCOLS, tokenMessage, type Protocol } from './sign-in-client';
import type { System } from './system';
import { confusedToken, makeKey, signToken, TokenIssuer, unsignedToken } from './token-issuer';

const AUDIENCE = 'mail-clients';
const NETWORK = '203.0.113';

/** Tokens of an identity provider, and app passwords (C1, C3, C5). */
export function signInSuite(system: () => System): void {
  const nodes = () => system().cluster.nodes;
  const onAll = (script: string) => Promise.all(nodes().map((node) => node.shell(script, { timeout: 60_000 })));
  const synchronise = () => onAll('systemctl start mail-directory-sync.service');
  const fetchKeys = () => onAll('systemctl start mail-token-keys.service');

  const key = makeKey('key/1');
  const elliptic = makeKey('key-2', 'ES256');
  const stranger = makeKey('key/1');
  let issuer: TokenIssuer;
  /** A user for each node, whose home it is. */
  let users: Map<LocalNode, string>;
  let user: string;
  let home: LocalNode;
  let other: LocalNode;

  /** Each attempt has an address of its own: failures make the next answer to an address late. */
  let attempts = 0;
  const from = () => `${NETWORK}.${(attempts++ % 250) + 1}`;

  const claims = (changed: object = {}): { [name: string]: unknown } => {
    const now = Math.floor(Date.now() / 1000);
    const good = { iss: issuer.url, aud: AUDIENCE, sub: '1234', email: user, iat: now - 5, exp: now + 600 };
    return { ...good, ...changed };
  };
  const login = (
    token: string,
    how: { node?: LocalNode; protocol?: Protocol; mechanism?: string; as?: string } = {},
  ) => {
    const { node = other, protocol = 'imap', mechanism = 'OAUTHBEARER', as = user } = how;
    return attempt(node, protocol, mechanism, tokenMessage(mechanism, as, token), { tls: system().tls, from: from() });
  };
  /** Whether the token opens the mailbox. */
  const opens = async (token: string, how: Parameters<typeof login>[1] = {}) => {
    const { ok, client } = await login(token, how);
    client.close();
    return ok;
  };
  const now = () => Math.floor(Date.now() / 1000);
  const journal = (node: LocalNode, since: number, unit: string) =>
    node.shell(`journalctl --unit ${unit} --since @${since} --no-pager --output=cat`);

  beforeAll(async () => {
    const { cluster } = system();
    await run('ip', ['address', 'replace', `${NETWORK}.0/24`, 'dev', 'lo']);
    await run('ip', ['route', 'replace', 'local', `${NETWORK}.0/24`, 'dev', 'lo']);
    issuer = new TokenIssuer('https://login.example.com', await cluster.authority.issue('login.example.com'));
    issuer.keys = [key, elliptic];
    await issuer.start(cluster.plan.gateway);
    // Nodes trust whom Debian trusts.
    const authority = readFileSync(cluster.authority.certificateFile, 'utf8');
    for (const node of nodes()) {
      await node.exec(['sh', '-c', 'cat >/usr/local/share/ca-certificates/local.crt && update-ca-certificates'], {
        input: authority,
      });
    }
    users = addressesHomedOn(cluster, 'signer');
    await cluster.userDirectory().update((file) => {
      for (const address of users.values()) file.add(address, 'a-password-nobody-types');
    });
    await Promise.all([synchronise(), fetchKeys()]);
    [home, other] = nodes();
    user = users.get(home)!;
    expect(homeAmong(nodes(), user)).toBe(home);
  }, 90_000);

  afterAll(() => issuer?.stop());

  describe('a token', () => {
    const mechanisms = ['OAUTHBEARER', 'XOAUTH2'];
    const ways = PROTOCOLS.flatMap((protocol) =>
      mechanisms.flatMap((mechanism) => [true, false].map((initial) => ({ protocol, mechanism, initial }))),
    );

    /** Sessions of the user that the home has had. */
    const sessions = async () => (await journal(home, 0, 'dovecot')).split(`Logged in: user=<${user}>`).length - 1;

    test.each(ways)(
      'opens the mailbox by $protocol, $mechanism, first message with the command: $initial',
      async ({ protocol, mechanism, initial }) => {
        for (const node of nodes()) {
          const before = await sessions();
          const message = tokenMessage(mechanism, user, signToken(claims(), key));
          const { ok, answer, client } = await attempt(node, protocol, mechanism, message, {
            tls: system().tls,
            from: from(),
            initial,
          });
          expect({ node: node.name, ok, answer }).toEqual({ node: node.name, ok: true, answer });
          if (protocol === 'smtp') {
            await client.ask(`MAIL FROM:<${user}>`, /^250 /);
            await client.ask(`RCPT TO:<${user}>`, /^250 /);
          } else {
            await waitFor('the session at the home', 5000, async () =>
              (await sessions()) > before ? true : undefined,
            );
          }
          client.close();
        }
      },
    );

    test.each(PROTOCOLS)('may be 3 kB long, by %s', async (protocol) => {
      const token = signToken(claims({ groups: 'x'.repeat(2000) }), key);
      expect(token.length).toBeGreaterThan(3000);
      expect(await opens(token, { protocol })).toBe(true);
    });

    test('may be signed with ES256, and name the user in capitals', async () => {
      expect(await opens(signToken(claims({ email: user.toUpperCase() }), elliptic))).toBe(true);
    });

    test('may name several audiences, or the client alone', async () => {
      expect(await opens(signToken(claims({ aud: ['other', AUDIENCE] }), key))).toBe(true);
      expect(await opens(signToken(claims({ aud: undefined, client_id: AUDIENCE, token_use: 'access' }), key))).toBe(
        true,
      );
    });

    test('may name the client it was issued to', async () => {
      expect(await opens(signToken(claims({ azp: AUDIENCE }), key))).toBe(true);
    });
  });

  test('neither a token that was taken nor one that was refused is in a log', async () => {
    const tokens = [signToken(claims(), key), signToken(claims({ aud: 'somebody-else' }), key)];
    for (const protocol of PROTOCOLS) {
      expect(await Promise.all(tokens.map((token) => opens(token, { protocol })))).toEqual([true, false]);
    }
    const logs = (await onAll('journalctl --no-pager --output=cat')).join();
    expect(logs).toContain('token refused: it is for somebody else');
    // Claims and signature; headers are all the same.
    for (const token of tokens) for (const secret of token.split('.').slice(1)) expect(logs).not.toContain(secret);
  }, 60_000);

  describe('a token is refused', () => {
    const pem = () => key.publicKey.export({ format: 'pem', type: 'spki' }).toString();
    const nobody = 'nobody@example.com';
    /** What is wrong, the token, and whom the client names if not the user. */
    const refused: [string, () => string, string?][] = [
      ['with a bad signature', () => signToken(claims(), stranger)],
      ['of another issuer', () => signToken(claims({ iss: 'https://login.example.net' }), key)],
      ['of an issuer that only begins like ours', () => signToken(claims({ iss: `${issuer.url}/` }), key)],
      ['without an issuer', () => signToken(claims({ iss: undefined }), key)],
      ['for another audience', () => signToken(claims({ aud: 'somebody-else' }), key)],
      ['for another audience, issued to our client', () => signToken(claims({ aud: 'x', client_id: AUDIENCE }), key)],
      ['for nobody', () => signToken(claims({ aud: undefined }), key)],
      ['issued to another client', () => signToken(claims({ azp: 'another' }), key)],
      ['that has expired', () => signToken(claims({ iat: now() - 700, exp: now() - 100 }), key)],
      ['that never expires', () => signToken(claims({ exp: undefined }), key)],
      ['that is good for longer than 15 minutes', () => signToken(claims({ exp: now() + 900 }), key)],
      ['that does not say since when', () => signToken(claims({ iat: undefined }), key)],
      ['from the future', () => signToken(claims({ iat: now() + 60 }), key)],
      ['that says it is no access token', () => signToken(claims({ token_use: 'id' }), key)],
      ['whose address was not verified', () => signToken(claims({ email_verified: false }), key)],
      ['without an address', () => signToken(claims({ email: undefined }), key)],
      ['of a user who does not exist', () => signToken(claims({ email: nobody }), key), nobody],
      ['without a signature', () => unsignedToken(claims(), key)],
      ['signed with the public key as secret', () => confusedToken(claims(), key, pem())],
      [
        'signed with the public key as Dovecot stores it',
        () =>
          confusedToken(claims(), key, Buffer.from(pem().replace(/-----.*-----|\n/g, ''), 'base64').toString('latin1')),
      ],
      ['whose key id leads elsewhere', () => signToken(claims(), { ...key, id: '../../default/RS256/key%2f1' })],
      ['whose algorithm is not the one of its key', () => signToken(claims(), key, { alg: 'PS256' })],
      ['that names its key twice', () => twice(signToken(claims(), key))],
    ];
    /** The token with a header that names two keys; the signature no longer fits either. */
    const twice = (token: string) => {
      const [header, ...rest] = token.split('.');
      const text = Buffer.from(header, 'base64url').toString().replace('{', '{"kid":"x",');
      return [Buffer.from(text).toString('base64url'), ...rest].join('.');
    };

    test.each(refused)('%s', async (_what, make, as = user) => {
      const [imap, smtp] = await Promise.all([
        login(make(), { as }),
        login(make(), { as, protocol: 'smtp', mechanism: 'XOAUTH2' }),
      ]);
      expect(imap.answer).toMatch(/^a1 NO/);
      expect(smtp.answer).toMatch(/^535 /);
    });

    test('with the reason and the issuer that the client needs', async () => {
      const { challenge } = await login(signToken(claims({ exp: now() - 1, iat: now() - 60 }), key));
      expect(JSON.parse(challenge)).toMatchObject({
        status: 'invalid_token',
        'openid-configuration': 'https://login.example.com/.well-known/openid-configuration',
      });
    });

    test.each(['OAUTHBEARER', 'XOAUTH2'])(
      'when it is for another user than the client names (%s)',
      async (mechanism) => {
        const { alice } = system();
        const token = signToken(claims(), key);
        expect(await opens(token, { as: alice.address, mechanism })).toBe(false);
        expect(await opens(token, { as: alice.address, mechanism, node: home })).toBe(false);
      },
    );

    test('on the hop, which takes passwords of nodes only', async () => {
      const message = base64(tokenMessage('OAUTHBEARER', user, signToken(claims(), key)));
      const answer = await other.shell(
        `printf 'a1 AUTHENTICATE OAUTHBEARER ${message}\\r\\n\\r\\na2 LOGOUT\\r\\n' |
          timeout 15 openssl s_client -quiet -ign_eof -connect ${home.address}:10993 2>/dev/null | grep -m 1 '^a1'`,
      );
      expect(answer).toMatch(/^a1 NO/);
    });
  });

  describe('keys', () => {
    afterEach(async () => {
      issuer.keys = [key, elliptic];
      issuer.instead = undefined;
      await fetchKeys();
    });

    test('follow the issuer, the next one beside the one in use, without a restart', async () => {
      const since = await onAll('systemctl show --property=ActiveEnterTimestampMonotonic dovecot');
      const next = makeKey('key-3');
      const before = signToken(claims(), key);
      const after = signToken(claims(), next);
      expect([await opens(before), await opens(after)]).toEqual([true, false]);
      issuer.keys = [key, next];
      await fetchKeys();
      expect([await opens(before), await opens(after)]).toEqual([true, true]);
      // Dovecot has read both, and would go on with the first.
      issuer.keys = [next];
      await fetchKeys();
      expect([await opens(before), await opens(after)]).toEqual([false, true]);
      expect(await opens(before, { protocol: 'smtp', node: home })).toBe(false);
      expect(await onAll('systemctl show --property=ActiveEnterTimestampMonotonic dovecot')).toEqual(since);
    }, 90_000);

    test('that were withdrawn open nothing, whatever their holder writes into the header', async () => {
      const stolen = makeKey('stolen');
      issuer.keys = [key, stolen];
      await fetchKeys();
      expect(await opens(signToken(claims(), stolen))).toBe(true);
      issuer.keys = [key];
      await fetchKeys();
      const text = (header: string) => {
        const token = signToken(claims(), stolen);
        const signed = `${Buffer.from(header).toString('base64url')}.${token.split('.')[1]}`;
        return `${signed}.${sign('sha256', Buffer.from(signed), stolen.privateKey).toString('base64url')}`;
      };
      const headers = [
        '{"alg":"RS256","kid":"stolen"}',
        '{"alg":"RS256","kid":"stolen","kid":"key/1"}',
        '{"alg":"RS256","kid":"key/1","kid":"stolen"}',
        '{"alg":"RS256","kid":"stolen","x":{"kid":"key/1"}}',
        '{"alg":"RS256","kid":"stolen","\\u006bid":"key/1"}',
        '{"alg":"RS256","\\u006bid":"stolen","kid":"key/1"}',
      ];
      const opened = await Promise.all(headers.map(async (header) => ({ header, opens: await opens(text(header)) })));
      expect(opened).toEqual(headers.map((header) => ({ header, opens: false })));
    }, 90_000);

    test.each<[string, () => Promise<void> | void, RegExp]>([
      ['the issuer is away', () => issuer.stop(), /keeping those of before: .*(refused|timed out)/],
      ['it has no keys', () => void (issuer.keys = []), /there is no key that signs tokens/],
      ['its keys are no JSON', () => void (issuer.instead = '<html>'), /keeping those of before/],
      [
        'its keys can not be read',
        () => void (issuer.instead = '{"keys":[{"kty":"RSA"},3,{"kty":"oct","k":"x"}]}'),
        /is left out/,
      ],
    ])('stay when %s', async (_what, change, log) => {
      const [node] = nodes();
      const since = now();
      // What the agent publishes the age of.
      const fetched = () => node.shell('stat -c %Y%Z /var/lib/mail-token-keys/.fetched');
      const before = await fetched();
      await change();
      await expect(node.shell('systemctl start mail-token-keys.service')).rejects.toThrow();
      expect(await fetched()).toBe(before);
      await issuer.stop();
      await issuer.start(system().cluster.plan.gateway);
      expect(await journal(node, since, 'mail-token-keys')).toMatch(log);
      expect(await opens(signToken(claims(), key))).toBe(true);
    });

    test('are fetched by a user who may write nothing else', async () => {
      const [node] = nodes();
      expect(
        (await node.shell('stat -c %U:%a /var/lib/mail-token-keys /var/lib/mail-token-keys/default/RS256/*')).trim(),
      ).toBe('mail-token-keys:755\nmail-token-keys:644');
      expect(await node.shell('systemctl show --property=User --value mail-token-keys.service')).toBe(
        'mail-token-keys\n',
      );
    });
  });

  describe('a user', () => {
    const change = async (edit: (file: UserFile) => void) => {
      await system().cluster.userDirectory().update(edit);
      await synchronise();
    };
    const password = 'quite-a-long-password';
    const withPassword = (secret: string, protocol: Protocol = 'imap', node = other) =>
      attempt(node, protocol, 'PLAIN', plainMessage(user, secret), { tls: system().tls, from: from() });
    const passes = async (...how: Parameters<typeof withPassword>) => {
      const { ok, client } = await withPassword(...how);
      client.close();
      return ok;
    };

    const passesByScram = async () => {
      const scram = new ScramClient(user, password);
      const client = await LineClient.tls(other.address, 993, { ...system().tls, localAddress: from() } as object);
      await client.expect(/^\* OK/);
      const challenge = await client.ask(`a1 AUTHENTICATE SCRAM-SHA-256 ${base64(scram.first())}`, /^\+ /);
      const last = await client.ask(base64(scram.final(fromBase64(challenge.trim().slice(2)))), /^(\+|a1) /);
      const ok = last.startsWith('+ ') && scram.verifies(fromBase64(last.trim().slice(2)));
      if (ok) await client.ask('', /^a1 OK/);
      client.close();
      return ok;
    };

    beforeAll(() => change((file) => file.setPassword(user, password)));

    test('who is disabled comes in with nothing, is put out, and still gets mail', async () => {
      const { client } = await login(signToken(claims(), key));
      await change((file) => file.setEnabled(user, false));
      try {
        expect([await opens(signToken(claims(), key)), await passes(password)]).toEqual([false, false]);
        await expect(client.imap('NOOP')).rejects.toThrow();
        const { alice } = system();
        const smtp = await attempt(home, 'smtp', 'PLAIN', plainMessage(alice.address, alice.password), {
          tls: system().tls,
        });
        await smtp.client.ask(`MAIL FROM:<${alice.address}>`, /^250 /);
        await smtp.client.ask(`RCPT TO:<${user}>`, /^250 /);
        smtp.client.close();
      } finally {
        await change((file) => file.setEnabled(user, true));
      }
      expect([await opens(signToken(claims(), key)), await passes(password)]).toEqual([true, true]);
    }, 90_000);

    test('who is removed comes in with nothing', async () => {
      const gone = `gone@${system().cluster.domains[0]}`;
      await change((file) => file.add(gone, password));
      const token = signToken(claims({ email: gone }), key);
      expect(await opens(token, { as: gone })).toBe(true);
      await change((file) => file.remove(gone));
      for (const node of nodes()) expect(await opens(token, { as: gone, node })).toBe(false);
    }, 60_000);

    test('is put off, not refused, while the mailbox moves', async () => {
      await restAgents(nodes());
      try {
        await putRing(other, { serving: false, nodes: nodes() });
        const token = signToken(claims(), key);
        expect((await login(token)).answer).toMatch(/^a1 NO \[UNAVAILABLE\]/);
        expect((await login(token, { protocol: 'pop3' })).answer).toMatch(/^-ERR \[SYS\/TEMP\]/);
        expect((await login(token, { protocol: 'sieve', mechanism: 'XOAUTH2' })).answer).toMatch(/^NO \(TRYLATER\)/);
      } finally {
        await wakeAgents(system().cluster);
      }
    }, 120_000);

    test('has app passwords, each for its protocols', async () => {
      let phone = '';
      let scanner = '';
      await change((file) => {
        phone = file.addAppPassword(user, 'phone', ['imap', 'sieve']);
        scanner = file.addAppPassword(user, 'scanner', ['smtp']);
      });
      const results = async (secret: string) => {
        const found: Protocol[] = [];
        for (const protocol of PROTOCOLS) if (await passes(secret, protocol)) found.push(protocol);
        return found;
      };
      expect(await results(phone)).toEqual(['imap', 'sieve']);
      // Once more: what was right for one protocol is remembered, and still is for that one only.
      expect(await results(phone)).toEqual(['imap', 'sieve']);
      expect(await results(scanner)).toEqual(['smtp']);
      expect(await results(password)).toEqual([...PROTOCOLS]);
      expect(await passes(`${phone}x`)).toBe(false);
      const stored = (await onAll('cat /etc/dovecot/app-passwords /etc/dovecot/users')).join();
      expect(stored).not.toContain(phone.slice(5));
    }, 120_000);

    test('has app passwords no more when they are revoked, and is put out', async () => {
      let laptop = '';
      await change((file) => (laptop = file.addAppPassword(user, 'laptop', ['imap'])));
      for (const node of nodes()) expect(await passes(laptop, 'imap', node)).toBe(true);
      const { client } = await withPassword(laptop);
      // As an operator has it: nothing but the timer tells the nodes.
      const revoked = Date.now();
      await system()
        .cluster.userDirectory()
        .update((file) => file.revokeAppPassword(user, 'laptop'));
      await waitFor('all nodes to refuse it', 100_000, async () => {
        for (const node of nodes()) if (await passes(laptop, 'imap', node)) return undefined;
        return true;
      });
      expect(Date.now() - revoked).toBeLessThan(100_000);
      await expect(client.imap('NOOP')).rejects.toThrow();
    }, 150_000);

    test.each([
      ['the user', () => user],
      ['the domain', () => system().cluster.domains[0]],
    ])(
      'whose second factor is required (%s) comes in with a token or an app password only',
      async (_whose, whom) => {
        let phone = '';
        await change((file) => (phone = file.addAppPassword(user, 'second', ['imap', 'smtp'])));
        await change((file) => file.requireSecondFactor(whom(), true));
        try {
          for (const protocol of PROTOCOLS)
            expect([protocol, await passes(password, protocol)]).toEqual([protocol, false]);
          expect(await passesByScram()).toBe(false);
          expect(await passes(phone)).toBe(true);
          expect(await opens(signToken(claims(), key))).toBe(true);
        } finally {
          await change((file) => {
            file.requireSecondFactor(whom(), false);
            file.revokeAppPassword(user, 'second');
          });
        }
        expect([await passes(password), await passesByScram()]).toEqual([true, true]);
      },
      120_000,
    );
  });
}
