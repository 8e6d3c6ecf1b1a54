import { randomUUID } from 'node:crypto';
import { createTransport } from 'nodemailer';
import { imapClient, type LocalUser } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { waitFor } from '../../local/run';
import { LineClient, base64 } from './line-client';
import { homeAmong } from './ring';
import type { System } from './system';

/** Text with letters that no ASCII has, in NFC. */
const GREETING = 'Grüße aus Žilina';
/** As LineClient has what a server sent. */
const latin1 = (text: string) => Buffer.from(text).toString('latin1');

/** Where a client is connected: to the node that opens the mailbox, or to another one, which passes the session on. */
const WAYS = ['at the home', 'through another node'] as const;
type Way = (typeof WAYS)[number];

/**
 * What clients may ask for beyond reading and sending, one test for each extension (B1, B2, B5). That they are offered at all is in
 * mailbox.suite.ts and delivery.suite.ts.
 */
export function protocolsSuite(system: () => System): void {
  const domain = () => system().cluster.domains[0];
  const node = () => system().cluster.nodes[0];

  let users = 0;
  /** A user of one test, known to every node. */
  const newUser = async (...aliases: string[]): Promise<LocalUser> => {
    const { cluster } = system();
    const user = { address: `protocol${++users}@${domain()}`, password: 'protocol-local-password' };
    await cluster.userDirectory().update((file) => {
      file.add(user.address, user.password);
      for (const alias of aliases) file.addAlias(alias, user.address);
    });
    await sync();
    return user;
  };

  const sync = () =>
    Promise.all(system().cluster.nodes.map((each) => each.shell('systemctl start mail-directory-sync.service')));

  /** A node, as seen from the user. From here nobody counts connections. */
  const nodeFor = ({ address }: LocalUser, way: Way): LocalNode => {
    const { nodes } = system().cluster;
    const home = homeAmong(nodes, address);
    return way === 'at the home' ? home : nodes.find((each) => each !== home)!;
  };

  const connect = async (at: LocalNode, port = 993) => {
    const client = await LineClient.tls(at.address, port, system().tls);
    await client.expect(/^(\* OK|\+OK|220) /);
    return client;
  };

  const imap = async (user: LocalUser, way: Way = 'at the home') => {
    const client = await connect(nodeFor(user, way));
    await client.imap(`LOGIN ${user.address} ${user.password}`);
    return client;
  };

  const append = (client: LineClient, message: string, mailbox = 'INBOX') =>
    client.imap(`APPEND ${mailbox} {${Buffer.byteLength(message)}+}\r\n${message}`);

  const letter = (subject: string, ...more: string[]) =>
    ['From: Someone <someone@example.net>', `Subject: ${subject}`, ...more, '', `text of ${subject}`].join('\r\n');

  /** Number after a word in an answer. */
  const number = (answer: string, word: string) => Number(new RegExp(`${word} \\(?(\\d+)`).exec(answer)?.[1]);

  /** All of a message in INBOX (or elsewhere), by a client of its own. */
  const arrived = (user: LocalUser, subject: string, mailbox = 'INBOX') =>
    waitFor(`"${subject}" in ${mailbox} of ${user.address}`, 30_000, async () => {
      const client = imapClient({ ...system().view, address: node().address }, user);
      await client.connect();
      try {
        if (!(await client.list()).some(({ path }) => path === mailbox)) return undefined;
        const { exists } = await client.mailboxOpen(mailbox, { readOnly: true });
        const messages = exists === 0 ? [] : await client.fetchAll('1:*', { envelope: true, source: true });
        return messages.find(({ envelope }) => envelope?.subject === subject)?.source;
      } finally {
        await client.logout().catch(() => client.close());
      }
    });

  const subjects = async (user: LocalUser, mailbox = 'INBOX') => {
    const client = await imap(user);
    const answer = await client.imap(`STATUS ${mailbox} (MESSAGES)`);
    if (number(answer, 'MESSAGES') === 0) return [];
    await client.imap(`EXAMINE ${mailbox}`);
    const headers = await client.imap('FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])');
    client.close();
    return [...headers.matchAll(/^Subject: (.*?)\r$/gm)].map(([, subject]) => subject);
  };

  describe.each(WAYS)('IMAP %s', (way) => {
    let user: LocalUser;
    let client: LineClient;

    beforeAll(async () => {
      user = await newUser();
    }, 60_000);

    beforeEach(async () => {
      client = await imap(user, way);
    });

    afterEach(() => client.close());

    /** A folder of its own for a test, selected, with messages. */
    const folder = async (...messages: string[]) => {
      const name = randomUUID();
      await client.imap(`CREATE ${name}`);
      for (const message of messages) await append(client, message, name);
      await client.imap(`SELECT ${name}`);
      return name;
    };

    // When this fails, Debian builds Dovecot with it: take the word about it out of README.md.
    test('IMAP4rev2 is not announced, and can not be enabled', async () => {
      expect(await client.imap('CAPABILITY')).not.toContain('IMAP4rev2');
      expect(await client.imap('ENABLE IMAP4rev2')).not.toMatch(/ENABLED.*IMAP4rev2/);
    });

    test('SASL-IR: a login takes one round trip', async () => {
      const other = await connect(nodeFor(user, way));
      expect(await other.imap(`AUTHENTICATE PLAIN ${base64(`\0${user.address}\0${user.password}`)}`)).not.toMatch(
        /^\+/m,
      );
      other.close();
    });

    test('LITERAL+: nobody waits before a literal', async () => {
      const other = await connect(nodeFor(user, way));
      const { address, password } = user;
      const login = `LOGIN {${address.length}+}\r\n${address} {${password.length}+}\r\n${password}`;
      expect(await other.imap(login)).not.toMatch(/^\+/m);
      expect(await append(other, letter('literal'), 'Drafts')).not.toMatch(/^\+/m);
      other.close();
    });

    test('SPECIAL-USE: folders are found by what they are for', async () => {
      const list = await client.imap('LIST (SPECIAL-USE) "" "*" RETURN (SPECIAL-USE)');
      expect(list.match(/^\* LIST /gm)).toHaveLength(5);
      expect(list).toMatch(/\\Junk.*Junk/);
    });

    test('UIDPLUS: who stores, copies or expunges knows which message', async () => {
      const name = await folder(letter('one'), letter('two'));
      expect(await append(client, letter('three'), name)).toMatch(/^a1 OK \[APPENDUID \d+ 3\]/m);
      await client.imap('UID STORE 1:2 +FLAGS.SILENT (\\Deleted)');
      expect(await client.imap('UID EXPUNGE 2')).toMatch(/^\* 2 EXPUNGE/m);
      expect(await client.imap('UID SEARCH ALL')).toMatch(/^\* SEARCH 1 3\r$/m);
      expect(await client.imap('UID COPY 3 Archive')).toMatch(/^a1 OK \[COPYUID \d+ 3 \d+\]/m);
    });

    test('MOVE: a message is in one folder at a time', async () => {
      const name = await folder(letter('stays'), letter('moves'));
      await client.imap(`CREATE ${name}/to`);
      const answer = await client.imap(`UID MOVE 2 ${name}/to`);
      expect(answer).toMatch(/^\* OK \[COPYUID \d+ 2 1\]/m);
      expect(answer).toMatch(/^\* 2 EXPUNGE/m);
      expect(number(await client.imap(`STATUS ${name}/to (MESSAGES)`), 'MESSAGES')).toBe(1);
    });

    test('CONDSTORE: changes are found by their number, and nobody overwrites the change of another', async () => {
      await folder(letter('one'), letter('two'));
      const before = number(await client.imap('FETCH 1 (MODSEQ)'), 'MODSEQ');
      const after = number(await client.imap('STORE 1 +FLAGS (\\Flagged)'), 'MODSEQ');
      expect(after).toBeGreaterThan(before);
      const changed = await client.imap(`FETCH 1:* (FLAGS) (CHANGEDSINCE ${after - 1})`);
      expect(changed).toMatch(/^\* 1 FETCH .*\\Flagged/m);
      expect(changed).not.toMatch(/^\* 2 FETCH/m);
      const refused = await client.ask(`a1 STORE 1 (UNCHANGEDSINCE ${before}) FLAGS (\\Answered)`, /^a1 /);
      expect(refused).toMatch(/^a1 OK \[MODIFIED 1\]/m);
      expect(await client.imap('FETCH 1 (FLAGS)')).not.toContain('\\Answered');
    });

    test('QRESYNC: a client that comes back is told what went and what changed', async () => {
      await client.imap('ENABLE QRESYNC');
      const name = await folder(letter('one'), letter('two'), letter('three'));
      const selected = await client.imap(`SELECT ${name}`);
      const [validity, modseq] = [number(selected, 'UIDVALIDITY'), number(selected, 'HIGHESTMODSEQ')];
      client.close();

      const other = await imap(
        user,
        WAYS.find((some) => some !== way)!,
      );
      await other.imap(`SELECT ${name}`);
      await other.imap('UID STORE 1 +FLAGS (\\Deleted)');
      await other.imap('EXPUNGE');
      await other.imap('UID STORE 3 +FLAGS (\\Flagged)');
      other.close();

      client = await imap(user, way);
      await client.imap('ENABLE QRESYNC');
      const back = await client.imap(`SELECT ${name} (QRESYNC (${validity} ${modseq}))`);
      expect(back).toMatch(/^\* VANISHED \(EARLIER\) 1\r$/m);
      expect(back).toMatch(/^\* \d+ FETCH \(UID 3 FLAGS \(.*\\Flagged/m);
      expect(back).not.toMatch(/FETCH \(UID 2 /);
    });

    test('COMPRESS=DEFLATE: the session goes on compressed', async () => {
      await folder(letter('big', `X-Padding: ${'x'.repeat(900)}`));
      expect(await client.imap('COMPRESS DEFLATE')).toMatch(/^a1 OK/m);
      client.startCompression();
      const before = client.bytesRead;
      expect(await client.imap('FETCH 1 (BODY.PEEK[])')).toContain('x'.repeat(900));
      expect(client.bytesRead - before).toBeLessThan(500);
      expect(await client.ask('a1 COMPRESS DEFLATE', /^a1 /)).toMatch(/^a1 (NO|BAD)/);
    });

    test('NOTIFY: a client is told of other folders than the one it has open', async () => {
      const name = await folder();
      await client.imap('SELECT INBOX');
      await client.imap('NOTIFY SET (personal (MessageNew MessageExpunge))');
      const other = await imap(user, way);
      await append(other, letter('news'), name);
      other.close();
      expect(await client.expect(/^\* STATUS /)).toMatch(new RegExp(`STATUS "?${name}"? .*MESSAGES 1`));
    });

    // When Dovecot can do it: announce it again (60-delivery.conf). RFC 6855.
    test('UTF8=ACCEPT is not announced, since 2.4.1 enables it and refuses what it allows; names and headers arrive', async () => {
      expect(await client.imap('CAPABILITY')).not.toContain('UTF8=ACCEPT');
      // Büro in modified UTF-7 (RFC 3501, 5.1.3).
      const name = `B&APw-ro-${randomUUID()}`;
      await client.imap(`CREATE ${name}`);
      await append(client, letter(GREETING), name);
      expect(await client.imap('LIST "" "*"')).toContain(name);
      await client.imap(`SELECT ${name}`);
      expect(await client.imap('FETCH 1 (BODY.PEEK[HEADER])')).toContain(latin1(GREETING));
      const search = `SEARCH CHARSET UTF-8 SUBJECT {${Buffer.byteLength('Žilina')}+}\r\nŽilina`;
      expect(await client.imap(search)).toMatch(/^\* SEARCH 1\r$/m);
    });

    test('BINARY: a part comes decoded', async () => {
      await folder(
        ['MIME-Version: 1.0', 'Content-Type: text/plain', 'Content-Transfer-Encoding: base64', '', base64('decoded')]
          .join('\r\n')
          .concat('\r\n'),
      );
      const answer = await client.imap('FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1])');
      expect(answer).toMatch(/BINARY\[1\] (~?\{7\}\r\n|")decoded/);
      expect(answer).toMatch(/BINARY\.SIZE\[1\] 7/);
    });

    test('PREVIEW: the beginning of the text without the message', async () => {
      await folder(letter('preview'));
      expect(await client.imap('FETCH 1 (PREVIEW)')).toMatch(/PREVIEW "?text of preview/);
    });

    test('SORT and THREAD: the server orders, also by subject and by who answered whom', async () => {
      await folder(
        letter('beta', 'Message-ID: <1@x>', 'Date: Mon, 02 Nov 2026 10:00:00 +0000'),
        letter('alpha', 'Message-ID: <2@x>', 'Date: Mon, 02 Nov 2026 09:00:00 +0000'),
        letter('Re: beta', 'Message-ID: <3@x>', 'In-Reply-To: <1@x>', 'Date: Mon, 02 Nov 2026 11:00:00 +0000'),
      );
      expect(await client.imap('SORT (SUBJECT) UTF-8 ALL')).toMatch(/^\* SORT 2 1 3\r$/m);
      expect(await client.imap('SORT (REVERSE DATE) UTF-8 ALL')).toMatch(/^\* SORT 3 1 2\r$/m);
      expect(await client.imap('THREAD REFERENCES UTF-8 ALL')).toMatch(/^\* THREAD \(2\)\(1 3\)\r$/m);
    });

    test('SEARCHRES: a result can be used in the next command', async () => {
      await folder(letter('one'), letter('two'));
      expect(await client.imap('SEARCH RETURN (SAVE COUNT) SUBJECT two')).toMatch(/COUNT 1/);
      expect(await client.imap('FETCH $ (UID)')).toMatch(/^\* 2 FETCH \(UID 2\)/m);
    });

    test('full-text search finds words in encoded text, however they are written', async () => {
      const text = Buffer.from('Die Straße nach Žilina ist gesperrt.\r\n').toString('base64');
      const type = 'Content-Type: text/plain; charset=utf-8';
      await folder(
        ['MIME-Version: 1.0', type, 'Content-Transfer-Encoding: base64', '', text].join('\r\n').concat('\r\n'),
        letter('another'),
      );
      for (const word of ['straße', 'ZILINA', 'gesperrt']) {
        const search = `SEARCH CHARSET UTF-8 BODY {${Buffer.byteLength(word)}+}\r\n${word}`;
        expect(await client.imap(search)).toMatch(/^\* SEARCH 1\r$/m);
      }
      expect(await client.imap('SEARCH BODY autobahn')).toMatch(/^\* SEARCH\r$/m);
    });
  });

  describe('SMTP', () => {
    /** A session on port 25, or logged in on 465, after EHLO. */
    const smtp = async (user?: LocalUser) => {
      if (!user) return LineClient.mx(node().address);
      const client = await connect(node(), 465);
      await client.ask('EHLO client.example.net', /^250 /);
      await client.ask(`AUTH PLAIN ${base64(`\0${user.address}\0${user.password}`)}`, /^235 /);
      return client;
    };

    test('SMTPUTF8: mail from and to addresses, and with headers, that are not ASCII', async () => {
      const [jürgen, bob] = [await newUser(`jürgen@${domain()}`), await newUser(`žofia@${domain()}`)];
      const transport = createTransport({
        host: node().address,
        port: 465,
        secure: true,
        tls: system().tls,
        auth: { user: jürgen.address, pass: jürgen.password },
      });
      const [from, to] = [`jürgen@${domain()}`, `žofia@${domain()}`];
      const subject = `${GREETING} ${randomUUID()}`;
      // Headers raw, as only SMTPUTF8 allows them (RFC 6532).
      const header = `From: Jürgen <${from}>\r\nTo: <${to}>\r\nSubject: ${subject}\r\n`;
      const raw = `${header}\r\n${GREETING}\r\n`;
      await transport.sendMail({ envelope: { from, to }, raw }).finally(() => transport.close());
      const message = (await arrived(bob, subject)).toString();
      expect(message).toContain(header);
      expect(message).toContain(`\r\n\r\n${GREETING}\r\n`);

      // From elsewhere, and in capitals, which are the same mailbox.
      const client = await smtp();
      await client.ask('MAIL FROM:<rené@example.net> SMTPUTF8', /^250 /);
      await client.ask(`RCPT TO:<JÜRGEN@${domain()}>`, /^250 /);
      await client.ask(`RCPT TO:<niemand-ü@${domain()}>`, /^550 5\.1\.1/);
      await client.ask('DATA', /^354 /);
      await client.ask(`From: <rené@example.net>\r\nSubject: ${subject}\r\n\r\n${GREETING}\r\n.`, /^250 /);
      client.close();
      expect((await arrived(jürgen, subject)).toString()).toContain('Return-Path: <rené@example.net>');
    });

    test('SMTPUTF8: nobody sends from the alias of another', async () => {
      const [, stranger] = [await newUser(`zoë@${domain()}`), await newUser()];
      const client = await smtp(stranger);
      await client.ask(`MAIL FROM:<zoë@${domain()}> SMTPUTF8`, /^250 /);
      await client.ask(`RCPT TO:<${system().bob.address}>`, /^553 5\.7\.1/);
      client.close();
    });

    test('CHUNKING: a message in pieces, whose lines nobody looks at, arrives as it was sent', async () => {
      const user = await newUser();
      const subject = randomUUID();
      const message = `From: someone@example.net\r\nSubject: ${subject}\r\n\r\n.\r\n..two\r\n.\r\nend\r\n`;
      const [first, second] = [message.slice(0, 60), message.slice(60)];
      const client = await smtp();
      await client.ask('MAIL FROM:<someone@example.net>', /^250 /);
      await client.ask(`RCPT TO:<${user.address}>`, /^250 /);
      client.write(`BDAT ${first.length}\r\n${first}`);
      await client.expect(/^250 /);
      client.write(`BDAT ${second.length} LAST\r\n${second}`);
      await client.expect(/^250 /);
      client.close();
      expect((await arrived(user, subject)).toString()).toMatch(/\r\n\r\n\.\r\n\.\.two\r\n\.\r\nend\r\n$/);
    });

    test('8BITMIME: eight bits arrive as they were sent', async () => {
      const user = await newUser();
      const subject = randomUUID();
      const client = await smtp();
      const message = `From: someone@example.net\r\nSubject: ${subject}\r\n\r\n${GREETING}`;
      expect(await client.mail('<someone@example.net> BODY=8BITMIME', user.address, message)).toMatch(/^250 /);
      client.close();
      expect((await arrived(user, subject)).toString()).toContain(`\r\n\r\n${GREETING}\r\n`);
    });

    test('DSN: who asks is told that the message is in the mailbox, with their own reference', async () => {
      const [sender, recipient] = [await newUser(), await newUser()];
      const client = await smtp(sender);
      const answer = await client.mail(
        `<${sender.address}> RET=HDRS ENVID=order-77`,
        `<${recipient.address}> NOTIFY=SUCCESS ORCPT=rfc822;original@example.net`,
        `From: ${sender.address}\r\nSubject: registered\r\n\r\nhello`,
      );
      expect(answer).toMatch(/^250 /);
      client.close();
      const report = (await arrived(sender, 'Successful Mail Delivery Report')).toString();
      expect(report).toMatch(/^Original-Envelope-Id: order-77\r$/m);
      expect(report).toMatch(/^Original-Recipient: rfc822;original@example\.net\r$/m);
      // To Postfix, Dovecot is a next hop that sends no reports of its own.
      expect(report).toMatch(/^Action: relayed\r$/m);
      expect(report).toMatch(/^Status: 2\.0\.0\r$/m);
    });

    test('PIPELINING: commands in one packet are answered in order', async () => {
      const client = await smtp();
      client.write(
        `MAIL FROM:<someone@example.net>\r\nRCPT TO:<${system().bob.address}>\r\n` +
          `RCPT TO:<nobody@${domain()}>\r\nRSET\r\nQUIT\r\n`,
      );
      const answers = await client.expect(/^221 /);
      expect(answers.match(/^\d{3}/gm)).toEqual(['250', '250', '550', '250', '221']);
      client.close();
    });

    test('SIZE: what is too large is refused before it is sent', async () => {
      const client = await smtp();
      const limit = Number(/SIZE (\d+)/.exec(await client.ask('EHLO client.example.net', /^250 /))?.[1]);
      expect(limit).toBeGreaterThanOrEqual(50 * 1024 * 1024);
      await client.ask(`MAIL FROM:<someone@example.net> SIZE=${limit + 1}`, /^552 5\.3\.4/);
      client.close();
    });
  });

  describe('addresses', () => {
    const mail = async (to: string, subject: string) => {
      const client = await LineClient.mx(node().address);
      const message = `From: someone@example.net\r\nTo: ${to}\r\nSubject: ${subject}\r\n\r\nhello`;
      expect(await client.mail('someone@example.net', to, message)).toMatch(/^250 /);
      client.close();
    };

    test('an alias leads to everybody who has it, and its details stay', async () => {
      const [one, other] = [await newUser(`team@${domain()}`), await newUser(`team@${domain()}`)];
      await mail(`team+sales@${domain()}`, 'for the team');
      for (const user of [one, other]) {
        const message = await arrived(user, 'for the team');
        expect(message.toString()).toContain(`Delivered-To: ${user.address.replace('@', '+sales@')}`);
      }
    });

    test('a catch-all gets what is nobody else’s, and nothing else', async () => {
      const [owner, other] = [await newUser(`@${domain()}`), await newUser()];
      try {
        await mail(`${randomUUID()}@${domain()}`, 'for whom it concerns');
        await arrived(owner, 'for whom it concerns');
        await mail(other.address.replace('@', '+detail@'), 'for one of us');
        await arrived(other, 'for one of us');
        expect(await subjects(owner)).toEqual(['for whom it concerns']);
      } finally {
        await system()
          .cluster.userDirectory()
          .update((file) => file.remove(owner.address));
        await sync();
      }
    });
  });

  describe.each(WAYS)('POP3 %s', (way) => {
    const pop = async (user: LocalUser) => {
      const client = await connect(nodeFor(user, way), 995);
      await client.ask(`USER ${user.address}`, /^\+OK/);
      await client.ask(`PASS ${user.password}`, /^\+OK/);
      return client;
    };

    test('UIDL, TOP, and deletes that count when the client says so', async () => {
      const user = await newUser();
      const filler = await imap(user);
      for (const subject of ['one', 'two']) await append(filler, `${letter(subject)}\r\nlast line\r\n`);

      const ids = async () => {
        const client = await pop(user);
        client.send('UIDL');
        const answer = await client.expect(/^\.$/);
        return { client, ids: [...answer.matchAll(/^\d+ (\S+)\r$/gm)].map(([, id]) => id) };
      };
      const first = await ids();
      expect(new Set(first.ids).size).toBe(2);
      first.client.send('TOP 2 1');
      const top = await first.client.expect(/^\.$/);
      expect(top).toContain('text of two');
      expect(top).not.toContain('last line');
      await first.client.ask('DELE 1', /^\+OK/);
      first.client.close(); // without QUIT (RFC 1939, 6)

      const second = await waitFor('the mailbox to be free', 20_000, ids);
      expect(second.ids).toEqual(first.ids);
      await second.client.ask('DELE 1', /^\+OK/);
      await second.client.ask('RSET', /^\+OK/);
      await second.client.ask('DELE 2', /^\+OK/);
      await second.client.ask('QUIT', /^\+OK/);
      second.client.close();
      expect(await subjects(user)).toEqual(['one']);
      filler.close();
    });

    test('TLS is there from the first byte: no STLS, and no port 110', async () => {
      const user = await newUser();
      const client = await connect(nodeFor(user, way), 995);
      client.send('CAPA');
      const capabilities = await client.expect(/^\.$/);
      expect(capabilities).not.toContain('STLS');
      expect(capabilities).toMatch(/^UIDL\r$/m);
      await client.ask('STLS', /^-ERR/);
      client.close();
      expect(await nodeFor(user, way).shell("ss -Hltn 'sport = :110'")).toBe('');
    });
  });

  describe.each(WAYS)('Sieve %s', (way) => {
    /** Makes the script the active one by ManageSieve. */
    const setScript = async (user: LocalUser, script: string) => {
      const sieve = await LineClient.tcp(nodeFor(user, way).address, 4190);
      await sieve.expect(/^OK/);
      await sieve.ask('STARTTLS', /^OK/);
      await sieve.startTls(system().tls);
      await sieve.expect(/^OK/);
      await sieve.ask(`AUTHENTICATE "PLAIN" "${base64(`\0${user.address}\0${user.password}`)}"`, /^OK/);
      await sieve.ask(`PUTSCRIPT "rules" {${Buffer.byteLength(script)}+}\r\n${script}`, /^OK/);
      await sieve.ask('SETACTIVE "rules"', /^OK/);
      sieve.close();
    };

    const deliver = async (sender: string, to: string, subject: string, ...headers: string[]) => {
      const client = await LineClient.mx(node().address);
      const header = [`From: ${sender || 'mailer-daemon@example.net'}`, `To: ${to}`, `Subject: ${subject}`, ...headers];
      expect(await client.mail(sender, to, [...header, '', 'hello'].join('\r\n'))).toMatch(/^250 /);
      client.close();
    };

    test('vacation answers each sender once, and no list and no notice', async () => {
      const [away, one, other] = [await newUser(), await newUser(), await newUser()];
      await setScript(away, 'require ["vacation"];\r\nvacation :days 7 :subject "away" "Back on Monday.";\r\n');
      await deliver('', away.address, 'a notice');
      await deliver(one.address, away.address, 'a list', 'List-Id: <list.example.net>');
      await deliver(one.address, away.address, 'automatic', 'Auto-Submitted: auto-generated');
      await deliver(one.address, away.address, 'first');
      await deliver(one.address, away.address, 'second');
      for (const subject of ['a notice', 'a list', 'automatic', 'first', 'second']) await arrived(away, subject);
      const answer = (await arrived(one, 'away')).toString();
      expect(answer).toContain('Back on Monday.');
      expect(answer).toMatch(/^Auto-Submitted: auto-replied/m);
      expect(answer).toMatch(/^Return-Path: <>\r$/m); // nobody answers an answer
      await deliver(other.address, away.address, 'third');
      await arrived(other, 'away');
      expect(await subjects(one)).toEqual(['away']);
      expect(await subjects(other)).toEqual(['away']);
    });

    test('redirect passes mail on, with a copy if asked, and ends loops', async () => {
      const [from, to] = [await newUser(), await newUser()];
      await setScript(from, `require ["copy"];\r\nredirect :copy "${to.address}";\r\n`);
      await setScript(to, `require ["copy"];\r\nredirect :copy "${from.address}";\r\n`);
      await deliver('someone@example.net', from.address, 'pass it on');
      await arrived(from, 'pass it on');
      await arrived(to, 'pass it on');
      // It came back once, and was let be.
      await waitFor('an empty queue', 30_000, async () =>
        (await node().shell('postqueue -p')).includes('Mail queue is empty') ? true : undefined,
      );
      expect((await subjects(to)).length).toBe(1);
      expect((await subjects(from)).length).toBeLessThanOrEqual(2);
    });

    test('mail goes to the folder that the detail of its address names', async () => {
      const user = await newUser();
      await setScript(
        user,
        [
          'require ["fileinto", "mailbox", "envelope", "subaddress", "variables"];',
          'if envelope :detail :matches "to" "*" { set :lower :upperfirst "folder" "${1}"; }',
          'if not string :is "${folder}" "" { fileinto :create "${folder}"; }',
          '',
        ].join('\r\n'),
      );
      await deliver('someone@example.net', user.address.replace('@', '+invoices@'), 'with a detail');
      await deliver('someone@example.net', user.address, 'without');
      await arrived(user, 'with a detail', 'Invoices');
      await arrived(user, 'without');
      expect(await subjects(user)).toEqual(['without']);
    });
  });
}
