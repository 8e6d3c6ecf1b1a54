import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import * as path from 'node:path';
import { type ConnectionOptions } from 'node:tls';
import { GetSecretValueCommand, PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { buildSync } from 'esbuild';
import { createTransport } from 'nodemailer';
import { imapClient, type LocalUser } from '../../local/mail-clients';
import { run, waitFor } from '../../local/run';
import { base64, LineClient } from './line-client';
import { homeAmong } from './ring';
import type { System } from './system';

/** Named in services.config.ts: documentation addresses (RFC 5737), the first half of them for a machine of its own. */
const MACHINE = '198.51.100.2';
const SOURCES = ['198.51.100.8', '198.51.100.9', '198.51.100.10', '198.51.100.11'];
const STRANGER = '203.0.113.77';
const REFUSED = /^a1 NO \[AUTHENTICATIONFAILED\]/;
const TIMER = 'systemctl start mail-restore-password.service';

/** The login of mail-restore opens every mailbox, by IMAP, from named addresses, and nothing else (D4). */
export function restoreAccessSuite(system: () => System): void {
  const login = ({ address }: LocalUser) => `${address}*mail-restore@operators`;
  let secrets: SecretsManagerClient;
  let password: string;

  beforeAll(async () => {
    const { cluster } = system();
    secrets = new SecretsManagerClient(cluster.aws.client);
    password = await current();
    for (const address of [...SOURCES, STRANGER]) await run('ip', ['address', 'replace', `${address}/32`, 'dev', 'lo']);
    await Promise.all(cluster.nodes.map((node) => node.shell(TIMER)));
  });
  afterAll(async () => {
    secrets.destroy();
    for (const address of [...SOURCES, STRANGER]) await run('ip', ['address', 'del', `${address}/32`, 'dev', 'lo']);
  });

  const secretId = () => system().cluster.plan.environment.MAIL_RESTORE_SECRET;
  const current = async (): Promise<string> => {
    const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: secretId() }));
    return JSON.parse(SecretString!).password;
  };

  const home = (user: LocalUser) => homeAmong(system().cluster.nodes, user.address);
  const other = (user: LocalUser) => system().cluster.nodes.find((node) => node !== home(user))!;

  const tls = (source: string): ConnectionOptions & { localAddress: string } => ({
    ...system().tls,
    localAddress: source,
  });

  /** What a node answers to a login by IMAP, and to a look into the mailbox. */
  const imap = async (source: string, name: string, secret: string, to = system().cluster.nodes[0], port = 993) => {
    const client = await LineClient.tls(to.address, port, tls(source));
    try {
      await client.expect(/^\* OK/);
      const answer = await client.ask(`a1 AUTHENTICATE PLAIN ${base64(`\0${name}\0${secret}`)}`, /^a1 /);
      if (/^a1 OK/m.test(answer)) await client.ask('a2 STATUS INBOX (MESSAGES)', /^a2 OK/);
      return answer.trim().split('\n').at(-1)!;
    } finally {
      client.close();
    }
  };

  test('opens every mailbox at every node, and the home has a line of it', async () => {
    const { alice, bob } = system();
    for (const user of [alice, bob]) {
      const since = (await home(user).shell('date +@%s.%N')).trim();
      for (const node of [home(user), other(user)]) {
        expect(await imap(SOURCES[0], login(user), password, node)).toMatch(/^a1 OK/);
      }
      const line = `${user.address} opened to get mail back, from ${SOURCES[0]}`;
      const lines = (node = home(user)) =>
        node.shell(`journalctl --since='${since}' --output=cat | grep --count --fixed-strings '${line}' || true`);
      await waitFor('both lines', 10_000, async () => ((await lines()) === '2\n' ? true : undefined));
      expect(await lines(other(user))).toBe('0\n');
    }
  }, 60_000);

  test('opens the mailbox of a user who is disabled', async () => {
    const { cluster } = system();
    const user = { address: `away@${cluster.domains[0]}`, password: 'away-local-password' };
    await cluster.userDirectory().update((file) => {
      file.add(user.address, user.password);
      file.setEnabled(user.address, false);
    });
    await Promise.all(cluster.nodes.map((node) => node.shell('systemctl start mail-directory-sync.service')));
    expect(await imap(SOURCES[0], user.address, user.password)).toMatch(REFUSED);
    expect(await imap(SOURCES[0], login(user), password)).toMatch(/^a1 OK/);
  }, 60_000);

  test('is refused from other addresses, with other passwords, and for nobody', async () => {
    const { alice, cluster } = system();
    const [node] = cluster.nodes;
    const nobody = { address: `nobody@${cluster.domains[0]}`, password };
    const hop = (await node.shell('cat /etc/dovecot/node-password')).trim();
    for (const [source, name, secret] of [
      [STRANGER, login(alice), password],
      [SOURCES[1], login(alice), alice.password],
      [SOURCES[1], login(alice), `${password}x`],
      [SOURCES[1], alice.address, password],
      [SOURCES[1], 'mail-restore@operators', password],
      [SOURCES[2], `${alice.address}*mail-restore@nodes`, hop],
      [SOURCES[2], `${alice.address}*mail-node@nodes`, hop],
      [SOURCES[2], `${alice.address}*mail-node@nodes`, password],
    ]) {
      expect([source, name, await imap(source, name, secret, node)]).toEqual([
        source,
        name,
        expect.stringMatching(REFUSED),
      ]);
    }
    // Its home finds that there is no such user.
    expect(await imap(SOURCES[1], login(nobody), password, node)).toMatch(
      /^a1 NO \[(AUTHENTICATIONFAILED|UNAVAILABLE)\]/,
    );
    // Users are none the worse for it.
    expect(await imap(SOURCES[3], alice.address, alice.password, node)).toMatch(/^a1 OK/);
  }, 90_000);

  test('is refused by every other protocol, and by the ports for nodes', async () => {
    const { alice, cluster } = system();
    const [{ address }] = cluster.nodes;
    const plain = base64(`\0${login(alice)}\0${password}`);
    for (const node of [home(alice), other(alice)]) {
      const pop = await LineClient.tls(node.address, 995, tls(SOURCES[3]));
      await pop.expect(/^\+OK/);
      expect(await pop.ask(`AUTH PLAIN ${plain}`, /^(\+OK|-ERR)/)).toMatch(/^-ERR \[AUTH\]/);
      pop.close();

      const sieve = await LineClient.tcp(node.address, 4190, SOURCES[3]);
      await sieve.expect(/^OK/);
      await sieve.ask('STARTTLS', /^OK/);
      await sieve.startTls(system().tls);
      await sieve.expect(/^OK/);
      await sieve.ask(`AUTHENTICATE "PLAIN" "${plain}"`, /^NO/);
      sieve.close();
    }
    const smtp = await LineClient.tls(address, 465, tls(SOURCES[3]));
    await smtp.expect(/^220 /);
    await smtp.ask('EHLO client.example.net', /^250 /);
    await smtp.ask(`AUTH PLAIN ${plain}`, /^535 /);
    smtp.close();

    // From within the network of the nodes.
    const answer = await other(alice).shell(
      `printf 'a1 AUTHENTICATE PLAIN ${plain}\\r\\n' |
        timeout 10 openssl s_client -quiet -ign_eof -connect ${home(alice).address}:10993 2>/dev/null | grep -m 1 '^a1'`,
    );
    expect(answer).toMatch(REFUSED);
  }, 90_000);

  test('takes a new password within minutes, and then not the one before', async () => {
    const { alice, cluster } = system();
    const before = password;
    expect(await imap(SOURCES[1], login(alice), before)).toMatch(/^a1 OK/);
    password = randomUUID().replaceAll('-', '') + 'Z';
    await secrets.send(new PutSecretValueCommand({ SecretId: secretId(), SecretString: JSON.stringify({ password }) }));
    await Promise.all(cluster.nodes.map((node) => node.shell(TIMER)));
    for (const node of cluster.nodes) {
      expect(await imap(SOURCES[1], login(alice), before, node)).toMatch(REFUSED);
      expect(await imap(SOURCES[1], login(alice), password, node)).toMatch(/^a1 OK/);
    }
    expect(
      await cluster.nodes[0].shell(
        'systemctl is-active mail-restore-password.timer; stat -c %U:%G:%a /etc/dovecot/restorers',
      ),
    ).toBe('active\nroot:dovecot:640\n');
  }, 60_000);

  test('gets a domain back, from a machine of its own', async () => {
    const { alice, bob, cluster, view } = system();
    const subject = randomUUID();
    const client = createTransport({
      host: view.address,
      port: 25,
      tls: { ca: view.authority, servername: view.hostname },
    });
    const raw = `From: <a@example.net>\r\nSubject: ${subject}\r\nMessage-ID: <${subject}@example.net>\r\n\r\nhello\r\n`;
    await client.sendMail({ envelope: { from: 'a@example.net', to: [alice.address, bob.address] }, raw });
    client.close();
    const found = async (user: LocalUser, folder: string) => {
      const session = imapClient(view, user);
      await session.connect();
      try {
        if (!(await session.list()).some(({ path: one }) => one === folder)) return 0;
        await session.mailboxOpen(folder);
        const uids = (await session.search({ subject }, { uid: true })) || [];
        if (folder === 'INBOX' && uids.length > 0) await session.messageDelete(uids.join(','), { uid: true });
        return uids.length;
      } finally {
        await session.logout().catch(() => session.close());
      }
    };
    for (const user of [alice, bob]) {
      await waitFor('it, to delete it', 30_000, async () => ((await found(user, 'INBOX')) === 1 ? true : undefined));
    }

    const command = path.join(cluster.folder, 'mail-restore.js');
    const entryPoints = [path.join(__dirname, '..', '..', 'bin', 'mail-restore.ts')];
    buildSync({ entryPoints, outfile: command, bundle: true, platform: 'node', target: 'node20' });
    const on = (...args: string[]) => run('ip', args);
    await on('netns', 'add', 'machine');
    try {
      await on('link', 'add', 'machine', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'machine');
      await on('address', 'add', '198.51.100.1/29', 'dev', 'machine');
      await on('link', 'set', 'machine', 'up');
      await on('-n', 'machine', 'address', 'add', `${MACHINE}/29`, 'dev', 'eth0');
      await on('-n', 'machine', 'link', 'set', 'eth0', 'up');
      await on('-n', 'machine', 'route', 'add', 'default', 'via', '198.51.100.1');
      const env = {
        ...process.env,
        ...cluster.aws.environment,
        AWS_ENDPOINT_URL: cluster.aws.endpointFor(cluster.plan.gateway),
        AWS_ENDPOINT_URL_S3: cluster.aws.endpointFor(cluster.plan.gateway),
        NODE_EXTRA_CA_CERTS: cluster.authority.certificateFile,
      };
      const args = [
        '--journal',
        `s3://${cluster.plan.environment.MAIL_JOURNAL_BUCKET}`,
        '--imap',
        `imaps://${view.address}`,
      ];
      const which = [
        '--tls-name',
        view.hostname,
        '--domain',
        cluster.domains[0],
        '--message',
        `<${subject}@example.net>`,
      ];
      const how = ['--login', '{user}*mail-restore@operators', '--folder', 'Restored/domain'];
      const ran = await new Promise<{ status: number | null; stdout: string; stderr: string }>((resolve) => {
        const child = execFile(
          'ip',
          ['netns', 'exec', 'machine', process.execPath, command, ...args, ...which, ...how],
          { env },
          (_error, stdout, stderr) => resolve({ status: child.exitCode, stdout, stderr }),
        );
        child.stdin!.end(`${password}\n`);
      });
      expect(ran).toMatchObject({ status: 0, stderr: expect.not.stringContaining('failed') });
      expect(JSON.parse(ran.stdout.trim().split('\n').at(-1)!)).toMatchObject({ found: 2, restored: 2, missing: 0 });
      expect(await found(alice, 'Restored/domain')).toBe(1);
      expect(await found(bob, 'Restored/domain')).toBe(1);
    } finally {
      await on('netns', 'delete', 'machine');
      rmSync(command, { force: true });
    }
  }, 120_000);
}
