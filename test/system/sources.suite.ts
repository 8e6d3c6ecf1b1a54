import { CloudWatchClient, ListMetricsCommand } from '@aws-sdk/client-cloudwatch';
import * as path from 'node:path';
import { type ConnectionOptions } from 'node:tls';
import type { LocalNode } from '../../local/node';
import { run, sleep, waitFor } from '../../local/run';
import { LineClient, base64 } from './line-client';
import { homeAmong } from './ring';
import type { System } from './system';

/** Where the clients of these tests connect from: a documentation network (RFC 5737), half of it exempt. */
const NETWORK = '203.0.113';
const EXEMPT = `${NETWORK}.128/25`;
const OFFICE = `${NETWORK}.200`;

/** Fewer than the defaults, and the same proportions: the burst is more than may fail, and that more than one client has. */
const LIMITS = {
  MAIL_NEW_BURST: 12,
  MAIL_SESSIONS_PER_SOURCE: 8,
  MAIL_SESSIONS_PER_USER: 5,
  MAIL_LOCKOUT_FAILURES: 4,
  MAIL_LIMITS_EXEMPT: EXEMPT,
};
const REFUSED = /ECONNREFUSED|ECONNRESET/;

/** How much one source, or one user, may ask for, and who guesses passwords (A9, C4); docs/limits.md. */
export function sourcesSuite(system: () => System): void {
  const node = () => homeAmong(system().cluster.nodes, system().alice.address);
  const other = () => system().cluster.nodes.find((candidate) => candidate !== node())!;
  const open: LineClient[] = [];
  const keep = (client: LineClient) => {
    open.push(client);
    return client;
  };

  let sources = 1;
  const stranger = () => `${NETWORK}.${sources++}`;
  const tcp = async (source: string, port = 587) => keep(await LineClient.tcp(node().address, port, source));
  const imap = async (source: string, to: LocalNode = node()) => {
    // It goes on to net.connect, though the types of tls.connect don't name it.
    const options: ConnectionOptions & { localAddress: string } = { ...system().tls, localAddress: source };
    const client = keep(await LineClient.tls(to.address, 993, options));
    await client.expect(/^\* OK/);
    return client;
  };
  const submission = async (source: string) => {
    const client = await tcp(source);
    await client.expect(/^220 /);
    await client.ask('EHLO client.example.net', /^250 /);
    await client.ask('STARTTLS', /^220 /);
    await client.startTls(system().tls);
    await client.ask('EHLO client.example.net', /^250 /);
    return client;
  };
  const login = (client: LineClient, { address, password } = system().alice) =>
    client.ask(`a1 LOGIN ${address} ${password}`, /^a1 /);
  const guess = async (source: string) => {
    const { address } = system().alice;
    expect(await login(await imap(source), { ...system().alice, password: 'guessed' })).toMatch(
      /^a1 NO \[AUTHENTICATIONFAILED\]/m,
    );
    return address;
  };
  const guessAtOnce = (source: string, times: number) =>
    Promise.all(Array.from({ length: times }, () => guess(source)));
  /** How many of as many connections are let in. */
  const letIn = async (source: string, times: number, port = 587) => {
    const tried = await Promise.allSettled(Array.from({ length: times }, () => tcp(source, port)));
    for (const result of tried) {
      if (result.status === 'rejected') expect(String(result.reason)).toMatch(REFUSED);
    }
    return tried.filter(({ status }) => status === 'fulfilled').length;
  };
  const banned = async (source: string) =>
    (await node().shell('nft list set inet mail_limits banned4')).includes(`${source} timeout`);
  const toBeBanned = (source: string) =>
    waitFor(`${source} to be refused`, 10_000, async () => ((await banned(source)) ? true : undefined));
  const configure = (settings: { [key: string]: number | string }) => {
    const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
    const keys = Object.keys(LIMITS).join('|');
    const script =
      `sed -i -E '/^(${keys})=/d' /etc/mail-platform/env; printf '%s\\n' '${lines.join("' '")}' >>/etc/mail-platform/env; ` +
      'bash /opt/mail-platform/bootstrap.sh';
    return Promise.all(system().cluster.nodes.map((each) => each.shell(script, { timeout: 60_000 })));
  };

  let before: { [key: string]: string };
  beforeAll(async () => {
    const { environment } = system().cluster.plan;
    before = Object.fromEntries(Object.entries(environment).filter(([key]) => key in LIMITS));
    // The nodes' way back to it is their default route, which leads here.
    await run('ip', ['address', 'replace', `${NETWORK}.0/24`, 'dev', 'lo']);
  });
  afterEach(() => open.splice(0).forEach((client) => client.close()));
  afterAll(() => configure(before), 60_000);

  test('by default a client opens 20 connections at once, then 10 a minute, and others are not touched', async () => {
    const source = stranger();
    expect(await letIn(source, 30)).toBe(20);
    const begin = Date.now();
    await expect(tcp(source, 993)).rejects.toThrow(REFUSED);
    expect(Date.now() - begin).toBeLessThan(1000);
    // For other mail servers there are other limits.
    expect(await letIn(source, 5, 25)).toBe(5);
    expect(await letIn(stranger(), 5, 993)).toBe(5);

    await sleep(6500);
    expect(await letIn(source, 3)).toBe(1);
  }, 30_000);

  test('other limits cut no session and forgive nobody', async () => {
    const [session, source] = [await imap(stranger()), stranger()];
    expect(await login(session)).toMatch(/^a1 OK/m);
    expect(await letIn(source, 30)).toBe(20);
    await configure(LIMITS);
    await session.imap('NOOP');
    // A place came free each six seconds meanwhile; it had 20 to begin with.
    expect(await letIn(source, 30)).toBeLessThan(8);
  }, 60_000);

  test('a source has so many connections at a time, to all login ports together', async () => {
    const source = stranger();
    expect(await letIn(source, 5, 587)).toBe(5);
    expect(await letIn(source, 5, 993)).toBe(3);
    open.pop()!.close();
    await sleep(500);
    expect(await letIn(source, 1, 465)).toBe(1);
  });

  test('an exempt source is not counted, nor is the network of the nodes', async () => {
    expect(await letIn(OFFICE, 60)).toBe(60);
    expect(await letIn(system().cluster.plan.gateway, 60, 993)).toBe(60);
  });

  test('handshakes that nobody ends: some wait, more are refused, and a flood gets no answer', async () => {
    const source = stranger();
    // This machine would end them by itself.
    const hush = `add table ip hush; add chain ip hush out { type filter hook output priority 0; }; add rule ip hush out ip saddr ${source} tcp flags rst drop`;
    await run('nft', [hush]);
    try {
      const script = path.join(__dirname, 'begin-handshakes.py');
      const { stdout } = await run('python3', [script, source, node().address, '25', '700']);
      const answered = JSON.parse(stdout) as { accepted: number; refused: number; unanswered: number };
      expect(answered.accepted).toBe(LIMITS.MAIL_SESSIONS_PER_SOURCE);
      // A burst of 500, and 33 a second.
      expect(answered.unanswered).toBeGreaterThan(100);
      expect(answered.accepted + answered.refused).toBeGreaterThanOrEqual(500);
    } finally {
      await run('nft', ['delete', 'table', 'ip', 'hush']);
    }
    expect(await letIn(stranger(), 5, 25)).toBe(5);
  }, 30_000);

  test('a source that guesses is refused, by whichever service; its victim logs in from elsewhere', async () => {
    const [attacker, victim] = [stranger(), stranger()];
    const listening = await imap(attacker);
    const { address } = system().alice;
    const attempts = [guess(attacker), guess(attacker)];
    for (let i = 0; i < 2; i++) {
      const client = await submission(attacker);
      attempts.push(client.ask(`AUTH PLAIN ${base64(`\0${address}\0guessed`)}`, /^535 /));
    }
    await Promise.all(attempts);
    await toBeBanned(attacker);

    for (const port of [993, 995, 465, 587, 4190]) await expect(tcp(attacker, port)).rejects.toThrow(REFUSED);
    // Nor does it go on with a connection that it has.
    await expect(login(listening)).rejects.toThrow(/expected a line/);
    expect(await letIn(attacker, 1, 25)).toBe(1);
    expect(await login(await imap(victim))).toMatch(/^a1 OK/m);

    const said = await node().shell('journalctl -u mail-logins --output=cat');
    expect(said).toContain(`${attacker} is refused for 900 s: 4 logins failed, the last as '${address}'`);
    // As docs/limits.md has it.
    await node().shell(`nft delete element inet mail_limits banned4 '{ ${attacker} }'`);
    await (await imap(attacker)).imap('NOOP');
  }, 30_000);

  test('a login that succeeds makes up for those that failed', async () => {
    const source = stranger();
    await guessAtOnce(source, 3);
    expect(await login(await imap(source))).toMatch(/^a1 OK/m);
    await guessAtOnce(source, 3);
    await sleep(500);
    expect(await banned(source)).toBe(false);
    await guess(source);
    await toBeBanned(source);
  }, 60_000);

  test('an exempt source is never refused', async () => {
    await guessAtOnce(OFFICE, 8);
    await sleep(500);
    expect(await banned(OFFICE)).toBe(false);
    await (await imap(OFFICE)).imap('NOOP');
  }, 30_000);

  test('a user has so many sessions from all addresses and on all nodes together; further ones are put off', async () => {
    const sessions: LineClient[] = [];
    for (let i = 0; i < LIMITS.MAIL_SESSIONS_PER_USER; i++) {
      const session = await imap(stranger(), i % 2 === 0 ? node() : other());
      expect(await login(session)).toMatch(/^a1 OK/m);
      sessions.push(session);
    }
    await sleep(2500);
    for (const to of [node(), other()]) {
      // No word of a wrong password: a mail client would ask its user for another one.
      expect(await login(await imap(stranger(), to))).toMatch(/^a1 NO \[UNAVAILABLE\]/m);
    }
    // Nor is it a failure to be refused for.
    const again = stranger();
    const answers = Array.from({ length: LIMITS.MAIL_LOCKOUT_FAILURES + 1 }, async () => login(await imap(again)));
    for (const answer of await Promise.all(answers)) expect(answer).toMatch(/^a1 NO \[UNAVAILABLE\]/m);
    expect(await login(await imap(again), system().bob)).toMatch(/^a1 OK/m);
    expect(await banned(again)).toBe(false);
    for (const session of sessions) await session.imap('NOOP');

    await sessions[0].imap('LOGOUT');
    await waitFor('a place to be free', 20_000, async () => {
      const answer = await login(await imap(stranger()));
      if (!/^a1 OK/m.test(answer)) throw new Error(answer);
      return true;
    });
  }, 60_000);

  test('sessions that are passed on count at the home, not at the node that passes them on', async () => {
    const crowded = (where: LocalNode) => where.shell('cat /run/mail-platform/crowded');
    for (let i = 0; i < LIMITS.MAIL_SESSIONS_PER_USER; i++) {
      // Places of the test before become free within a second or two.
      await waitFor('a place', 20_000, async () => {
        const answer = await login(await imap(stranger(), other()));
        if (!/^a1 OK/m.test(answer)) throw new Error(answer);
        return true;
      });
    }
    await sleep(2500);
    expect(await crowded(node())).toBe(`${system().alice.address}\n`);
    expect(await crowded(other())).toBe('');
  }, 120_000);

  test('each login is counted once, where the client came to, and published', async () => {
    const counted = async () => {
      const pages = await Promise.all(
        [node(), other()].map((each) => each.shell('curl -s http://127.0.0.1:9900/metrics')),
      );
      const of = (name: string, page: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(page)?.[1]);
      return pages.map((page) => [of('dovecot_auth_success_total', page), of('dovecot_auth_failure_total', page)]);
    };
    const [home, away] = await counted();
    await login(await imap(stranger(), other()));
    await login(await imap(stranger(), other()), { ...system().alice, password: 'guessed' });
    await sleep(500);
    expect(await counted()).toEqual([home, [away[0] + 1, away[1] + 1]]);

    const client = new CloudWatchClient(system().cluster.aws.client);
    await waitFor('the agents to publish', 70_000, async () => {
      const { Metrics = [] } = await client.send(new ListMetricsCommand({ Namespace: 'MailPlatform' }));
      const names = Metrics.map(({ MetricName }) => MetricName);
      return names.includes('Logins') && names.includes('FailedLogins') ? true : undefined;
    });
    client.destroy();
  }, 90_000);
}
