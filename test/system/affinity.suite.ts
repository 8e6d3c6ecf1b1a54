import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import type { LocalUser } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { run, sleep, waitFor } from '../../local/run';
import { LineClient, ScramClient, base64, fromBase64 } from './line-client';
import { addressesHomedOn, homeAmong, putRing, removeRing, restAgents, wakeAgents } from './ring';
import type { System } from './system';

const CLIENT = '198.51.100.9';

/** One node opens a mailbox, whichever takes the connection (E3). The agents rest; the tests put the ring files. */
export function affinitySuite(system: () => System): void {
  const nodes = () => system().cluster.nodes;
  const onAll = (script: string) => Promise.all(nodes().map((node) => node.shell(script, { timeout: 60_000 })));
  const wholeRing = (version = 1) => Promise.all(nodes().map((node) => putRing(node, { version, nodes: nodes() })));
  const plain = ({ address, password }: LocalUser) => base64(`\0${address}\0${password}`);

  /** A user whose home is the node, and another node. */
  const users = new Map<LocalNode, LocalUser>();
  const pair = (): { home: LocalNode; other: LocalNode; user: LocalUser } => {
    const [home, other] = nodes();
    return { home, other, user: users.get(home)! };
  };

  beforeAll(async () => {
    const { cluster } = system();
    await run('ip', ['address', 'replace', `${CLIENT}/32`, 'dev', 'lo']);
    await restAgents(nodes());
    for (const [node, address] of addressesHomedOn(cluster, 'homed')) {
      users.set(node, { address, password: `${address.split('@')[0]}-local-password` });
    }
    await cluster.userDirectory().update((file) => {
      for (const { address, password } of users.values()) file.add(address, password, { quota: '1M' });
    });
    await onAll('systemctl start mail-directory-sync.service');
    await wholeRing();
  }, 60_000);

  afterAll(() => wakeAgents(system().cluster), 120_000);

  /** @param near from the nodes' own network, whose connections nobody counts */
  const imap = async (node: LocalNode, port = 993, near = false) => {
    const from = near ? {} : { localAddress: CLIENT };
    const client = await LineClient.tls(node.address, port, { ...system().tls, ...from } as object);
    await client.expect(/^\* OK/);
    return client;
  };

  const login = async (node: LocalNode, user: LocalUser): Promise<string> => {
    const client = await imap(node);
    const answer = await client.ask(`a1 AUTHENTICATE PLAIN ${plain(user)}`, /^a1 /);
    // One that is gone when its login is logged is logged with that, too.
    if (/^a1 OK/m.test(answer)) await client.ask('a2 LOGOUT', /^a2 OK/);
    client.close();
    return answer.trim().split('\n').pop()!;
  };

  /** An LMTP session on the node's own socket, as Postfix has it; resolves to the answer to RCPT. */
  const rcpt = (node: LocalNode, address: string) =>
    node.shell(
      `printf 'LHLO x\\r\\nMAIL FROM:<>\\r\\nRCPT TO:<${address}>\\r\\nQUIT\\r\\n' |
        timeout 10 python3 -c 'import socket, sys
lmtp = socket.socket(socket.AF_UNIX)
lmtp.connect("/run/dovecot/postfix-lmtp")
lmtp.sendall(sys.stdin.buffer.read())
print(lmtp.makefile().read())' | tail -n 3 | head -n 1`,
    );

  const journal = async (node: LocalNode, since: number, unit = 'dovecot') =>
    node.shell(`journalctl --unit ${unit} --since @${since} --no-pager --output=cat`);

  const now = () => Math.floor(Date.now() / 1000);

  test('Lua and Python find the home that the agent finds', async () => {
    const [node] = nodes();
    const script = readFileSync(path.join(__dirname, 'on-node/home-vectors.py'), 'utf8');
    await node.exec(['sh', '-c', 'cat >/tmp/home-vectors.py'], { input: script });
    const input = readFileSync(path.join(__dirname, '../../agent/test/ring/home-vectors.json'), 'utf8');
    const { stdout } = await node.exec(['python3', '/tmp/home-vectors.py'], { input });
    expect(stdout).toMatch(/^\d+ vectors\n$/);
  });

  test('a user is served by one node whichever takes the connection, which knows the client and its TLS', async () => {
    const since = now();
    for (const node of nodes()) {
      for (const user of users.values()) expect(await login(node, user)).toMatch(/^a1 OK/);
    }
    for (const [home, user] of users) {
      const logs = await waitFor('all logins in the journal', 5000, async () => {
        const text = await journal(home, since);
        return text.split(`Logged in: user=<${user.address}>`).length > nodes().length ? text : undefined;
      });
      const logins = logs.split('\n').filter((line) => line.includes(`Logged in: user=<${user.address}>`));
      expect(logins).toHaveLength(nodes().length);
      for (const line of logins) expect(line).toMatch(/rip=198\.51\.100\.9,.*TLS, tls=TLSv1\.3/);
      for (const other of nodes().filter((node) => node !== home)) {
        const elsewhere = await journal(other, since);
        expect(elsewhere).not.toContain(`Logged in: user=<${user.address}>`);
        // The session has one name on both.
        const [, session] = /Started proxying.*session=<([^>]+)>/.exec(
          elsewhere.split('\n').find((line) => line.includes(`proxy(${user.address}`) && line.includes('Started'))!,
        )!;
        expect(logs).toContain(`session=<${session}>`);
      }
    }
  });

  test('SCRAM-SHA-256 survives the hop, and the server proves itself', async () => {
    const { other, user } = pair();
    const scram = new ScramClient(user.address, user.password);
    const client = await imap(other);
    const challenge = await client.ask(`a1 AUTHENTICATE SCRAM-SHA-256 ${base64(scram.first())}`, /^\+ /);
    const last = await client.ask(base64(scram.final(fromBase64(challenge.trim().slice(2)))), /^(\+|a1) /);
    expect(scram.verifies(fromBase64(last.trim().slice(2)))).toBe(true);
    await client.ask('', /^a1 OK/);
    await client.imap('SELECT INBOX');
    client.close();
  });

  // With Dovecot's channels inside the connection (proxy_no_multiplex unset) about one in six stopped answering.
  test('sessions that are passed on go on answering', async () => {
    const { other, user } = pair();
    for (let session = 1; session <= 60; session++) {
      const client = await imap(other, 993, true);
      await client.imap(`LOGIN ${user.address} ${user.password}`);
      for (let command = 1; command <= 5; command++) await client.imap('NOOP');
      client.close();
    }
  }, 120_000);

  test('a wrong password is refused where it is given', async () => {
    const { home, other, user } = pair();
    const mentioned = async () => (await journal(home, 0)).split(user.address).length;
    const before = await mentioned();
    expect(await login(other, { ...user, password: 'wrong-password' })).toMatch(/^a1 NO \[AUTHENTICATIONFAILED\]/);
    expect(await mentioned()).toBe(before);
  });

  test('LMTP, POP3 and ManageSieve follow', async () => {
    const { home, other, user } = pair();
    const since = now();
    const client = await LineClient.mx(other.address);
    const to = user.address.replace('@', '+detail@');
    const message = 'Subject: through another node\r\n\r\nhello';
    expect(await client.mail('someone@example.net', to, message)).toMatch(/^250 /);
    client.close();
    await waitFor('the delivery at the home', 10_000, async () =>
      (await journal(home, since)).includes(`lmtp(${user.address})`) ? true : undefined,
    );
    expect(await journal(other, since)).not.toContain('saved mail');

    const pop = await LineClient.tls(other.address, 995, system().tls);
    await pop.expect(/^\+OK/);
    await pop.ask(`USER ${user.address}`, /^\+OK/);
    await pop.ask(`PASS ${user.password}`, /^\+OK/);
    await pop.ask('STAT', /^\+OK 1 /);
    pop.close();

    const sieve = await LineClient.tcp(other.address, 4190);
    await sieve.expect(/^OK/);
    await sieve.ask('STARTTLS', /^OK/);
    await sieve.startTls(system().tls);
    await sieve.expect(/^OK/);
    await sieve.ask(`AUTHENTICATE "PLAIN" "${plain(user)}"`, /^OK/);
    await sieve.ask('PUTSCRIPT "rules" {7+}\r\n# keep\r', /^OK/);
    sieve.close();
    const served = await journal(home, since);
    expect(served).toMatch(new RegExp(`pop3-login: Logged in: user=<${user.address}>`));
    expect(served).toMatch(new RegExp(`managesieve-login: Logged in: user=<${user.address}>`));
  });

  test('a full mailbox is refused at RCPT by every node, and only its home opens it', async () => {
    const { home, other, user } = pair();
    const big = `Subject: big\r\n\r\n${`${'x'.repeat(70)}\r\n`.repeat(12_500)}`;
    // The second passes the limit by Dovecot's grace.
    for (let message = 1; message <= 2; message++) {
      const sender = await LineClient.mx(other.address);
      expect(await sender.mail('someone@example.net', user.address, big)).toMatch(/^250 /);
      sender.close();
    }
    try {
      for (const node of nodes()) {
        const mx = await LineClient.mx(node.address);
        await mx.ask('MAIL FROM:<someone@example.net> SIZE=1000', /^250 /);
        await waitFor('the node to ask again', 25_000, async () => {
          const answer = await mx.ask(`RCPT TO:<${user.address}>`, /^\d{3} /);
          return /^552 5\.2\.2/.test(answer) ? true : undefined;
        });
        mx.close();
      }
    } finally {
      const client = await imap(home);
      await client.imap(`LOGIN ${user.address} ${user.password}`);
      await client.imap('SELECT INBOX');
      await client.imap('STORE 1:* +FLAGS (\\Deleted)');
      await client.imap('EXPUNGE');
      client.close();
    }
    expect(await journal(other, now() - 60)).not.toMatch(
      new RegExp(`(quota-status|imap|lmtp)\\(${user.address}\\)<\\d`),
    );
  }, 90_000);

  test('doveadm does nothing for a user of another node', async () => {
    const { home, other, user } = pair();
    expect(await home.shell(`doveadm mailbox list -u ${user.address}`)).toContain('INBOX');
    await expect(other.shell(`doveadm mailbox list -u ${user.address}`)).rejects.toThrow();
  });

  describe('the hop', () => {
    const password = (node: LocalNode) => node.shell('cat /etc/dovecot/node-password').then((text) => text.trim());

    test("takes nodes' logins on its own ports only", async () => {
      const { home, user } = pair();
      const token = base64(`${user.address}\0mail-node@nodes\0${await password(home)}`);
      const client = await imap(home);
      await client.ask(`a1 AUTHENTICATE PLAIN ${token}`, /^a1 NO \[AUTH/);
      client.close();
    });

    test('takes no login of a user', async () => {
      const { home, user, other } = pair();
      const answer = await other.shell(
        `printf 'a1 AUTHENTICATE PLAIN ${plain(user)}\\r\\n' |
          timeout 3 openssl s_client -quiet -ign_eof -connect ${home.address}:10993 2>/dev/null | grep -m 1 '^a1'`,
      );
      expect(answer).toMatch(/^a1 NO \[AUTHENTICATIONFAILED\]/);
    });

    test.each([10993, 10995, 14190, 10024])('port %d is closed to clients', async (port) => {
      const [{ address }] = nodes();
      const open = run('timeout', [
        '2',
        'python3',
        '-c',
        `import socket; socket.create_connection(("${address}", ${port}), source_address=("${CLIENT}", 0))`,
      ]);
      await expect(open).rejects.toThrow();
    });

    test('its password is for root and Dovecot only', async () => {
      const [node] = nodes();
      expect((await node.shell('stat -c %U:%G:%a /etc/dovecot/node-password /etc/dovecot/nodes')).trim()).toBe(
        'root:dovecot:640\nroot:dovecot:640',
      );
      expect(await node.shell('cat /etc/dovecot/nodes')).not.toContain(await password(node));
    });
  });

  describe('when the ring changes', () => {
    const UNAVAILABLE = /^a1 NO \[UNAVAILABLE\]/;
    const OK = /^a1 OK/;

    /** Resolves when the firewall of a node has followed the ring file. */
    const firewallLets = (node: LocalNode, address: string) =>
      waitFor('the firewall to follow', 5000, async () =>
        (await node.shell('nft list set inet mail_hops ring')).includes(address) ? true : undefined,
      );

    afterEach(() => wholeRing());

    test('a user who moves is refused for a while until all nodes have the ring, then served at the new home', async () => {
      const { home, other, user } = pair();
      const alone = { nodes: nodes().filter((node) => node !== home) };
      await Promise.all(alone.nodes.map((node) => putRing(node, alone)));
      const before = homeAmong(alone.nodes, user.address);
      expect(await login(before, user)).toMatch(OK);

      const changed = { version: 2, nodes: nodes(), was: alone.nodes };
      await putRing(home, { ...changed, settled: false, was: [] });
      expect(await login(home, user)).toMatch(UNAVAILABLE);
      expect(await rcpt(home, user.address)).toMatch(/^451 /);
      await putRing(other, { ...changed, settled: false });
      expect(await login(other, user)).toMatch(UNAVAILABLE);
      expect(await rcpt(other, user.address)).toMatch(/^451 /);
      // Whoever stays where they were is served all the while.
      expect(await login(other, users.get(other)!)).toMatch(OK);

      await putRing(home, { ...changed, was: nodes() });
      const since = now();
      expect(await login(other, user)).toMatch(OK);
      expect(await journal(home, since)).toContain(`Logged in: user=<${user.address}>`);
    }, 90_000);

    test('two nodes that disagree send a user to neither', async () => {
      const { home, other, user } = pair();
      await putRing(home, { nodes: [other] });
      await putRing(other, { nodes: [home] });
      expect(await login(home, user)).toMatch(/^a1 NO \[SERVERBUG\] Account is temporarily unavailable/);
      expect(await login(other, user)).toMatch(/^a1 NO \[SERVERBUG\] Account is temporarily unavailable/);
      expect(await rcpt(home, user.address)).toMatch(/^451 /);
    }, 60_000);

    test.each<[string, (node: LocalNode) => Promise<void>]>([
      ['fenced', (node) => putRing(node, { serving: false, nodes: nodes() })],
      ['without a ring file', (node) => removeRing(node)],
      [
        'in the middle of a ring file',
        (node) => node.shell('printf "version\\t1\\nself" >/run/mail-platform/ring').then(() => undefined),
      ],
      ['with an empty ring', (node) => putRing(node, { nodes: [] })],
    ])(
      'a node that is %s refuses everybody for the moment',
      async (_how, change) => {
        const [node, other] = nodes();
        await change(node);
        for (const user of users.values()) {
          expect(await login(node, user)).toMatch(UNAVAILABLE);
          expect(await rcpt(node, user.address)).toMatch(/^451 /);
        }
        expect(await login(other, users.get(node)!)).toMatch(UNAVAILABLE);
        expect(await login(other, users.get(other)!)).toMatch(OK);
      },
      60_000,
    );

    test('a dead home is given up within seconds', async () => {
      const { home, other, user } = pair();
      await home.shell('nft insert rule inet mail input tcp dport { 10993, 10024 } drop');
      try {
        const begin = Date.now();
        expect(await login(other, user)).toMatch(UNAVAILABLE);
        expect(Date.now() - begin).toBeLessThan(10_000);
      } finally {
        await home.shell('systemctl reload nftables');
      }
    }, 30_000);

    test.each([993, 995])(
      'who waits for a dead home on port %d is served by the new one',
      async (port) => {
        const { home, other, user } = pair();
        const imaps = port === 993;
        await firewallLets(other, home.address);
        await home.shell('nft insert rule inet mail input tcp dport { 10993, 10995 } drop');
        try {
          const client = await LineClient.tls(other.address, port, { ...system().tls, localAddress: CLIENT } as object);
          await client.expect(imaps ? /^\* OK/ : /^\+OK/);
          const answer = client.ask(
            `${imaps ? 'a1 ' : ''}AUTH${imaps ? 'ENTICATE' : ''} PLAIN ${plain(user)}`,
            /^(a1|[+-]\w+) /,
          );
          await sleep(1500);
          await putRing(other, { version: 3, nodes: [other] });
          expect(await answer).toMatch(/^(a1 |\+)OK/m);
          client.close();
        } finally {
          await home.shell('systemctl reload nftables');
        }
      },
      30_000,
    );

    test('who asks just before the mailbox is here waits for it', async () => {
      const { home, user } = pair();
      const changed = { version: 2, nodes: nodes() };
      await putRing(home, { ...changed, settled: false, was: [] });
      const answer = login(home, user);
      await sleep(1500);
      await putRing(home, changed);
      expect(await answer).toMatch(OK);
    }, 30_000);

    test('a node that knows a newer ring sends the session on to the new home', async () => {
      const { home, other, user } = pair();
      const token = base64(
        `${user.address}\0mail-node@nodes\0${(await home.shell('cat /etc/dovecot/node-password')).trim()}`,
      );
      const hop = () =>
        other.shell(
          `printf 'a1 AUTHENTICATE PLAIN ${token}\\r\\n' |
            timeout 3 openssl s_client -quiet -ign_eof -connect ${home.address}:10993 2>/dev/null | grep -m 1 '^a1'`,
        );
      await firewallLets(other, home.address);
      await putRing(home, { version: 3, nodes: [other], settled: false });
      expect(await hop()).toMatch(UNAVAILABLE);
      await putRing(home, { version: 3, nodes: [other] });
      expect(await hop()).toContain(`a1 NO [REFERRAL imap://`);
      expect(await hop()).toContain(`@${other.address}:10993/]`);
    }, 30_000);

    // It ends them itself. Cut from here, a delivery that it had just written arrived twice.
    test('what was passed on to a node that leaves in good order goes on', async () => {
      const { home, other, user } = pair();
      const client = await imap(other);
      await client.imap(`LOGIN ${user.address} ${user.password}`);
      const newNode = '10.255.255.1'; // tells that the firewall has followed
      await putRing(other, { version: 3, nodes: [other], newNode, leaving: [home] });
      await firewallLets(other, newNode);
      await sleep(500); // connections are looked at next
      await client.imap('NOOP');
      client.close();
    }, 30_000);

    test('sessions through a node that died are ended', async () => {
      const { home, other, user } = pair();
      const client = await imap(other);
      await client.imap(`LOGIN ${user.address} ${user.password}`);
      // Nothing comes from the dead node any more, not even a reset.
      await home.shell('nft insert rule inet mail output tcp sport 10993 drop');
      await putRing(other, { version: 3, nodes: [other] });
      const begin = Date.now();
      await expect(client.imap('NOOP')).rejects.toThrow();
      expect(Date.now() - begin).toBeLessThan(5000);
      client.close();
      await home.shell('systemctl reload nftables');
    }, 30_000);
  });
}
