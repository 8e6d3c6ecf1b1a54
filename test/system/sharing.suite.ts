import { imapClient, type LocalUser } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { run, waitFor } from '../../local/run';
import { LineClient, base64 } from './line-client';
import { addressesHomedOn } from './ring';
import type { System } from './system';

/** A documentation network (RFC 5737): nobody of the nodes'. */
const STRANGER = '198.51.100.77';
const SHARE_PASSWORD = '/etc/dovecot/share-password';

/** Users share folders, and still one node opens each mailbox (B1, E3, C4). */
export function sharingSuite(system: () => System): void {
  const nodes = () => system().cluster.nodes;
  const shell = (script: string, node = nodes()[0]) => node.shell(script, { timeout: 60_000 });

  /** The owner's home is the first node; `near` lives there, too, `far` on the other one. */
  let owner: LocalUser, near: LocalUser, far: LocalUser;
  const open: LineClient[] = [];

  beforeAll(async () => {
    const { cluster } = system();
    const users = ['owner', 'reader'].map((name) => addressesHomedOn(cluster, name));
    const [home, other] = nodes();
    [owner, near, far] = [users[0].get(home)!, users[1].get(home)!, users[1].get(other)!].map((address) => ({
      address,
      password: 'sharing-local-password',
    }));
    await cluster.userDirectory().update((file) => {
      for (const { address, password } of [owner, near, far]) file.add(address, password);
    });
    await Promise.all(nodes().map((node) => node.shell('systemctl start mail-directory-sync.service')));
    await run('ip', ['address', 'replace', `${STRANGER}/32`, 'dev', 'lo']);
  }, 60_000);

  afterEach(() => open.splice(0).forEach((client) => client.close()));

  /** A session at the first node, from where nobody counts connections. */
  const imap = async (user: LocalUser) => {
    const client = await LineClient.tls(nodes()[0].address, 993, system().tls);
    open.push(client);
    await client.expect(/^\* OK/);
    await client.imap(`LOGIN ${user.address} ${user.password}`);
    return client;
  };

  const append = (client: LineClient, mailbox: string, subject: string) => {
    const message = `Subject: ${subject}\r\n\r\ntext\r\n`;
    return client.imap(`APPEND ${mailbox} {${message.length}+}\r\n${message}`);
  };

  const answer = (client: LineClient, command: string) => client.ask(`a1 ${command}`, /^a1 /);

  let folders = 0;
  /** A folder of the owner with one message, shared with the reader: its name, and as the reader has it. */
  const share = async (reader: LocalUser, rights: string) => {
    const name = `Team${++folders}`;
    const client = await imap(owner);
    await client.imap(`CREATE ${name}`);
    await append(client, name, 'first');
    if (rights !== '') await client.imap(`SETACL ${name} ${reader.address} ${rights}`);
    return { name, shared: `shared/${owner.address}/${name}`, client };
  };

  describe.each(['near', 'far'] as const)('with a reader %s the owner', (where) => {
    const reader = () => (where === 'near' ? near : far);

    test('who has no rights sees and opens nothing', async () => {
      const { shared } = await share(reader(), '');
      const client = await imap(reader());
      expect(await client.imap('LIST "" "*"')).not.toContain(shared);
      for (const command of [
        ...[`SELECT ${shared}`, `EXAMINE ${shared}`, `STATUS ${shared} (MESSAGES)`, `GETACL ${shared}`],
        ...[`MYRIGHTS ${shared}`, `SETACL ${shared} ${reader().address} lr`, `DELETE ${shared}`],
        ...[`RENAME ${shared} Mine`, `CREATE ${shared}/more`, `APPEND ${shared} {3+}\r\nX\r\n`],
        ...[`SELECT shared/${owner.address}`, `SELECT shared/${owner.address}/INBOX`],
      ]) {
        expect(await answer(client, command)).toMatch(/^a1 (NO|BAD)/m);
      }
    });

    test('who may read reads, and changes nothing', async () => {
      const { name, shared, client: mine } = await share(reader(), 'lr');
      const client = await imap(reader());
      expect(await client.imap('LIST "" "*"')).toContain(shared);
      expect(await client.imap(`MYRIGHTS ${shared}`)).toMatch(/ lr\r$/m);
      expect(await client.imap(`SELECT ${shared}`)).toContain('PERMANENTFLAGS ()');
      expect(await client.imap('FETCH 1 (BODY[])')).toContain('Subject: first');
      expect(await client.imap('SEARCH BODY text')).toMatch(/^\* SEARCH 1\r$/m);
      await answer(client, 'STORE 1 +FLAGS (\\Flagged \\Deleted)');
      await answer(client, 'EXPUNGE');
      for (const command of [
        ...[`APPEND ${shared} {3+}\r\nX\r\n`, `COPY 1 ${shared}`, `GETACL ${shared}`],
        ...[`SETACL ${shared} ${reader().address} lrswipkxtea`],
      ]) {
        expect(await answer(client, command)).toMatch(/^a1 NO/m);
      }
      expect(await answer(await imap(reader()), `DELETE ${shared}`)).toMatch(/^a1 NO/m);
      // A move without the right to expunge is a copy.
      expect(await client.imap('MOVE 1 INBOX')).toMatch(/COPYUID/);
      await mine.imap(`SELECT ${name}`);
      expect(await mine.imap('FETCH 1:* (FLAGS)')).toMatch(/^\* 1 FETCH \(FLAGS \((\\Recent)?\)\)\r\na1/m);
    });

    test('who may write shares flags, messages and news with the owner', async () => {
      const { name, shared, client: mine } = await share(reader(), 'lrswite');
      const client = await imap(reader());
      await client.imap(`SELECT ${shared}`);
      await client.imap('STORE 1 +FLAGS (\\Flagged \\Seen)');
      await append(client, shared, 'second');
      await mine.imap(`SELECT ${name}`);
      expect(await mine.imap('FETCH 1:2 (FLAGS)')).toMatch(/^\* 1 FETCH .*\\Flagged/m);

      await client.ask('a2 IDLE', /^\+ /);
      await mine.imap('STORE 2 +FLAGS (\\Answered)');
      await client.expect(/^\* 2 FETCH .*\\Answered/);
      await append(mine, name, 'third');
      await client.expect(/^\* 3 EXISTS/);
      await client.ask('DONE', /^a2 OK/);

      await client.imap('STORE 1 +FLAGS (\\Deleted)');
      await client.imap('EXPUNGE');
      expect(await mine.imap('NOOP')).toMatch(/^\* 1 EXPUNGE/m);
    });

    test('only the owner’s home opens the mailbox', async () => {
      const { name, shared, client: mine } = await share(reader(), 'lrs');
      mine.close();
      const client = await imap(reader());
      await client.imap(`SELECT ${shared}`);
      await client.ask('a1 IDLE', /^\+ /); // before it hibernates
      const [user, domain] = owner.address.split('@');
      const openers = (node: LocalNode) =>
        shell(`ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c "/mail/${domain}/${user}/mail/.${name}/" || true`, node);
      expect(Number(await openers(nodes()[0]))).toBeGreaterThan(0);
      expect(Number(await openers(nodes()[1]))).toBe(0);
    });

    test('who may administer gives rights to others', async () => {
      const { name, shared, client: mine } = await share(reader(), 'lra');
      const other = where === 'near' ? far : near;
      const client = await imap(reader());
      await client.imap(`SETACL ${shared} ${other.address} lr`);
      expect(await mine.imap(`GETACL ${name}`)).toContain(`${other.address} lr`);
      expect(await (await imap(other)).imap('LIST "" "*"')).toContain(shared);
    });

    test('rights that were taken away are gone', async () => {
      const { name, shared, client: mine } = await share(reader(), 'lr');
      const before = await imap(reader());
      await before.imap(`STATUS ${shared} (MESSAGES)`);
      await mine.imap(`DELETEACL ${name} ${reader().address}`);
      await waitFor('the session that is open to notice', 20_000, async () =>
        /^a1 NO/m.test(await answer(before, `SELECT ${shared}`)) ? true : undefined,
      );
      const after = await imap(reader());
      expect(await after.imap('LIST "" "*"')).not.toContain(shared);
      expect(await answer(after, `SELECT ${shared}`)).toMatch(/^a1 NO/m);
    });

    test('a real client finds, reads and flags', async () => {
      const { shared } = await share(reader(), 'lrsw');
      const client = imapClient({ ...system().view, address: nodes()[0].address }, reader());
      await client.connect();
      expect((await client.list()).map(({ path }) => path)).toContain(shared);
      await client.mailboxOpen(shared);
      expect(await client.messageFlagsAdd('1', ['\\Seen'])).toBe(true);
      const message = await client.fetchOne('1', { envelope: true, flags: true });
      expect(message && message.envelope?.subject).toBe('first');
      await client.logout();
    });
  });

  test('nobody reads through a reader what somebody else shares with that reader', async () => {
    const { shared } = await share(near, 'lr');
    // `far` may look into a folder of `near`, and by that not into what `near` may look into.
    const client = await imap(near);
    await client.imap('CREATE Mine');
    await client.imap(`SETACL Mine ${far.address} lr`);
    const outside = await imap(far);
    const list = await outside.imap('LIST "" "*"');
    expect(list).toContain(`shared/${near.address}/Mine`);
    expect(list).not.toContain(`shared/${near.address}/shared`);
    expect(await answer(outside, `SELECT shared/${near.address}/${shared}`)).toMatch(/^a1 NO/m);
  });

  test('everybody at once is nobody to share with', async () => {
    const { name, client } = await share(near, '');
    for (const whom of ['anyone', 'authenticated']) {
      expect(await answer(client, `SETACL ${name} ${whom} lr`)).toMatch(/^a1 (NO|BAD)/m);
    }
  });

  test('readers are not counted among the sessions of the owner', async () => {
    const { shared } = await share(near, 'lr');
    await (await imap(owner)).imap(`SETACL ${shared.split('/')[2]} ${far.address} lr`);
    for (let count = 0; count < 11; count++) {
      for (const reader of [near, far]) await (await imap(reader)).imap(`SELECT ${shared}`);
    }
    await (await imap(near)).imap('NOOP'); // watch-logins counts at a login
    await new Promise((resolve) => setTimeout(resolve, 2500));
    await (await imap(owner)).imap('SELECT INBOX');
  }, 120_000);

  test('rights, and who comes for them, are in the log', async () => {
    const since = Math.floor(Date.now() / 1000);
    const { name, shared } = await share(far, 'lr');
    await (await imap(far)).imap(`SELECT ${shared}`);
    await waitFor('the lines', 20_000, async () => {
      const log = await shell(`journalctl --unit dovecot --since @${since} --output=cat --no-pager`);
      const changed = new RegExp(
        `"user":"${owner.address}".*"cmd_name":"SETACL","cmd_args":"${name} ${far.address} lr"`,
      );
      const came = new RegExp(`auth\\(${far.address}.*Master user logging in as ${owner.address}`);
      return changed.test(log) && came.test(log) ? true : undefined;
    });
  });

  test('POP3, deliveries and the nightly work know nothing of what others share', async () => {
    await share(near, 'lr');
    expect(await shell(`doveadm mailbox list -u ${near.address}`)).not.toContain('shared');
  });

  describe('the password of readers’ sessions', () => {
    /** The last line of the answer to a login with it. */
    const login = async (client: LineClient, reader: string, whose: string, password: string) => {
      open.push(client);
      await client.expect(/^(\* OK|\+OK|OK)/);
      const said = await answer(client, `AUTHENTICATE PLAIN ${base64(`${whose}\0${reader}\0${password}`)}`);
      return said.trim().split('\n').at(-1)!;
    };

    let password: string;
    beforeAll(async () => {
      password = await shell(`cat ${SHARE_PASSWORD}`);
    });

    test('is for root and Dovecot only, another one than that of the hop, and the same on all nodes', async () => {
      expect(password).toMatch(/^[0-9a-f]{64}$/);
      for (const node of nodes()) {
        expect(await shell(`stat -c '%U:%G %a' ${SHARE_PASSWORD}`, node)).toBe('root:dovecot 640\n');
        expect(await shell(`cat ${SHARE_PASSWORD}`, node)).toBe(password);
      }
      expect(await shell('cat /etc/dovecot/node-password')).not.toContain(password);
    });

    test('opens nothing for clients: not on their port, not on the hop from outside, and its own port is on the loopback', async () => {
      const tls = { ...system().tls, localAddress: STRANGER };
      const clients = await LineClient.tls(nodes()[0].address, 993, tls);
      expect(await login(clients, near.address, owner.address, password)).toMatch(/^a1 NO/);
      await expect(LineClient.tls(nodes()[0].address, 10993, tls)).rejects.toThrow();
      await expect(LineClient.tcp(nodes()[0].address, 10144)).rejects.toThrow();
    });

    test.each<[string, () => { reader: string; whose: string; password: string }]>([
      ['a wrong password', () => ({ reader: near.address, whose: owner.address, password: near.password })],
      ['the password of the hop', () => ({ reader: near.address, whose: owner.address, password: 'hop' })],
      ['a reader who is nobody', () => ({ reader: 'nobody@example.com', whose: owner.address, password })],
      ['a node', () => ({ reader: 'mail-node@nodes', whose: owner.address, password })],
      ['the owner, who would have all rights', () => ({ reader: owner.address, whose: owner.address, password })],
    ])('is good for readers only: refused for %s', async (_name, say) => {
      const { reader, whose, password: said } = say();
      const word = said === 'hop' ? (await shell('cat /etc/dovecot/node-password')).trim() : said;
      const script = `
import base64, socket, sys
imap = socket.create_connection(("127.0.0.1", 10144), 30)
lines = imap.makefile("rw", newline="")
lines.readline()
print("a1 AUTHENTICATE PLAIN " + base64.b64encode("\\0".join(sys.argv[1:]).encode()).decode(), end="\\r\\n", file=lines, flush=True)
print(next(line for line in lines if line.startswith("a1 ")))`;
      const { stdout } = await nodes()[0].exec(['python3', '-c', script, whose, reader, word]);
      expect(stdout).toMatch(/^a1 NO/);
    });
  });
}
