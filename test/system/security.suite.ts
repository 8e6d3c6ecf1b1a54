import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type ConnectionOptions } from 'node:tls';
import { imapClient } from '../../local/mail-clients';
import { run, sleep, waitFor } from '../../local/run';
import { LineClient, ScramClient, base64, fromBase64 } from './line-client';
import type { System } from './system';

/** Where strangers connect from: a documentation network (RFC 5737), an address for each of them. */
const STRANGERS = '198.51.100';
/** On one address, Postfix and Dovecot would slow the later checks down for the earlier ones. */
let strangers = 0;

/** Nobody has it; it must not be found in a log. */
const WRONG_PASSWORD = `wrong-${randomUUID()}`;

const SMTP_PORTS = [25, 587, 465] as const;
type SmtpPort = (typeof SMTP_PORTS)[number];

/** What an attacker would try (A3, B7, C1, C4). TLS versions, groups and ciphers of each port are in tls.suite.ts. */
export function securitySuite(system: () => System): void {
  const node = () => system().cluster.nodes[0];
  const shell = (script: string) => node().shell(script, { timeout: 60_000 });
  const lines = async (script: string) => (await shell(script)).split('\n').filter(Boolean);
  const plain = (user: string, password: string) => base64(`\0${user}\0${password}`);

  const stranger = () => `${STRANGERS}.${1 + (strangers++ % 250)}`;
  const tcp = (port: number) => LineClient.tcp(node().address, port, stranger());
  const tls = (port: number) => {
    // It goes on to net.connect, though the types of tls.connect don't name it.
    const options: ConnectionOptions & { localAddress: string } = { ...system().tls, localAddress: stranger() };
    return LineClient.tls(node().address, port, options);
  };

  /** A session on an SMTP port after TLS and EHLO; logged in as Alice if asked. */
  const smtp = async (port: SmtpPort, loggedIn = false) => {
    const client = await (port === 465 ? tls(port) : tcp(port));
    await client.expect(/^220 /);
    await client.ask('EHLO client.example.net', /^250 /);
    if (port !== 465) {
      await client.ask('STARTTLS', /^220 /);
      await client.startTls(system().tls);
      await client.ask('EHLO client.example.net', /^250 /);
    }
    const { address, password } = system().alice;
    if (loggedIn) await client.ask(`AUTH PLAIN ${plain(address, password)}`, /^235 /);
    return client;
  };

  /** A ManageSieve session after TLS. */
  const sieve = async () => {
    const client = await tcp(4190);
    await client.expect(/^OK/);
    await client.ask('STARTTLS', /^OK/);
    await client.startTls(system().tls);
    await client.expect(/^OK/);
    return client;
  };

  /** Asks MAIL and RCPT in a session of its own; resolves to the first refusal, or to the last answer. */
  const envelope = async (port: SmtpPort, loggedIn: boolean, sender: string, recipient: string) => {
    const client = await smtp(port, loggedIn);
    try {
      const answer = await client.ask(`MAIL FROM:${sender}`, /^\d{3} /);
      return answer.startsWith('250') ? await client.ask(`RCPT TO:${recipient}`, /^\d{3} /) : answer;
    } finally {
      client.close();
    }
  };

  beforeAll(async () => {
    // The nodes' way back to it is their default route, which leads here.
    await run('ip', ['address', 'replace', `${STRANGERS}.0/24`, 'dev', 'lo']);
  });

  describe('open relay', () => {
    /** The victim at another site in every form that some server has once taken for a user of its own. */
    const victims = () => {
      const [ours] = system().cluster.domains;
      return [
        '<victim@example.org>',
        `<victim%example.org@${ours}>`,
        `<victim%example.org%example.net@${ours}>`,
        `<@${ours}:victim@example.org>`,
        `<@${ours},@example.net:victim@example.org>`,
        `<"victim@example.org"@${ours}>`,
        '<"victim@example.org">',
        `<"victim%example.org"@${ours}>`,
        `<example.org!victim@${ours}>`,
        '<example.org!victim>',
        `<${ours}!victim@example.org>`,
        `<victim@example.org@${ours}>`,
        '<victim@[192.0.2.1]>',
        `<victim%example.org@[${node().address}]>`,
        '<victim@>',
        '<@>',
        '<>',
      ];
    };
    const senders = () => [
      '<someone@example.net>',
      `<${system().alice.address}>`,
      '<>',
      '<@example.net:a@example.net>',
    ];

    test.each(SMTP_PORTS)('port %d takes nothing for others from who is not logged in', async (port) => {
      const accepted: string[] = [];
      for (const sender of senders()) {
        const answers = await Promise.all(victims().map((victim) => envelope(port, false, sender, victim)));
        answers.forEach((answer, index) => {
          if (!/^5\d\d /.test(answer)) accepted.push(`${sender} to ${victims()[index]}: ${answer}`);
        });
      }
      expect(accepted).toEqual([]);
    });

    test('port 25 takes what is for us, submission does not without a login', async () => {
      const { bob } = system();
      expect(await envelope(25, false, '<someone@example.net>', `<${bob.address}>`)).toMatch(/^250 /);
      for (const port of [587, 465] as const) {
        expect(await envelope(port, false, '<someone@example.net>', `<${bob.address}>`)).toMatch(/^5\d\d /);
      }
    });

    test.each([587, 465] as const)('port %d takes mail of who is logged in under their own name only', async (port) => {
      const { alice, bob, cluster } = system();
      const [ours] = cluster.domains;
      expect(await envelope(port, true, `<${alice.address}>`, '<someone@example.org>')).toMatch(/^250 /);
      const foreign = [
        `<${bob.address}>`,
        '<someone@example.net>',
        `<@${ours}:${bob.address}>`,
        `<bob%${ours}@${ours}>`,
        `<"bob"@${ours}>`,
        `<${bob.address.toUpperCase()}>`,
        `<bob+x@${ours}>`,
        `<nobody@${ours}>`,
      ];
      const answers = await Promise.all(foreign.map((sender) => envelope(port, true, sender, '<someone@example.org>')));
      expect(foreign.filter((_sender, index) => !/^5\d\d /.test(answers[index]))).toEqual([]);
    });

    test.each(SMTP_PORTS)('port %d believes nobody who says to be another client', async (port) => {
      const client = await smtp(port);
      for (const command of ['XCLIENT ADDR=127.0.0.1 LOGIN=alice', 'XFORWARD ADDR=127.0.0.1']) {
        expect(await client.ask(command, /^\d{3} /)).toMatch(/^5\d\d /);
      }
      client.close();
    });
  });

  describe('user enumeration', () => {
    interface Protocol {
      readonly name: string;
      /** Opens a session that waits for a login. */
      readonly open: () => Promise<LineClient>;
      /** What a client says to log in as the user, line by line. */
      readonly login: (user: string) => string[];
      /** The last line of each answer. */
      readonly answer: RegExp;
    }
    const greeted = async (session: Promise<LineClient>) => {
      const client = await session;
      await client.expect(/^(\* OK|\+OK)/);
      return client;
    };
    const protocols: Protocol[] = [
      {
        name: 'IMAP',
        open: () => greeted(tls(993)),
        login: (user) => [`a1 AUTHENTICATE PLAIN ${plain(user, WRONG_PASSWORD)}`],
        answer: /^a1 /,
      },
      {
        name: 'POP3',
        open: () => greeted(tls(995)),
        login: (user) => [`USER ${user}`, `PASS ${WRONG_PASSWORD}`],
        answer: /^(\+OK|-ERR)/,
      },
      {
        name: 'submission',
        open: () => smtp(587),
        login: (user) => [`AUTH PLAIN ${plain(user, WRONG_PASSWORD)}`],
        answer: /^\d{3} /,
      },
      {
        name: 'ManageSieve',
        open: sieve,
        login: (user) => [`AUTHENTICATE "PLAIN" "${plain(user, WRONG_PASSWORD)}"`],
        answer: /^(OK|NO|BYE)/,
      },
    ];

    /**
     * Logs in with a wrong password as Alice and as nobody in turn, each time from another address. Dovecot looks twice a
     * second for those whom it has kept waiting long enough: five attempts a second meet every phase of that, and since
     * five is odd both kinds do. A password is checked in less time than lies between two.
     */
    const compare = async ({ open, login, answer }: Protocol) => {
      const warmUp = 5;
      const clients = await Promise.all(Array.from({ length: warmUp + 20 }, open));
      const begin = Date.now();
      const attempts = clients.map(async (client, index) => {
        const known = index % 2 === 0;
        const said = login(known ? system().alice.address : `nobody${index % 8}@${system().cluster.domains[0]}`);
        await sleep(begin + 200 * index - Date.now());
        const sent = performance.now();
        let heard = '';
        for (const line of said) heard += await client.ask(line, answer);
        const milliseconds = performance.now() - sent;
        client.close();
        return { known, heard, milliseconds };
      });
      const all = (await Promise.all(attempts)).slice(warmUp);
      const mean = (known: boolean) => {
        const times = all.filter((attempt) => attempt.known === known).map(({ milliseconds }) => milliseconds);
        return times.reduce((sum, time) => sum + time) / times.length;
      };
      return { answers: new Set(all.map(({ heard }) => heard)), ratio: mean(false) / mean(true) };
    };

    test.each(protocols)(
      '$name refuses an unknown user in the words and the time of a wrong password',
      async (protocol) => {
        // A machine that was busy for a moment is not so three times; what comes from the program is.
        const ratios: number[] = [];
        do {
          const { answers, ratio } = await compare(protocol);
          expect([...answers]).toHaveLength(1);
          ratios.push(ratio);
        } while (Math.abs(ratios.at(-1)! - 1) > 0.05 && ratios.length < 3);
        expect(ratios.at(-1)).toBeGreaterThan(0.95);
        expect(ratios.at(-1)).toBeLessThan(1.05);
      },
    );

    describe('SCRAM', () => {
      /** Opens a session on 993, asks for a challenge, answers it with a wrong password. */
      const exchange = async (user: string, on = node()) => {
        const options: ConnectionOptions & { localAddress: string } = { ...system().tls, localAddress: stranger() };
        const client = await LineClient.tls(on.address, 993, options);
        await client.expect(/^\* OK/);
        const scram = new ScramClient(user, WRONG_PASSWORD);
        const first = `a1 AUTHENTICATE SCRAM-SHA-256 ${base64(scram.first())}`;
        const sent = performance.now();
        const answer = await client.ask(first, /^(\+|a1) /);
        const milliseconds = performance.now() - sent;
        const challenge = fromBase64(answer.trim().slice(2));
        const [, salt, rounds] = /,s=([^,]*),i=(\d+)$/.exec(challenge) ?? [];
        const finish = async () => {
          const refusal = await client.ask(base64(scram.final(challenge)), /^(\+|a1) /);
          client.close();
          return refusal;
        };
        return { salt, rounds, milliseconds, finish, close: () => client.close() };
      };
      const nobody = (number = 0) => `nobody${number}@${system().cluster.domains[0]}`;
      const saltOf = async (user: string, on = node()) => {
        const { salt, close } = await exchange(user, on);
        close();
        return salt;
      };

      test('nobody gets a challenge like a user, and the same refusal', async () => {
        const [known, unknown] = [await exchange(system().alice.address), await exchange(nobody())];
        expect(known.salt).toMatch(/^[A-Za-z0-9+/]{22}==$/);
        expect(unknown.salt).toMatch(/^[A-Za-z0-9+/]{22}==$/);
        expect(unknown.rounds).toBe(known.rounds);
        const refusals = await Promise.all([known.finish(), unknown.finish()]);
        expect(refusals[0]).toMatch(/^a1 NO \[AUTHENTICATIONFAILED\]/);
        expect(refusals[1]).toBe(refusals[0]);
      });

      test('the challenge of a name has always the same salt, on each node, and each name has its own', async () => {
        const salts = [await saltOf(nobody(1)), await saltOf(nobody(1).toUpperCase())];
        for (const each of system().cluster.nodes) salts.push(await saltOf(nobody(1), each));
        expect(new Set(salts).size).toBe(1);
        expect(await saltOf(nobody(2))).not.toBe(salts[0]);
        // Not a hash that anybody can compute.
        expect(Buffer.from(salts[0], 'base64').toString('latin1')).not.toMatch(/^[\x20-\x7e]*$/);
      });

      test('who may not log in by a password is like nobody', async () => {
        const [domain] = system().cluster.domains;
        const users = [`scram-gone@${domain}`, `scram-away@${domain}`];
        const directory = system().cluster.userDirectory();
        await directory.update((file) => {
          for (const user of users) file.add(user, `${user}-has-a-password`);
          file.setEnabled(users[0], false);
          file.requireSecondFactor(users[1], true);
        });
        try {
          await shell('systemctl start mail-directory-sync.service');
          const salts = [await saltOf(users[0]), await saltOf(users[1]), await saltOf(nobody(3))];
          for (const salt of salts) expect(salt).toMatch(/^[A-Za-z0-9+/]{22}==$/);
          expect(new Set(salts).size).toBe(3);
        } finally {
          await directory.update((file) => users.forEach((user) => file.remove(user)));
          await shell('systemctl start mail-directory-sync.service');
        }
        // As before, and as after: the name alone decides.
        expect(await saltOf(users[0])).toMatch(/^[A-Za-z0-9+/]{22}==$/);
      });

      test('who knows the verifier of nobody can not log in with it', async () => {
        const client = await tls(993);
        await client.expect(/^\* OK/);
        const first = `n=${nobody(4)},r=${randomUUID()}`;
        const answer = await client.ask(`a1 AUTHENTICATE SCRAM-SHA-256 ${base64(`n,,${first}`)}`, /^(\+|a1) /);
        const challenge = fromBase64(answer.trim().slice(2));
        const final = `c=biws,r=${/^r=(.*),s=/.exec(challenge)![1]}`;
        // The stored key is 32 zeros (scram.lua), and so is the client's key here: right if it were compared without a hash.
        const signature = createHmac('sha256', Buffer.alloc(32))
          .update(`${first},${challenge},${final}`)
          .digest('base64');
        expect(await client.ask(base64(`${final},p=${signature}`), /^(\+|a1) /)).toMatch(
          /^a1 NO \[AUTHENTICATIONFAILED\]/,
        );
        client.close();
      });

      test('the challenge of nobody takes as long as that of a user', async () => {
        // In turns: what else the machine does meets both alike.
        const times = { known: [] as number[], nobody: [] as number[] };
        for (let index = 0; index < 100; index++) {
          const kind = index % 2 === 0 ? 'known' : 'nobody';
          const { milliseconds, close } = await exchange(kind === 'known' ? system().alice.address : nobody(index));
          close();
          times[kind].push(milliseconds);
        }
        const median = (all: number[]) => all.sort((a, b) => a - b)[all.length / 2];
        const ratio = median(times.nobody) / median(times.known);
        expect(ratio).toBeGreaterThan(0.8);
        expect(ratio).toBeLessThan(1.2);
      }, 60_000);
    });

    test.each(SMTP_PORTS)('VRFY and EXPN on port %d tell nothing', async (port) => {
      const client = await smtp(port);
      for (const command of ['VRFY', 'EXPN']) {
        const [known, unknown] = [
          await client.ask(`${command} ${system().alice.address}`, /^\d{3} /),
          await client.ask(`${command} nobody@${system().cluster.domains[0]}`, /^\d{3} /),
        ];
        expect(known).toMatch(/^50\d /);
        expect(unknown).toBe(known);
      }
      client.close();
    });

    test.each([587, 465] as const)('RCPT on port %d tells nothing without a login', async (port) => {
      const { alice, cluster } = system();
      const answers = await Promise.all(
        [alice.address, `nobody@${cluster.domains[0]}`].map(async (address) =>
          (await envelope(port, false, '<someone@example.net>', `<${address}>`)).replace(address, 'ADDRESS'),
        ),
      );
      expect(answers[0]).toMatch(/^5\d\d /);
      expect(answers[1]).toBe(answers[0]);
    });

    test('port 25, which has to say who is unknown, hangs up on who asks for many', async () => {
      const client = await smtp(25);
      await client.ask('MAIL FROM:<someone@example.net>', /^250 /);
      let asked = 0;
      let answer: string;
      do {
        answer = await client.ask(`RCPT TO:<nobody${asked++}@${system().cluster.domains[0]}>`, /^\d{3} /);
      } while (!answer.startsWith('421') && asked < 20);
      expect(answer).toMatch(/^421 /);
      expect(asked).toBeLessThanOrEqual(11);
      client.close();
    }, 30_000);
  });

  // RFC 3207 section 6, CVE-2011-0411.
  describe('STARTTLS command injection', () => {
    test.each([25, 587])('port %d does not answer under TLS what came ahead of it', async (port) => {
      const client = await tcp(port);
      await client.expect(/^220 /);
      await client.ask('EHLO client.example.net', /^250 /);
      await client.ask('STARTTLS\r\nEHLO injected.example.net\r\nHELP injected', /^220 /);
      await client.startTls(system().tls);
      expect(await client.ask('NOOP', /^\d{3} /)).toBe('250 2.0.0 Ok\r\n');
      client.close();
    });

    test('port 4190 hangs up on who sends ahead of TLS', async () => {
      const client = await tcp(4190);
      await client.expect(/^OK/);
      await client.ask('STARTTLS\r\nNOOP "injected"', /^OK/);
      await expect(client.startTls(system().tls)).rejects.toThrow(/disconnected|ECONNRESET|alert internal error/);
      client.close();
    });
  });

  // https://www.postfix.org/smtp-smuggling.html, CVE-2023-51764.
  describe('SMTP smuggling', () => {
    const endings = [
      ...['\n.\n', '\n.\r\n', '\r\n.\n', '\r.\r', '\r.\r\n', '\r\n.\r', '\n.\r', '\r.\n', '\r\r\n.\r\r\n'],
      ...['\r\n\0.\r\n', '\r\n.\0\r\n', '\n\n.\n\n'],
    ];

    test.each(SMTP_PORTS)(
      'port %d takes one message for one, and that is what arrives',
      async (port) => {
        const { alice, bob } = system();
        const id = randomUUID();
        const sender = port === 25 ? 'someone@example.net' : alice.address;
        const accepted: string[] = [];
        const send = async (name: string, ending: string, chunk: boolean) => {
          const client = await smtp(port, port !== 25);
          await client.ask(`MAIL FROM:<${sender}>`, /^250 /);
          await client.ask(`RCPT TO:<${bob.address}>`, /^250 /);
          const message =
            `From: ${sender}\r\nSubject: ${id} outer ${name}\r\n\r\nhello${ending}` +
            `MAIL FROM:<${sender}>\r\nRCPT TO:<${bob.address}>\r\nDATA\r\nSubject: ${id} smuggled ${name}\r\n\r\nend of ${name}`;
          if (chunk) {
            client.send(`BDAT ${message.length + 2} LAST\r\n${message}`);
          } else {
            await client.ask('DATA', /^354 /);
            client.send(`${message}\r\n.`);
          }
          // Another command after the answer would be part of the message if the message had not ended.
          const answer = await client.expect(/^\d{3} /);
          const rest = await client.ask('QUIT', /^221 /).catch((error: Error) => error.message);
          client.close();
          if (answer.startsWith('250')) {
            expect(rest).toMatch(/^221 /);
            accepted.push(name);
          } else {
            expect(answer).toMatch(/^5\d\d /);
          }
        };
        await send('plain', '\r\n', false);
        expect(accepted).toEqual(['plain']);
        for (const [index, ending] of endings.entries()) {
          await send(`DATA-${index}`, ending, false);
          await send(`BDAT-${index}`, ending, true);
        }

        const outer = accepted.map((name) => `${id} outer ${name}`).sort();
        const messages = await waitFor('what was accepted to arrive', 30_000, async () => {
          const found = (await read(system(), id)).sort((a, b) => (a.subject < b.subject ? -1 : 1));
          return found.length >= outer.length ? found : undefined;
        });
        expect(messages.map(({ subject }) => subject)).toEqual(outer);
        // The whole of it: not cut off at the dot on the way to the mailbox either.
        for (const { subject, source } of messages) expect(source).toContain(`end of ${subject.split(' ').at(-1)}`);
      },
      60_000,
    );
  });

  describe('in clear', () => {
    test.each([143, 110, 2000, 10143])('nothing listens on port %d', async (port) => {
      expect(await shell(`ss -Hltn sport = :${port}`)).toBe('');
    });

    test.each([993, 995, 465])('port %d says nothing', async (port) => {
      const client = await tcp(port);
      client.send('a1 CAPABILITY');
      await expect(client.expect(/./)).rejects.toThrow(/got ""|alert/);
      client.close();
    });

    test.each([25, 587])('port %d neither offers nor takes a login', async (port) => {
      const { address, password } = system().alice;
      const client = await tcp(port);
      await client.expect(/^220 /);
      expect(await client.ask('EHLO client.example.net', /^250 /)).not.toMatch(/AUTH/);
      for (const command of [`AUTH PLAIN ${plain(address, password)}`, 'AUTH LOGIN', 'AUTH SCRAM-SHA-256']) {
        expect(await client.ask(command, /^\d{3} /)).toMatch(/^(503|530|538) /);
      }
      if (port === 587) await client.ask(`MAIL FROM:<${address}>`, /^530 /);
      client.close();
    });

    test('port 25 takes no login under TLS either', async () => {
      const { address, password } = system().alice;
      const client = await smtp(25);
      expect(await client.ask('EHLO client.example.net', /^250 /)).not.toMatch(/AUTH/);
      await client.ask(`AUTH PLAIN ${plain(address, password)}`, /^503 /);
      client.close();
    });

    test('port 4190 neither offers nor takes a login', async () => {
      const { address, password } = system().alice;
      const client = await tcp(4190);
      expect(await client.expect(/^OK/)).toMatch(/"SASL" ""/);
      await client.ask(`AUTHENTICATE "PLAIN" "${plain(address, password)}"`, /^(NO|BYE)/);
      client.close();
    });
  });

  describe('on the node', () => {
    const CODE =
      '/opt/mail-platform /etc/mail-platform /etc/postfix /etc/dovecot /etc/nftables.conf /etc/systemd/system';

    /** What is secret: of people, of nodes, of TLS. */
    const secrets = async () => [
      ...system().cluster.users.map(({ password }) => password),
      WRONG_PASSWORD,
      (await shell('cat /etc/dovecot/node-password')).trim(),
      (await lines('grep -v -e ----- /etc/mail-platform/tls/key.pem'))[0],
      ...(await lines("grep -o '{[A-Z0-9-]*}[^:]*' /etc/dovecot/users")),
    ];

    test('private keys and password files are closed to all others', async () => {
      const keys = await lines(
        "grep -rlsI -e '-----BEGIN .*PRIVATE KEY' /etc /opt /var/lib /srv/mail-store/certificates /run/mail-platform || true",
      );
      expect(keys).toContain((await shell('realpath /etc/mail-platform/tls/key.pem')).trim());
      const closed = [
        ...keys,
        '/etc/dovecot/users',
        '/etc/dovecot/scram-users',
        '/etc/dovecot/nodes',
        '/etc/dovecot/node-password',
      ];
      for (const user of ['nobody', 'mail-agent', 'mail-journal', 'vmail', 'postfix']) {
        const readable = `for file in ${closed.join(' ')}; do ! test -r "$file" || echo "$file"; done`;
        const command = `setpriv --reuid=${user} --regid=${user} --clear-groups bash -c '${readable}'`;
        expect([user, await lines(command.replace('--regid=nobody', '--regid=nogroup'))]).toEqual([user, []]);
      }
      expect(await lines(`find ${closed.join(' ')} -perm /o=rwx`)).toEqual([]);
      // Each user's own as well: one mailbox is all that a session may see.
      expect(await lines('find /srv/mail-store/mail -maxdepth 2 -perm /o=rwx')).toEqual([]);
    });

    test('what runs and how it is configured is for root alone to change', async () => {
      expect(await lines(`find ${CODE} ! -type l \\( ! -user root -o -perm /o=w \\)`)).toEqual([]);
      expect(await lines(`find ${CODE} ! -type l -perm /g=w ! -group root`)).toEqual([]);
    });

    test('nothing is open for everybody to write, and no program of ours changes its user', async () => {
      expect(await lines('find / -xdev -type f -perm /o=w -not -path "/proc/*" -not -path "/sys/*"')).toEqual([]);
      expect(await lines('find / /run /srv/mail-store -xdev -type d -perm /o=w ! -perm -1000')).toEqual([]);
      const privileged = await lines('find / /run /srv/mail-store -xdev -type f -perm /6000');
      expect(privileged).toContain('/usr/sbin/postdrop');
      const foreign = `for file in ${privileged.join(' ')}; do dpkg --search "$file" >/dev/null 2>&1 || echo "$file"; done`;
      expect(await lines(foreign)).toEqual([]);
      expect(await lines('find / -xdev -type f -path "*mail-platform*" -exec getcap {} + 2>/dev/null')).toEqual([]);
    });

    test('the environment file has names of secrets, no secrets', async () => {
      const environment = await shell('cat /etc/mail-platform/env');
      for (const secret of await secrets()) expect(environment).not.toContain(secret);
    });

    test('no process shows a secret in its arguments or environment, and no log has one', async () => {
      const wanted = await secrets();
      expect(wanted.length).toBeGreaterThan(6);
      expect(Math.min(...wanted.map((secret) => secret.length))).toBeGreaterThan(10);
      // By standard input: a pattern among the arguments would find itself.
      const search = async (where: string) => {
        const { stdout } = await node().exec(['bash', '-c', where], {
          input: `${wanted.join('\n')}\n`,
          timeout: 60_000,
        });
        return stdout;
      };
      expect(await search('grep -lF -f /dev/stdin /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true')).toBe(
        '',
      );
      expect(
        await search('exec 3<&0; journalctl --no-pager --output=cat </dev/null | grep -F -f /dev/fd/3 || true'),
      ).toBe('');
      expect(await search('grep -rlF -f /dev/stdin /var/log --exclude-dir=journal || true')).toBe('');
      // The journal was really read: it knows who failed.
      expect(await shell('journalctl --no-pager --output=cat | grep -c auth')).not.toBe('0\n');
    });

    test('a password is nowhere in clear', async () => {
      const { cluster } = system();
      const found = `grep -rlF '${cluster.users[0].password}' /etc /opt/mail-platform /var/lib/cloud /srv/mail-store /run 2>/dev/null || true`;
      expect(await shell(found)).toBe('');
      expect(readFileSync(`${cluster.folder}/${node().name}.log`, 'utf8')).not.toContain(cluster.users[0].password);
    });

    test('each unit of ours has an exposure of 3.0 or less', async () => {
      const own = await lines('cd /etc/systemd/system && ls -d mail-*.service');
      const units = [...own.map((unit) => unit.replace('@.', '@i-1.')), 'postfix.service', 'dovecot.service'];
      const report = await shell(`systemd-analyze security --no-pager ${units.join(' ')} | grep Overall`);
      const exposures = [...report.matchAll(/level for (\S+): ([0-9.]+)/g)].map(([, unit, score]) => ({ unit, score }));
      expect(exposures.map(({ unit }) => unit).sort()).toEqual(units.sort());
      expect(units.length).toBeGreaterThan(15);
      // It unmounts the store for the whole machine, so it can't have mounts of its own.
      const limit = (unit: string) => (unit === 'mail-remount.service' ? 5 : 3);
      expect(exposures.filter(({ unit, score }) => Number(score) > limit(unit))).toEqual([]);
    });
  });
}

/** Messages in Bob's INBOX whose subject has the id. */
async function read({ view, bob }: System, id: string): Promise<{ subject: string; source: string }[]> {
  const client = imapClient(view, bob);
  await client.connect();
  try {
    await client.mailboxOpen('INBOX', { readOnly: true });
    const found: { subject: string; source: string }[] = [];
    for await (const message of client.fetch('1:*', { envelope: true, source: true })) {
      const subject = message.envelope?.subject ?? '';
      if (subject.includes(id)) found.push({ subject, source: String(message.source) });
    }
    return found;
  } finally {
    await client.logout().catch(() => client.close());
  }
}
