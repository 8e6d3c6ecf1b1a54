import { randomUUID } from 'node:crypto';
import { connect, type ConnectionOptions } from 'node:tls';
import { createTransport } from 'nodemailer';
import { type LocalUser } from '../../local/mail-clients';
import { run } from '../../local/run';
import { Authority, type Identity } from '../support/authority';
import { base64, fromBase64, LineClient, ScramClient } from './line-client';
import type { System } from './system';

/** Documentation addresses (RFC 5737): one for each login, so that none is put off for a refusal before. */
const SOURCES = Array.from({ length: 60 }, (_, index) => `198.51.100.${index + 1}`);
const REFUSED = /NO \[AUTHENTICATIONFAILED\]|^-ERR \[AUTH\]|^NO "Authentication failed/;
const POLICY = 'mail-client-certificates.socket mail-client-certificates.service';

/** Mail clients need a certificate of the company's authority besides the password (C7). */
export function clientCertificatesSuite(system: () => System, authority: Authority): void {
  const other = new Authority('Somebody else');
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
