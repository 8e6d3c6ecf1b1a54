import { randomUUID, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, type ConnectionOptions } from 'node:tls';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { createTransport } from 'nodemailer';
import { type LocalUser } from '../../local/mail-clients';
import { run, sleep, waitFor } from '../../local/run';
import { Authority, type Identity } from '../support/authority';
import { base64, fromBase64, LineClient, ScramClient } from './line-client';
import { attempt, PROTOCOLS, tokenMessage } from './sign-in-client';
import type { System } from './system';
import { makeKey, signToken, TokenIssuer } from './token-issuer';

/** Documentation addresses (RFC 5737): one for each login, so that none is put off for a refusal before. */
const SOURCES = Array.from({ length: 200 }, (_, index) => `198.51.100.${index + 1}`);
const REFUSED = /NO \[AUTHENTICATIONFAILED\]|^-ERR \[AUTH\]|^NO "Authentication failed/;
const POLICY = 'mail-client-certificates.socket mail-client-certificates.service';

/** Mail clients need a certificate of the company's authority besides the password (C7). */
export function clientCertificatesSuite(system: () => System, authority: Authority): void {
  const other = new Authority('Somebody else');
  /** Lists from before the tests: one that lived for a second, and one that is good for days. */
  const [ended, older] = [authority.revocationList([], 1), authority.revocationList([])];
  const opened: LineClient[] = [];
  let unused: string[];
  let good: { [user: string]: Identity };
  let bad: { [name: string]: Identity | undefined };

  beforeAll(async () => {
    for (const address of SOURCES) await run('ip', ['address', 'add', `${address}/32`, 'dev', 'lo']);
    unused = [...SOURCES];
    const { alice, bob } = system();
    const issue = ({ address }: LocalUser) => authority.issue({ subject: `/O=Company/CN=${address}` });
    good = { [alice.address]: issue(alice), [bob.address]: issue(bob) };
    const subject = `/CN=${alice.address}`;
    bad = {
      none: undefined,
      'one of another authority': other.issue({ subject }),
      'one of an authority that calls itself the same': new Authority('Company mail clients').issue({ subject }),
      'one that has expired': authority.issue({ subject, days: 0 }),
      'one for servers': authority.issue({ subject, usage: 'serverAuth' }),
      "another user's": good[bob.address],
    };
  });
  afterEach(() => opened.splice(0).forEach((client) => client.close()));
  afterAll(async () => {
    for (const address of SOURCES) await run('ip', ['address', 'del', `${address}/32`, 'dev', 'lo']);
  });

  const source = (): string => {
    const address = unused.pop();
    if (!address) throw new Error('more connections than SOURCES');
    return address;
  };
  const tls = (identity?: Identity): ConnectionOptions & { localAddress: string } => ({
    ...system().tls,
    ...identity,
    localAddress: source(),
  });
  /** A client with TLS from the first byte, which is closed after the test. */
  const connected = async (identity: Identity | undefined, port: number, node = system().cluster.nodes[0]) => {
    const client = await LineClient.tls(node.address, port, tls(identity));
    opened.push(client);
    await client.expect(/^(\* OK|\+OK)/);
    return client;
  };
  const plain = ({ address, password }: LocalUser) => base64(`\0${address}\0${password}`);
  const last = (answer: string) => answer.trim().split('\n').at(-1)!;

  /** The last lines that a node answers to a login by IMAP, POP3 and ManageSieve. */
  const logins = async (user: LocalUser, identity: Identity | undefined, node = system().cluster.nodes[0]) => {
    const imap = await connected(identity, 993, node);
    const answers = [last(await imap.ask(`a1 AUTHENTICATE PLAIN ${plain(user)}`, /^a1 /))];
    const pop3 = await connected(identity, 995, node);
    answers.push(last(await pop3.ask(`AUTH PLAIN ${plain(user)}`, /^(\+OK|-ERR)/)));
    const sieve = await LineClient.tcp(node.address, 4190, source());
    opened.push(sieve);
    await sieve.expect(/^OK/);
    await sieve.ask('STARTTLS', /^OK/);
    await sieve.startTls({ ...system().tls, ...identity });
    await sieve.expect(/^OK/);
    answers.push(last(await sieve.ask(`AUTHENTICATE "PLAIN" "${plain(user)}"`, /^(OK|NO)/)));
    return answers;
  };

  /** Sends a message to Bob. @throws with what Postfix answered when it did not take it */
  const send = async (
    user: LocalUser,
    identity: Identity | undefined,
    port: number,
    subject: string = randomUUID(),
  ) => {
    const client = createTransport({
      ...{ host: system().cluster.nodes[0].address, port, secure: port === 465, requireTLS: port === 587 },
      localAddress: source(),
      tls: { ...system().tls, ...identity },
      auth: { user: user.address, pass: user.password },
    });
    await client.sendMail({ from: user.address, to: system().bob.address, subject, text: 'Hello' });
  };

  test('the right one opens the mailbox at every node, the home of the user or not', async () => {
    const { alice, bob, cluster } = system();
    for (const user of [alice, bob]) {
      for (const node of cluster.nodes) {
        const answers = await logins(user, good[user.address], node);
        expect(answers).toEqual([
          expect.stringMatching(/^a1 OK/),
          expect.stringMatching(/^\+OK/),
          expect.stringMatching(/^OK/),
        ]);
      }
    }
  }, 60_000);

  test('the right one does not replace the password', async () => {
    const { alice } = system();
    const answers = await logins({ ...alice, password: 'wrong-password' }, good[alice.address]);
    expect(answers).toEqual(answers.map(() => expect.stringMatching(REFUSED)));
    await expect(send({ ...alice, password: 'wrong-password' }, good[alice.address], 587)).rejects.toThrow('535 5.7.8');
  }, 60_000);

  test('clients that resume TLS sessions are let in, whichever process they come to', async () => {
    const { alice, cluster } = system();
    const options = { ...tls(good[alice.address]), host: cluster.nodes[0].address, port: 993 };
    const greeting = (session?: Buffer) =>
      new Promise<Buffer | undefined>((resolve, reject) => {
        const socket = connect({ ...options, session });
        let ticket = session;
        socket.on('session', (given) => (ticket = given)).on('error', reject);
        socket.once('data', () => resolve(ticket)).on('close', () => reject(new Error('closed without a greeting')));
        socket.once('data', () => socket.end());
      });
    let session: Buffer | undefined;
    for (let connection = 0; connection < 10; connection++) session = await greeting(session);
  }, 60_000);

  test('it goes with SCRAM, too', async () => {
    const { alice, bob } = system();
    const login = async (user: LocalUser, identity?: Identity) => {
      const client = await connected(identity, 993);
      const scram = new ScramClient(user.address, user.password);
      const challenge = await client.ask(`a1 AUTHENTICATE SCRAM-SHA-256 ${base64(scram.first())}`, /^(\+|a1) /);
      if (!challenge.startsWith('+')) return last(challenge);
      const answer = await client.ask(base64(scram.final(fromBase64(challenge.trim().slice(2)))), /^(\+|a1) /);
      return last(answer.startsWith('+') ? await client.ask('', /^a1 /) : answer);
    };
    expect(await login(alice, good[alice.address])).toMatch(/^a1 OK/);
    expect(await login(alice)).toMatch(REFUSED);
    expect(await login(alice, good[bob.address])).toMatch(REFUSED);
  }, 60_000);

  test.each([
    'none',
    'one of another authority',
    'one of an authority that calls itself the same',
    'one that has expired',
    'one for servers',
    "another user's",
  ])(
    '%s opens nothing with the right password',
    async (name) => {
      const { alice } = system();
      const answers = await logins(alice, bad[name]);
      expect(answers).toEqual(answers.map(() => expect.stringMatching(REFUSED)));
      for (const port of [465, 587]) await expect(send(alice, bad[name], port)).rejects.toThrow();
    },
    60_000,
  );

  test('says what is wrong when a user sends with the certificate of another one, or of nobody', async () => {
    const { alice, bob } = system();
    const answer = '550 5.7.1 <alice@example.com>: Sender address rejected: The client certificate is of somebody else';
    await expect(send(alice, good[bob.address], 465)).rejects.toThrow(answer);
    await expect(send(alice, good[bob.address], 587)).rejects.toThrow(answer);
    await expect(send(alice, authority.issue({ subject: '/O=Company' }), 465)).rejects.toThrow(answer);
  });

  test("another user's name does not go with one's own certificate and password", async () => {
    const { alice, bob } = system();
    const mixed = { address: alice.address, password: bob.password };
    const answers = await logins(mixed, good[bob.address]);
    expect(answers).toEqual(answers.map(() => expect.stringMatching(REFUSED)));
  }, 60_000);

  test('mail goes out with the right one, and other mail servers need none', async () => {
    const { alice, bob, cluster } = system();
    const subjects = [randomUUID(), randomUUID(), randomUUID()];
    await send(alice, good[alice.address], 465, subjects[0]);
    await send(alice, good[alice.address], 587, subjects[1]);
    const server = createTransport({ host: cluster.nodes[1].address, port: 25, requireTLS: true, tls: system().tls });
    await server.sendMail({ from: 'friend@example.net', to: bob.address, subject: subjects[2], text: 'Hello' });

    const imap = await connected(good[bob.address], 993);
    await imap.ask(`a1 AUTHENTICATE PLAIN ${plain(bob)}`, /^a1 OK/);
    await imap.ask('a2 SELECT INBOX', /^a2 OK/);
    for (const subject of subjects) {
      const end = Date.now() + 20_000;
      let found = '';
      while (!/^\* SEARCH \d/m.test(found)) {
        if (Date.now() > end) throw new Error(`${subject} did not arrive`);
        await new Promise((resolve) => setTimeout(resolve, 200));
        found = await imap.ask(`a3 UID SEARCH SUBJECT ${subject}`, /^a3 OK/);
      }
    }
  }, 90_000);

  describe('with a token', () => {
    const key = makeKey('key-1');
    let issuer: TokenIssuer;
    const tokenOf = ({ address }: LocalUser) => {
      const now = Math.floor(Date.now() / 1000);
      const claims = { iss: issuer.url, aud: 'mail-clients', sub: '1', email: address, iat: now - 5, exp: now + 600 };
      return signToken(claims, key);
    };
    /** Whether the token opens what it is for, by each protocol. */
    const opened = async (user: LocalUser, identity: Identity | undefined, token = tokenOf(user)) => {
      const found: { [protocol: string]: boolean } = {};
      for (const protocol of PROTOCOLS) {
        const { localAddress: from, ...secure } = tls(identity);
        const attempted = attempt(
          system().cluster.nodes[0],
          protocol,
          'OAUTHBEARER',
          tokenMessage('OAUTHBEARER', user.address, token),
          { tls: { ...secure, localAddress: from } as ConnectionOptions, from },
        );
        found[protocol] = await attempted.then(
          async ({ ok, client }) => {
            // Postfix lets in, and looks whose certificate it is at the first recipient.
            const sent =
              ok && protocol === 'smtp'
                ? await client
                    .ask(`MAIL FROM:<${user.address}>`, /^250 /)
                    .then(() => client.ask(`RCPT TO:<${user.address}>`, /^\d{3} /))
                : '250 ';
            client.close();
            return ok && sent.startsWith('250 ');
          },
          () => false,
        );
      }
      return found;
    };
    const all = (value: boolean) => Object.fromEntries(PROTOCOLS.map((protocol) => [protocol, value]));

    beforeAll(async () => {
      const { cluster } = system();
      issuer = new TokenIssuer('https://login.example.com', await cluster.authority.issue('login.example.com'));
      issuer.keys = [key];
      await issuer.start(cluster.plan.gateway);
      for (const node of cluster.nodes) {
        await node.exec(['sh', '-c', 'cat >/usr/local/share/ca-certificates/local.crt && update-ca-certificates'], {
          input: readFileSync(cluster.authority.certificateFile, 'utf8'),
        });
        await node.shell('systemctl start mail-token-keys.service');
      }
    }, 90_000);
    afterAll(() => issuer?.stop());

    test('the right one is let in by each protocol', async () => {
      const { alice } = system();
      expect(await opened(alice, good[alice.address])).toEqual(all(true));
    }, 60_000);

    test('none, one of another authority, or of another user is refused', async () => {
      const { alice, bob } = system();
      for (const name of ['none', 'one of another authority', "another user's"]) {
        expect({ name, ...(await opened(alice, bad[name])) }).toEqual({ name, ...all(false) });
      }
      // Nor does a certificate make good a token of somebody else.
      expect(await opened(alice, good[alice.address], tokenOf(bob))).toEqual(all(false));
    }, 120_000);
  });

  describe('revocation', () => {
    const nodes = () => system().cluster.nodes;
    const location = () => system().cluster.plan.environment.MAIL_CLIENT_REVOCATIONS_OBJECT;
    let lost: Identity;
    let next: Identity;

    /** Puts it into the object, and has nodes fetch it. Returns what a node says. */
    const publish = async (text: string): Promise<string> => {
      const [, Bucket, Key] = /^s3:\/\/([^/]+)\/(.*)$/.exec(location())!;
      const s3 = new S3Client(system().cluster.aws.client);
      await s3.send(new PutObjectCommand({ Bucket, Key, Body: text })).finally(() => s3.destroy());
      const since = Math.floor(Date.now() / 1000);
      const start = 'systemctl start mail-client-revocations.service || true';
      await Promise.all(nodes().map((node) => node.shell(start)));
      return nodes()[0].shell(`journalctl -u mail-client-revocations --since=@${since} --output=cat --no-pager`);
    };
    /** Until Dovecot's login processes have the new list. */
    const until = (what: string, user: LocalUser, identity: Identity, answer: RegExp) =>
      waitFor(what, 15_000, async () => {
        const imap = await connected(identity, 993);
        return answer.test(last(await imap.ask(`a1 AUTHENTICATE PLAIN ${plain(user)}`, /^a1 /))) ? true : undefined;
      });
    const REVOKED = '550 5.7.1 <alice@example.com>: Sender address rejected: The client certificate was revoked';

    beforeAll(() => {
      const subject = `/O=Company/CN=${system().alice.address}`;
      [lost, next] = [authority.issue({ subject }), authority.issue({ subject })];
    });

    test('without a list nobody is revoked, and the metric says that there is none', async () => {
      const { alice } = system();
      expect(await nodes()[0].shell('cat /var/lib/mail-client-revocations/ends')).toBe('none\n');
      const answers = await logins(alice, lost);
      expect(answers.map((answer) => REFUSED.test(answer))).toEqual([false, false, false]);
      await send(alice, lost, 465);
    }, 60_000);

    test('a certificate on the list is good nowhere, and who is in with it is put out; others of the user stay good', async () => {
      const { alice, bob } = system();
      const session = await connected(lost, 993);
      await session.ask(`a1 AUTHENTICATE PLAIN ${plain(alice)}`, /^a1 OK/);
      expect(await publish(authority.revocationList([lost]) + lost.cert)).toContain(
        '1 lists in use, 1 certificates are revoked',
      );
      await session.ends(); // with a word only from its home
      await until('it to be refused', alice, lost, REFUSED);
      for (const node of nodes()) {
        const answers = await logins(alice, lost, node);
        expect(answers).toEqual(answers.map(() => expect.stringMatching(REFUSED)));
      }
      for (const port of [465, 587]) await expect(send(alice, lost, port)).rejects.toThrow(REVOKED);
      for (const [user, identity] of [
        [alice, next],
        [bob, good[bob.address]],
      ] as [LocalUser, Identity][]) {
        const answers = await logins(user, identity);
        expect(answers.map((answer) => REFUSED.test(answer))).toEqual([false, false, false]);
        await send(user, identity, 587);
      }
    }, 120_000);

    test.each<[string, () => string, string]>([
      [
        'is of another authority',
        () => other.revocationList([]),
        'the list of CN=Somebody else is signed by none of the',
      ],
      [
        'is of an authority that calls itself the same',
        () => new Authority('Company mail clients').revocationList([]),
        'is signed by none of the authorities',
      ],
      ['has ended', () => ended, 'the list of CN=Company mail clients ended 20'],
      ['is older than the one in use', () => older, 'is older than the one in use'],
      ['is none', () => lost.cert, 'it has no list (PEM, X509 CRL)'],
      [
        'comes with a private key',
        () => authority.revocationList([]) + lost.key,
        'it has a PRIVATE KEY, expected lists',
      ],
    ])('a list that %s is refused with a line, and the one in use stays', async (_what, text, message) => {
      expect(await publish(text())).toContain(message);
      expect(await nodes()[0].shell('systemctl is-failed mail-client-revocations.service')).toBe('failed\n');
      await expect(send(system().alice, lost, 465)).rejects.toThrow(REVOKED);
    });

    test('lists are refused that no program would take, or that leave out one of an authority', async () => {
      const [node] = nodes();
      const { aws, plan } = system().cluster;
      /** What the program says on a node with these authorities. */
      const fetch = async (authorities: Authority[], text: string) => {
        const [, Bucket] = /^s3:\/\/([^/]+)\//.exec(location())!;
        const s3 = new S3Client(aws.client);
        await s3.send(new PutObjectCommand({ Bucket, Key: 'elsewhere', Body: text })).finally(() => s3.destroy());
        const trusted = authorities.map(({ pem }) => pem.replace(/-----[A-Z ]+-----|\s/g, '')).join(' ');
        const environment = [
          ...[`MAIL_CLIENT_CA='${trusted}'`, `MAIL_CLIENT_REVOCATIONS_OBJECT=s3://${Bucket}/elsewhere`],
          ...['MAIL_DOMAINS=example.com', 'STATE_DIRECTORY=/tmp/revocations', 'AWS_DEFAULT_REGION=us-east-1'],
          `AWS_ENDPOINT_URL=${aws.endpointFor(plan.gateway)}`,
        ];
        return node.shell(
          `mkdir -p /tmp/revocations; touch /tmp/revocations/ends;` +
            `env ${environment.join(' ')} /opt/mail-platform/libexec/fetch-client-revocations 2>&1; ls /tmp/revocations`,
        );
      };
      const silent = new Authority('Silent', 365, 'keyCertSign');
      expect(await fetch([silent], silent.revocationList([]))).toMatch(
        /refused: CN=Silent may not sign lists: its certificate has a key usage without cRLSign, so no program would take them\nends\n$/,
      );
      const [first, second] = [new Authority('First'), new Authority('Second')];
      expect(await fetch([first, second], second.revocationList([]))).toMatch(
        /refused: the list of CN=First is missing: no certificate of an authority without one would be good\nends\n$/,
      );
      const damaged = first.revocationList([]).replace(/\n.{64}\n/, '\n');
      expect(await fetch([first], damaged)).toMatch(/elsewhere refused: .+\nends\n$/);
    });

    test('a certificate that is not behind the list is refused by Dovecot alone, and the unit says which', async () => {
      const { alice } = system();
      const gone = authority.issue({ subject: `/O=Company/CN=${alice.address}` });
      const { serialNumber } = new X509Certificate(gone.cert);
      expect(await publish(authority.revocationList([lost, gone]) + lost.cert)).toMatch(
        new RegExp(
          `the certificate 0*${serialNumber.replace(/^0+/, '')} of CN=Company mail clients is not there, so it still sends`,
        ),
      );
      await until('it to be refused', alice, gone, REFUSED);
      await publish(authority.revocationList([lost, gone]) + lost.cert + gone.cert);
      await expect(send(alice, gone, 465)).rejects.toThrow(REVOKED);
    }, 60_000);

    test('the unit has an exposure of 3.0 or less', async () => {
      const report = await nodes()[0].shell(
        'systemd-analyze security --no-pager mail-client-revocations.service | grep Overall',
      );
      expect(Number(/: ([0-9.]+)/.exec(report)![1])).toBeLessThanOrEqual(3);
    });

    test('when a list has ended nobody logs in, and everybody is told to come again; with the next all is well', async () => {
      const { alice } = system();
      await publish(authority.revocationList([lost], 4) + lost.cert);
      await sleep(4500);
      const answers = await logins(alice, next);
      expect(answers).toEqual([
        expect.stringMatching(/^a1 NO \[UNAVAILABLE\]/),
        expect.stringMatching(/^-ERR \[SYS\/TEMP\]/),
        expect.stringMatching(/^NO \(TRYLATER\)/),
      ]);
      await expect(send(alice, next, 587)).rejects.toThrow('451 4.7.0');
      await publish(authority.revocationList([lost]) + lost.cert);
      await until('it to be good again', alice, next, /^a1 OK/);
      await send(alice, next, 587);
      await expect(send(alice, lost, 587)).rejects.toThrow(REVOKED);
    }, 90_000);
  });

  test('mail is put off while nobody can be asked whose certificate it is', async () => {
    const { alice, cluster } = system();
    await cluster.nodes[0].shell(`systemctl stop ${POLICY}`);
    try {
      await expect(send(alice, good[alice.address], 587)).rejects.toThrow('451 4.3.5');
    } finally {
      await cluster.nodes[0].shell('systemctl start mail-client-certificates.socket');
    }
    await send(alice, good[alice.address], 587);
  }, 60_000);
}
