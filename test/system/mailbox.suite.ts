import { randomUUID } from 'node:crypto';
import { inbox, submit } from '../../local/round-trip';
import { waitFor } from '../../local/run';
import { LineClient, base64 } from './line-client';
import type { LocalUser } from '../../local/mail-clients';
import type { System } from './system';

/** What a user's mailbox does (B1, B5). */
export function mailboxSuite(system: () => System): void {
  const imap = async (user: LocalUser) => {
    const client = await LineClient.tls(system().view.address, 993, system().tls);
    await client.expect(/^\* OK/);
    await client.imap(`LOGIN ${user.address} ${user.password}`);
    return client;
  };

  /** A user of one test, known to every node. */
  const newUser = async (name: string, quota?: string): Promise<LocalUser> => {
    const { cluster } = system();
    const user = { address: `${name}@${cluster.domains[0]}`, password: `${name}-local-password` };
    await cluster.userDirectory().update((file) => file.add(user.address, user.password, { quota }));
    await Promise.all(cluster.nodes.map((node) => node.shell('systemctl start mail-directory-sync.service')));
    return user;
  };

  const deliver = (to: string, subject: string) => submit(system().view, system().alice, to, subject);

  const count = async (client: LineClient, mailbox: string) =>
    Number(/MESSAGES (\d+)/.exec(await client.imap(`STATUS ${mailbox} (MESSAGES)`))?.[1]);

  // Not IMAP4rev2: Debian builds Dovecot without it.
  test('offers the extensions that clients look for', async () => {
    const client = await imap(system().alice);
    const capabilities = await client.imap('CAPABILITY');
    for (const name of [
      ...['IMAP4rev1', 'IDLE', 'CONDSTORE', 'QRESYNC', 'COMPRESS=DEFLATE', 'SPECIAL-USE', 'QUOTA'],
      ...['MOVE', 'UIDPLUS', 'ESEARCH', 'SORT', 'THREAD=REFERENCES', 'LITERAL+', 'NAMESPACE'],
    ]) {
      expect(capabilities).toContain(name);
    }
    client.close();
  });

  test('has the special-use folders', async () => {
    const client = await imap(system().alice);
    const list = await client.imap('LIST "" "*"');
    for (const name of ['Drafts', 'Sent', 'Junk', 'Trash', 'Archive']) {
      expect(list).toMatch(new RegExp(`\\\\${name}.*"?${name}"?`));
    }
    client.close();
  });

  test('tells an idle client of new mail', async () => {
    const client = await imap(system().bob);
    await client.imap('SELECT INBOX');
    await client.ask('a1 IDLE', /^\+ /);
    await deliver(system().bob.address, randomUUID());
    await client.expect(/^\* \d+ EXISTS/);
    await client.ask('DONE', /^a1 OK/);
    client.close();
  });

  test('finds a word in a body by the full-text index', async () => {
    const user = await newUser('searcher');
    await deliver(user.address, 'needle');
    const client = await imap(user);
    await waitFor('the message', 20_000, async () => ((await count(client, 'INBOX')) === 1 ? true : undefined));
    await client.imap('SELECT INBOX');
    expect(await client.imap('SEARCH BODY "through"')).toMatch(/^\* SEARCH 1|ALL 1/m);
    expect(await client.imap('SEARCH BODY "haystack"')).not.toMatch(/^\* SEARCH 1|ALL 1/m);
    client.close();
    const [node] = system().cluster.nodes;
    expect(await node.shell(`find /srv/mail-store/mail -path '*searcher*' -name '*flatcurve*' | head -1`)).not.toBe('');
  });

  test('stores mail compressed, and only for its owner to read', async () => {
    const user = await newUser('compressed');
    await deliver(user.address, 'compress me');
    const [node] = system().cluster.nodes;
    const file = await waitFor('the file', 20_000, async () => {
      const found = await node.shell(
        `find /srv/mail-store/mail -path '*compressed*' \\( -path '*/new/*' -o -path '*/cur/*' -o -name 'u.*' \\) -type f | head -1`,
      );
      return found.trim() || undefined;
    });
    // Frame magic of Zstandard: RFC 8878 section 3.1.1
    expect((await node.shell(`od -An -tx1 -N4 '${file}'`)).trim()).toBe('28 b5 2f fd');
    expect((await node.shell(`stat -c '%U %a' '${file}'`)).trim()).toMatch(/^vmail [67]00$/);
  });

  test('mail over quota is refused, and the mailbox stays readable', async () => {
    const user = await newUser('full', '1M');
    const client = await imap(user);
    const message = `Subject: big\r\n\r\n${`${'x'.repeat(70)}\r\n`.repeat(13_000)}`;
    client.send(`a1 APPEND INBOX {${message.length}}`);
    await client.expect(/^\+ /);
    await client.ask(message, /^a1 OK/);
    expect(await client.imap('GETQUOTAROOT INBOX')).toMatch(/STORAGE \d+ 1024/);

    client.send(`a1 APPEND INBOX {${message.length}}`);
    const answer = await client.expect(/^(\+|a1) /);
    if (answer.startsWith('+')) await client.ask(message, /^a1 NO \[OVERQUOTA\]/);
    else expect(answer).toContain('[OVERQUOTA]');

    const mx = await LineClient.tcp(system().view.address, 25);
    await mx.expect(/^220 /);
    await mx.ask('EHLO mx.example.net', /^250 /);
    // One message may pass the limit by `quota_storage_grace`.
    await mx.ask(`MAIL FROM:<someone@example.net> SIZE=${20 * 1024 * 1024}`, /^250 /);
    await mx.ask(`RCPT TO:<${user.address}>`, /^(452|552|554) /);
    mx.close();
    expect(await count(client, 'INBOX')).toBe(1);
    client.close();
  });

  test('nobody is asked about the quota of a recipient elsewhere', async () => {
    const [node] = system().cluster.nodes;
    /** Seconds until the policy server has answered. */
    const seconds = async (recipient: string) => {
      const input = `request=smtpd_access_policy\nprotocol_state=RCPT\nsize=1\nrecipient=${recipient}\n\n`;
      const ask = `
import socket, sys, time
policy = socket.socket(socket.AF_UNIX)
policy.connect("/run/mail-quota/policy")
begin = time.monotonic()
policy.sendall(sys.stdin.buffer.read())
assert policy.makefile().readline() == "action=DUNNO\\n"
print(time.monotonic() - begin)`;
      return Number((await node.exec(['setpriv', '--reuid=postfix', 'python3', '-c', ask], { input })).stdout);
    };
    // Dovecot takes half a second to say that it knows nobody of that name.
    expect(await seconds('somebody@elsewhere.example')).toBeLessThan((await seconds('nobody@example.com')) / 4);
  });

  test('a Sieve rule uploaded by ManageSieve files mail', async () => {
    const user = await newUser('sieve');
    const script =
      'require ["fileinto", "mailbox"];\r\nif header :contains "subject" "offer" { fileinto :create "Offers"; }\r\n';
    const sieve = await LineClient.tcp(system().view.address, 4190);
    await sieve.expect(/^OK/);
    await sieve.ask('STARTTLS', /^OK/);
    await sieve.startTls(system().tls);
    await sieve.expect(/^OK/);
    await sieve.ask(`AUTHENTICATE "PLAIN" "${base64(`\0${user.address}\0${user.password}`)}"`, /^OK/);
    await sieve.ask('PUTSCRIPT "broken" {9+}\r\nnonsense!', /^NO/);
    await sieve.ask(`PUTSCRIPT "rules" {${script.length}+}\r\n${script}`, /^OK/);
    await sieve.ask('SETACTIVE "rules"', /^OK/);
    sieve.close();

    await deliver(user.address, 'a special offer');
    await deliver(user.address, 'plain news');
    const client = await imap(user);
    await waitFor('both messages', 20_000, async () => {
      const offers = await count(client, 'Offers');
      return offers === 1 && (await count(client, 'INBOX')) === 1 ? true : undefined;
    });
    client.close();
  });

  test('POP3 lists, retrieves and deletes', async () => {
    const user = await newUser('pop');
    await deliver(user.address, 'for POP3');
    await waitFor('the message', 20_000, async () =>
      (await inbox(system().view, user)).length === 1 ? true : undefined,
    );
    const client = await LineClient.tls(system().view.address, 995, system().tls);
    await client.expect(/^\+OK/);
    await client.ask(`USER ${user.address}`, /^\+OK/);
    await client.ask(`PASS ${user.password}`, /^\+OK/);
    await client.ask('STAT', /^\+OK 1 /);
    client.send('RETR 1');
    expect(await client.expect(/^\.$/)).toContain('Subject: for POP3');
    await client.ask('DELE 1', /^\+OK/);
    await client.ask('QUIT', /^\+OK/);
    client.close();
    expect(await inbox(system().view, user)).toEqual([]);
  });
}
