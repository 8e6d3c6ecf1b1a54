import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { openSync } from 'node:fs';
import * as path from 'node:path';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { CreateSecretCommand, PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { App, Stack } from 'aws-cdk-lib';
import { createTransport, type SendMailOptions } from 'nodemailer';
import { newPrivateKey, publishedText } from '../../handlers/dkim-rotation/private-key';
import { dkimText } from '../../lib/dns/dkim-text';
import { FilterOutage, MailFiltering, MailFilteringOptions } from '../../lib/filtering';
import { imapClient } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import { run, sleep, start, waitFor } from '../../local/run';
import { CLAMD_ANSWERS, CONTROLLER, EICAR, GTUBE, INSTALL_SIGNATURE, RSPAMD_ANSWERS } from '../support/filter';
import { takenBySes, type Taken } from '../support/ses-mail';
import { LineClient } from './line-client';
import type { System } from './system';

/** Where others send from: a documentation network (RFC 5737). Their name server, and the server that gets our mail. */
const OTHERS = '203.0.113';
const NAMES = `${OTHERS}.53`;
const OUTSIDE = `${OTHERS}.25`;
const OUTSIDE_PORT = 12525;
/** Who may send for good.example.net, as its SPF record says, and who may not. */
const GOOD = `${OTHERS}.10`;
const BAD = `${OTHERS}.66`;
const TO = 'someone@outside.example.org';
/** One of whom nothing is known. */
const UNKNOWN = `${OTHERS}.80`;

/** Messages of each kind from which on rspamd's statistics count; 200 without the tests. */
const LEARNED = 20;

/** Spam, viruses and forged senders stay out, our own mail is signed, and users teach the filter (B8, A14). */
export function filteringSuite(system: () => System): void {
  const nodes = () => system().cluster.nodes;
  const node = () => nodes()[0];
  const shell = (script: string, input?: string) =>
    node()
      .exec(['bash', '-c', script], { timeout: 120_000, input })
      .then(({ stdout }) => stdout);
  const on = (some: LocalNode[], script: string) =>
    Promise.all(some.map((each) => each.shell(script, { timeout: 240_000 })));
  const onAll = (script: string) => on(nodes(), script);
  const controller = (request: string) => shell(`curl -sf --unix-socket ${CONTROLLER} http://localhost/${request}`);

  const senderKey = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ourKeys = [1, 2].map((number) => ({
    selector: `mail${number}`,
    privateKey: newPrivateKey(),
    createdAt: '2026-11-01T00:00:00Z',
  }));
  let secrets: SecretsManagerClient;
  let secretArn: string;
  let names: ReturnType<typeof start>;

  /** Has nodes sign, and filter as a construct with these properties says, if any. */
  const filter = async (props?: MailFilteringOptions, some = [node()]) => {
    const environment =
      props && new MailFiltering(new Stack(new App(), 'Stack'), 'Filtering', props).configuration.environment;
    const lines = Object.entries({ ...environment, MAIL_DKIM_SECRET: secretArn }).map((entry) => entry.join('='));
    await on(
      some,
      `cat /var/tmp/env-before >/etc/mail-platform/env && printf '%s\\n' ${lines.join(' ')} >>/etc/mail-platform/env &&` +
        `bash /opt/mail-platform/bootstrap.sh 2>&1 && { ${RSPAMD_ANSWERS}; }`,
    );
    await Promise.all(some.map((each) => each.ready(60_000)));
  };

  /** A message of somebody outside, as it comes to port 25. */
  const fromOutside = async (message: SendMailOptions & { client?: string; sender?: string; at?: LocalNode }) => {
    const { client = GOOD, sender = 'someone@good.example.net', at = node(), ...rest } = message;
    const transport = createTransport({
      host: at.address,
      port: 25,
      name: client === GOOD ? 'mx.good.example.net' : 'host66.example.net',
      localAddress: client,
      ignoreTLS: true,
    });
    await transport
      .sendMail({
        envelope: { from: sender, to: system().bob.address },
        ...(rest.raw ? {} : { from: `Someone <${sender}>`, to: system().bob.address, text: LETTER }),
        ...rest,
      })
      .finally(() => transport.close());
  };

  const submit = async (message: SendMailOptions, port = 587) => {
    const { tls, alice } = system();
    const transport = createTransport({
      host: node().address,
      port,
      secure: port === 465,
      requireTLS: true,
      tls,
      auth: { user: alice.address, pass: alice.password },
    });
    await transport.sendMail({ from: alice.address, text: LETTER, ...message }).finally(() => transport.close());
  };

  /** Bob's message with the subject: its folder and all of it. */
  const arrived = (subject: string) =>
    waitFor(`"${subject}" to arrive`, 40_000, async () => {
      const { view, bob } = system();
      const client = imapClient(view, bob);
      await client.connect();
      try {
        for (const folder of ['INBOX', 'Junk']) {
          await client.mailboxOpen(folder, { readOnly: true });
          const found = await client.search({ header: { subject } });
          if (!found || found.length === 0) continue;
          const message = await client.fetchOne(`${found[0]}`, { source: true });
          if (message) return { folder, source: String(message.source) };
        }
        return undefined;
      } finally {
        await client.logout().catch(() => client.close());
      }
    });

  /** What the node says of the sender of a message that arrived. */
  const verdict = async (subject: string) => {
    const { source } = await arrived(subject);
    const [header] = /^Authentication-Results: mail\.example\.com;[^]*?(?=\r\n\S)/m.exec(source) ?? ['nothing'];
    return header.replace(/\s+/g, ' ');
  };

  /** rspamd's line about a message. */
  const logged = (id: string, at: LocalNode) =>
    waitFor(`${id} in rspamd's log`, 20_000, async () => {
      const lines = await at.shell(
        `journalctl -u rspamd --no-pager --output=cat --since=-5min | grep -F '${id}' || true`,
      );
      return lines.includes('(default:') ? lines : undefined;
    });

  /** A message signed for good.example.net. */
  const signed = async (subject: string, headers: { from?: string } = {}) => {
    const transport = createTransport({
      streamTransport: true,
      buffer: true,
      newline: 'windows',
      dkim: {
        domainName: 'good.example.net',
        keySelector: 's1',
        privateKey: senderKey.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      },
    });
    const { message } = await transport.sendMail({
      from: 'Someone <someone@good.example.net>',
      to: system().bob.address,
      subject,
      text: LETTER,
      ...headers,
    });
    return String(message);
  };

  /** A message as the server outside got it. */
  const outside = (subject: string) =>
    waitFor(`"${subject}" outside`, 60_000, async () => {
      const file = (await shell(`grep -lF '${subject}' /var/tmp/outside/* || true`)).trim();
      return file === '' ? undefined : shell(`cat ${file}`);
    });

  /** What an independent verifier says, given the record of the selector. */
  const verifies = (message: string, record: string) =>
    shell(
      `python3 -c 'import dkim, sys; print(dkim.verify(sys.stdin.buffer.read(), dnsfunc=lambda name, timeout=5: sys.argv[1].encode()))' '${record}'`,
      message,
    );

  beforeAll(async () => {
    const { cluster } = system();
    secrets = new SecretsManagerClient(cluster.aws.client);
    const { ARN } = await secrets.send(
      new CreateSecretCommand({ Name: 'signing-key', SecretString: JSON.stringify(ourKeys[0]) }),
    );
    secretArn = ARN!;
    // The nodes' way back to it is their default route, which leads here.
    await run('ip', ['address', 'replace', `${OTHERS}.0/24`, 'dev', 'lo']);
    const texts = {
      'good.example.net': `v=spf1 ip4:${GOOD} -all`,
      '_dmarc.good.example.net': 'v=DMARC1; p=none',
      's1._domainkey.good.example.net': dkimText(senderKey.publicKey),
      'strict.example.net': `v=spf1 ip4:${GOOD} -all`,
      '_dmarc.strict.example.net': 'v=DMARC1; p=reject',
      'aside.example.net': `v=spf1 ip4:${GOOD} -all`,
      '_dmarc.aside.example.net': 'v=DMARC1; p=quarantine',
    };
    names = start(
      'dnsmasq',
      [
        ...['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--user=root', '--pid-file='],
        ...[`--listen-address=${NAMES}`, '--bind-interfaces', `--server=${cluster.plan.gateway}`],
        ...Object.entries(texts).map(([name, text]) => `--txt-record=${name},${text.match(/.{1,250}/g)!.join(',')}`),
        ...['good', 'strict', 'aside'].map((name) => `--mx-host=${name}.example.net,mx.good.example.net,10`),
        ...[`--host-record=mx.good.example.net,${GOOD}`, `--host-record=host66.example.net,${BAD}`],
        ...[`--host-record=outside.example.org,${OUTSIDE}`, '--mx-host=outside.example.org,outside.example.org,10'],
      ],
      openSync(path.join(cluster.folder, 'dnsmasq-others.log'), 'a'),
    );
    await onAll(
      `cp /etc/resolv.conf /var/tmp/resolv-before; echo 'nameserver ${NAMES}' >/etc/resolv.conf;` +
        `cp /etc/mail-platform/env /var/tmp/env-before; ${INSTALL_SIGNATURE};` +
        `printf 'min_learns = ${LEARNED};\\n' >/etc/rspamd/override.d/classifier-bayes.conf`,
    );
    await filter({}, nodes());
    // The server outside: Postfix's own sink, which keeps each message in a file.
    await shell(
      `install -d -o nobody /var/tmp/outside; nft 'add table ip outside; add chain ip outside out { type nat hook output priority -100; };` +
        ` add rule ip outside out ip daddr ${OUTSIDE} tcp dport 25 redirect to :${OUTSIDE_PORT}';` +
        `systemd-run --quiet --unit=outside --collect smtp-sink -u nobody -d /var/tmp/outside/m. 127.0.0.1:${OUTSIDE_PORT} 10`,
    );
    // A client that postscreen does not know yet waits for six seconds.
    const seen = [GOOD, BAD, UNKNOWN].map((client) => LineClient.tcp(node().address, 25, client));
    await Promise.all([
      onAll(CLAMD_ANSWERS),
      ...seen.map((session) => session.then((client) => client.expect(/^220 /).finally(() => client.close()))),
    ]);
  }, 300_000);

  afterAll(async () => {
    secrets?.destroy();
    await shell('systemctl stop outside; nft delete table ip outside; postsuper -d ALL 2>&1 || true');
    await onAll(
      'cp /var/tmp/env-before /etc/mail-platform/env; cp /var/tmp/resolv-before /etc/resolv.conf; rm -f /etc/rspamd/override.d/{greylist,classifier-bayes}.conf;' +
        'bash /opt/mail-platform/bootstrap.sh 2>&1; postfix reload 2>&1',
    );
    names?.kill('SIGKILL');
  }, 120_000);

  describe('who the sender is', () => {
    test('SPF and DKIM of a good sender pass, and DMARC with them', async () => {
      const subject = randomUUID();
      await fromOutside({ raw: await signed(subject) });
      expect(await verdict(subject)).toMatch(/dkim=pass .*header\.d=good\.example\.net/);
      expect(await verdict(subject)).toMatch(/spf=pass .*smtp\.mailfrom=someone@good\.example\.net/);
      expect(await verdict(subject)).toMatch(/dmarc=pass/);
      expect((await arrived(subject)).folder).toBe('INBOX');
    });

    test('SPF fails for another address', async () => {
      const subject = randomUUID();
      await fromOutside({ raw: await signed(subject), client: BAD });
      expect(await verdict(subject)).toMatch(/spf=fail/);
    });

    test('DKIM fails for a message that was changed', async () => {
      const subject = randomUUID();
      await fromOutside({ raw: (await signed(subject)).replace('second week', 'third week') });
      expect(await verdict(subject)).toMatch(/dkim=fail/);
    });

    test('a sender whose domain asks for it is refused when neither proves it', async () => {
      const forged = fromOutside({ subject: randomUUID(), client: BAD, sender: 'boss@strict.example.net' });
      await expect(forged).rejects.toThrow(/^Message failed: 554 5\.7\.1/);
    });

    test('a sender whose domain asks for that goes to Junk', async () => {
      const subject = randomUUID();
      await fromOutside({ subject, client: BAD, sender: 'boss@aside.example.net' });
      expect((await arrived(subject)).folder).toBe('Junk');
    });

    test('a verdict that comes with the message under our name is taken off', async () => {
      const subject = randomUUID();
      const lie = `Authentication-Results: ${system().cluster.hostname}; spf=pass smtp.mailfrom=lie@example.net\r\n`;
      await fromOutside({ raw: lie + (await signed(subject)) });
      expect((await arrived(subject)).source).not.toContain('lie@example.net');
    });
  });

  describe('spam', () => {
    test('is refused while its sender waits', async () => {
      const spam = fromOutside({ subject: randomUUID(), text: `${LETTER}\n${GTUBE}` });
      await expect(spam).rejects.toThrow(/^Message failed: 554 5\.7\.1/);
    });

    test('a client that talks before the greeting is refused, one that waits is not', async () => {
      const ask = async (client: string, early?: string) => {
        const session = await LineClient.tcp(node().address, 25, client);
        if (early) {
          session.send(early);
          await session.expect(/^250 /);
        } else {
          await session.expect(/^220 /);
          await session.ask('EHLO client.example.net', /^250 /);
        }
        await session.ask('MAIL FROM:<someone@good.example.net>', /^250 2\.1\.0/);
        const answer = await session.ask(`RCPT TO:<${system().bob.address}>`, /^(250 2\.1\.5|[45]\d\d) /);
        session.close();
        return answer;
      };
      const [early, late] = await Promise.all([ask(`${OTHERS}.77`, 'EHLO eager.example.net'), ask(`${OTHERS}.78`)]);
      expect(early).toMatch(/^550 5\.5\.1 Protocol error/m);
      expect(late).toMatch(/^250 /m);
    });
  });

  describe('viruses', () => {
    const virus = () => ({ subject: randomUUID(), attachments: [{ filename: 'invoice.com', content: EICAR }] });

    test('are refused from outside and from users', async () => {
      await expect(fromOutside(virus())).rejects.toThrow(
        /554 5\.7\.1 Refused: contains the virus .*Eicar-Test-Signature/,
      );
      await expect(submit({ ...virus(), to: system().bob.address })).rejects.toThrow(/554 5\.7\.1 .*virus/);
      await expect(submit({ ...virus(), to: system().bob.address }, 465)).rejects.toThrow(/554 5\.7\.1 .*virus/);
    });

    test('mail is taken while the scanner is away', async () => {
      await shell('systemctl stop mail-virus-scan.service');
      const subject = randomUUID();
      await fromOutside({ raw: await signed(subject) });
      expect((await arrived(subject)).folder).toBe('INBOX');
      await shell(`systemctl start mail-virus-scan.service; ${CLAMD_ANSWERS}`);
    });
  });

  describe('while rspamd is away', () => {
    test('mail is taken', async () => {
      await shell('systemctl stop rspamd.service');
      const subject = randomUUID();
      await fromOutside({ raw: await signed(subject) });
      expect((await arrived(subject)).folder).toBe('INBOX');
      await shell(`systemctl start rspamd.service; ${RSPAMD_ANSWERS}`);
    });

    test('systemd starts it again when it was killed, and spam is refused again', async () => {
      await shell('systemctl kill --signal=KILL rspamd.service');
      await waitFor('rspamd', 30_000, async () =>
        fromOutside({ subject: randomUUID(), text: GTUBE }).then(
          () => undefined,
          () => true,
        ),
      );
    });
  });

  describe('signatures', () => {
    test.each([587, 465])('mail of a user that leaves by port %d verifies with the published key', async (port) => {
      const subject = randomUUID();
      await submit({ subject, to: TO }, port);
      const message = await outside(subject);
      expect(message).toMatch(/^DKIM-Signature: [^]*?\bd=example\.com;[^]*?\bs=mail1;/m);
      expect(await verifies(message, publishedText(ourKeys[0]))).toBe('True\n');
      // The verifier can say no.
      expect(await verifies(message.replace('Kind regards', 'Kindest regards'), publishedText(ourKeys[0]))).toBe(
        'False\n',
      );
      expect(await verifies(message, publishedText(ourKeys[1]))).toBe('False\n');
    });

    test('what the node sends itself is signed, too', async () => {
      const subject = randomUUID();
      await shell(`sendmail -f '' ${TO}`, `From: bob@example.com\nTo: ${TO}\nSubject: ${subject}\n\nI am away.\n`);
      expect(await verifies(await outside(subject), publishedText(ourKeys[0]))).toBe('True\n');
    });

    test('what was found about a sender is sealed, for those to whom a user forwards it', async () => {
      const subject = randomUUID();
      await fromOutside({ raw: await signed(subject) });
      const { source } = await arrived(subject);
      expect(source).toMatch(/^ARC-Authentication-Results: i=1;[^]*?dmarc=pass/m);
      const chain = (message: string) =>
        shell(
          "python3 -c 'import dkim, sys; print(dkim.arc_verify(sys.stdin.buffer.read(), dnsfunc=lambda name, timeout=5: sys.argv[1].encode())[0])' " +
            `'${publishedText(ourKeys[0])}'`,
          message,
        );
      expect(await chain(source)).toBe("b'pass'\n");
      expect(await chain(source.replace('second week', 'third week'))).toBe("b'fail'\n");
    });

    test('mail with a domain in From that is not ours is not signed', async () => {
      const subject = randomUUID();
      const { alice } = system();
      await submit({ subject, from: 'x@example.net', envelope: { from: alice.address, to: TO }, to: TO });
      expect(await outside(subject)).not.toMatch(/^DKIM-Signature/m);
    });

    test('a new key signs when the node has fetched it', async () => {
      await secrets.send(new PutSecretValueCommand({ SecretId: secretArn, SecretString: JSON.stringify(ourKeys[1]) }));
      await shell('systemctl start mail-dkim-key.service');
      const message = await waitFor('the new key to sign', 90_000, async () => {
        const subject = randomUUID();
        await submit({ subject, to: TO });
        const sent = await outside(subject);
        return /\bs=mail2;/.test(sent) ? sent : undefined;
      });
      expect(await verifies(message, publishedText(ourKeys[1]))).toBe('True\n');
    }, 240_000);

    test('a secret without a key leaves the one in use', async () => {
      await secrets.send(new PutSecretValueCommand({ SecretId: secretArn, SecretString: '{"placeholder":"x"}' }));
      await expect(shell('systemctl start mail-dkim-key.service')).rejects.toThrow();
      await shell('systemctl stop mail-dkim-key.service; systemctl reset-failed mail-dkim-key.service');
      expect(await shell('journalctl -u mail-dkim-key -n 20 --no-pager')).toMatch(
        /error: the secret .* has no key yet/,
      );
      expect(await shell('cat /var/lib/mail-dkim/selectors')).toBe('example.com mail2\n');
      await secrets.send(new PutSecretValueCommand({ SecretId: secretArn, SecretString: JSON.stringify(ourKeys[1]) }));
    });

    test('the key is for rspamd alone to read', async () => {
      expect(await shell('stat -c "%U %G %a" /var/lib/mail-dkim /var/lib/mail-dkim/mail1.pem')).toBe(
        'root _rspamd 750\nroot _rspamd 640\n',
      );
    });
  });

  describe('learning', () => {
    const SPAM =
      'casino jackpot winner bonus lottery roulette prize unlimited credit instant payout gambling spins tokens';
    const HAM =
      'quarterly forecast turbine bearing calibration drawing supplier delivery inspection gasket torque valve';
    /** A message of words of a kind, like no other. */
    const letter = (words: string) => {
      const list = words.split(' ');
      const text = Array.from({ length: 60 }, () => list[Math.floor(Math.random() * list.length)]).join(' ');
      return { subject: randomUUID(), text: `${text} ${randomUUID().slice(0, 8)}` };
    };
    const raw = ({ subject, text }: { subject: string; text: string }) =>
      `From: Someone <someone@good.example.net>\r\nTo: ${system().bob.address}\r\nSubject: ${subject}\r\n` +
      `Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <${subject}@good.example.net>\r\n\r\n${text}\r\n`;

    /** What rspamd of a node says of a message of words of a kind. */
    const symbols = async (words: string, at: LocalNode) => {
      const message = letter(words);
      // Each from somebody else: what is put off is put off unseen when it comes again too early.
      const sender = `${message.subject}@good.example.net`;
      await fromOutside({ raw: raw(message), sender, at }).catch((error: Error) =>
        expect(error.message).toMatch(/[45]\d\d [45]\.7\.1/),
      );
      return logged(`<${message.subject}@good.example.net>`, at);
    };
    /** Resolves when a node tells one kind from the other. */
    const knows = (at: LocalNode) =>
      waitFor(`${at.name} to know spam from ham`, 90_000, async () => {
        const [spam, ham] = [await symbols(SPAM, at), await symbols(HAM, at)];
        if (!spam.includes('BAYES_SPAM') || !ham.includes('BAYES_HAM')) throw new Error(spam + ham);
        return true;
      });

    test('moves into and out of Junk teach all nodes, and an unseen message is known for spam', async () => {
      const { view, bob } = system();
      expect(await symbols(SPAM, node())).not.toContain('BAYES_');
      const client = imapClient(view, bob);
      await client.connect();
      try {
        const move = async (words: string, from: string, to: string) => {
          const uids: number[] = [];
          for (let i = 0; i < LEARNED; i++) {
            const answer = await client.append(from, raw(letter(words)));
            if (answer && answer.uid) uids.push(answer.uid);
          }
          expect(uids).toHaveLength(LEARNED);
          await client.mailboxOpen(from);
          await client.messageMove(uids.join(','), to, { uid: true });
        };
        await move(SPAM, 'INBOX', 'Junk');
        await move(HAM, 'Junk', 'INBOX');
        // What is thrown away from Junk is no ham.
        const thrown = await client.append('Junk', raw(letter(SPAM)));
        await client.mailboxOpen('Junk');
        await client.messageMove(`${(thrown as { uid: number }).uid}`, 'Trash', { uid: true });
      } finally {
        await client.logout().catch(() => client.close());
      }
      expect(await shell('ls /srv/mail-store/learn/spam | wc -l; ls /srv/mail-store/learn/ham | wc -l')).toBe(
        `${LEARNED}\n${LEARNED}\n`,
      );
      await onAll('systemctl start mail-learn.service || { journalctl -u mail-learn -n 5 -o cat; exit 1; }');
      await Promise.all(nodes().map(knows));
    }, 180_000);

    test('a node that lost what it learned learns it again', async () => {
      await shell('systemctl stop mail-learn.timer; valkey-cli -s /run/mail-statistics/valkey.sock flushall');
      expect(await symbols(SPAM, node())).not.toContain('BAYES_');
      await shell('systemctl start mail-learn.timer mail-learn.service');
      await knows(node());
    }, 180_000);
  });

  describe('on the node', () => {
    test('more than 2000 rules are loaded: those with a score, and entries of the lists that some of them look into', async () => {
      const groups = JSON.parse(await controller('symbols')) as { rules: unknown[] }[];
      const scored = groups.reduce((sum, { rules }) => sum + rules.length, 0);
      const listed = Number(await shell("grep -hvE '^ *(#|$)' /etc/rspamd/maps.d/*.inc | wc -l"));
      expect(scored).toBeGreaterThan(800);
      expect(scored + listed).toBeGreaterThan(2000);
      const memory = await shell(
        'for name in rspamd clamd freshclam valkey-server; do for p in $(pgrep -x $name); do cat /proc/$p/smaps_rollup; done | awk -v n=$name \'/^Pss:/ { s += $2 } END { print n, int(s / 1024), "MiB" }\'; done',
      );
      console.log(`${scored} rules with a score, ${listed} entries of lists\n${memory}`);
    });

    test('each unit runs, with an exposure of 3.0 or less', async () => {
      const units = [
        ...['rspamd.service', 'mail-virus-scan.service', 'clamav-freshclam.service', 'mail-statistics.service'],
        ...['mail-learn.service', 'mail-dkim-key.service'],
      ];
      const report = await shell(`systemd-analyze security --no-pager ${units.join(' ')} | grep Overall`);
      const exposures = [...report.matchAll(/level for (\S+): ([0-9.]+)/g)].map(([, unit, score]) => ({ unit, score }));
      expect(exposures.map(({ unit }) => unit).sort()).toEqual(units.sort());
      expect(exposures.filter(({ score }) => Number(score) > 3)).toEqual([]);
      for (const unit of ['rspamd', 'mail-virus-scan', 'mail-statistics', 'mail-learn.timer', 'mail-dkim-key.timer']) {
        expect([unit, (await shell(`systemctl is-active ${unit} || true`)).trim()]).toEqual([unit, 'active']);
      }
    });

    test('none runs as root, and none listens on a port', async () => {
      const users = await shell(`ps -C rspamd,clamd,freshclam,valkey-server -o user= | sort -u`);
      expect(users.split('\n').filter(Boolean)).toEqual(expect.arrayContaining(['_rspamd', 'clamav']));
      expect(users).not.toContain('root');
      expect(await shell("ss -Hltunp | grep -E 'rspamd|clamd|valkey' || true")).toBe('');
      expect(await shell('stat -c "%U %G %a" /run/rspamd/milter.sock /run/clamav/clamd.ctl')).toBe(
        '_rspamd postfix 660\nclamav _rspamd 660\n',
      );
    });

    test('the configuration has no errors and no warnings', async () => {
      // Nothing outside can be reached from here.
      const said = await shell(
        "rspamadm configtest 2>&1 | grep -vE 'fuzzy[12]\\.rspamd\\.com|cannot read servers definition'",
      );
      expect(said).toBe('syntax OK\n');
      expect(
        await shell("journalctl -u dovecot --no-pager | grep -iE 'sieve.*(error|failed|permission)' || true"),
      ).toBe('');
      expect(await shell('doveconf -n 2>&1 >/dev/null; postconf -n 2>&1 >/dev/null; postfix check 2>&1')).toBe('');
      expect(
        await shell(
          'systemd-analyze verify /etc/systemd/system/mail-{learn,dkim-key}.* /etc/systemd/system/mail-statistics.service 2>&1',
        ),
      ).toBe('');
    });

    test('bootstrap changes nothing when it runs again', async () => {
      const before = await shell(
        'systemctl show --property=ActiveEnterTimestamp rspamd mail-virus-scan mail-statistics',
      );
      expect(await shell('bash /opt/mail-platform/bootstrap.sh 2>&1')).not.toContain('changed:');
      expect(await shell('systemctl show --property=ActiveEnterTimestamp rspamd mail-virus-scan mail-statistics')).toBe(
        before,
      );
    }, 240_000);
  });

  describe('without greylisting', () => {
    beforeAll(() => filter({ greylisting: false }), 240_000);

    test('spam goes to Junk from a score on, which is for rspamd to say, not for the sender', async () => {
      const [spam, claim] = [randomUUID(), randomUUID()];
      // An address that may not send for its domain, and another filter's word.
      await fromOutside({ subject: spam, client: BAD, headers: { 'X-Spam': 'Yes' } });
      await fromOutside({ raw: `X-Spam: Yes\r\n${await signed(claim)}` });
      const [marked, clean] = [await arrived(spam), await arrived(claim)];
      expect(marked.folder).toBe('Junk');
      expect(marked.source.match(/^X-Spam: Yes\r$/gm)).toHaveLength(1);
      expect(clean.folder).toBe('INBOX');
      expect(clean.source).not.toMatch(/^X-Spam: Yes/m);
    });
  });

  describe('with greylisting, and outages that put mail off', () => {
    beforeAll(async () => {
      await onAll('printf "timeout = 3s;\\n" >/etc/rspamd/override.d/greylist.conf');
      // Far above what greylisting is for.
      await filter({ duringOutage: FilterOutage.DEFER, junkScore: 30, rejectScore: 40 }, nodes());
    }, 240_000);

    test('what is doubtful is put off once, and taken when it comes again', async () => {
      const subject = randomUUID();
      const raw = `From: <x@doubtful.example.net>\r\nSubject: ${subject}\r\n\r\nbuy now http://192.0.2.7/\r\n`;
      const send = () => fromOutside({ raw, client: UNKNOWN, sender: 'x@doubtful.example.net' });
      await expect(send()).rejects.toThrow(/451 4\.7\.1 Try again in five minutes/);
      await waitFor('it to be taken', 30_000, () => send().then(() => true));
      expect((await arrived(subject)).folder).toBe('INBOX');
    });

    test('who was put off by one node may come again to another one', async () => {
      const [first, other] = nodes();
      const doubtful = () => {
        const subject = randomUUID();
        const sender = `${subject}@doubtful.example.net`;
        const raw = `From: <${sender}>\r\nSubject: ${subject}\r\n\r\nbuy now http://192.0.2.7/\r\n`;
        return { subject, send: (at: LocalNode) => fromOutside({ raw, client: UNKNOWN, sender, at }) };
      };
      await expect(doubtful().send(other)).rejects.toThrow(/451 4\.7\.1 Try again/);
      const known = doubtful();
      await expect(known.send(first)).rejects.toThrow(/451 4\.7\.1 Try again/);
      await sleep(3500);
      for (const each of nodes()) await each.shell('systemctl start mail-learn.service', { timeout: 60_000 });
      await known.send(other);
      expect((await arrived(known.subject)).folder).toBe('INBOX');
    }, 120_000);

    describe('mail that SES took', () => {
      const receive = async (taken: Omit<Taken, 'recipients'>) => {
        const { aws, plan } = system().cluster;
        const { MAIL_INBOUND_BUCKET: Bucket, MAIL_INBOUND_QUEUE: QueueUrl } = plan.environment;
        const s3 = new S3Client(aws.client);
        try {
          const { key, raw, notice } = takenBySes(Bucket, { ...taken, recipients: [system().bob.address] });
          await s3.send(new PutObjectCommand({ Bucket, Key: key, Body: raw }));
          await aws.askQueues('SendMessage', { QueueUrl, MessageBody: notice });
          return key.slice('mail/'.length);
        } finally {
          s3.destroy();
        }
      };
      const said = async (text: string) =>
        (await onAll('journalctl -u mail-inbound --no-pager')).join('').includes(text);

      test('is not put off for being doubtful, and is filtered', async () => {
        const subject = randomUUID();
        const body = 'buy now http://192.0.2.7/\r\n';
        const [outside, inside] = [randomUUID(), randomUUID()].map((name) => `${name}@doubtful.example.net`);
        const raw = `From: <${outside}>\r\nSubject: ${randomUUID()}\r\n\r\n${body}`;
        await expect(fromOutside({ raw, client: UNKNOWN, sender: outside })).rejects.toThrow(/451 4\.7\.1 Try again/);

        const client = { name: 'unknown.example.net', address: UNKNOWN };
        await receive({ subject, sender: inside, from: inside, client, body });
        expect((await arrived(subject)).folder).toBe('INBOX');
        expect(await said('Try again in five minutes')).toBe(false);
        const log = `journalctl -u rspamd --no-pager --output=cat --since=-5min | grep -F 'from: <${inside}>' || true`;
        const judged = (await onAll(log)).join('');
        expect(judged).toContain('settings_id: inbound');
        expect(judged).toContain(`ip: ${UNKNOWN}`);
        expect(judged).not.toMatch(/GREYLIST|FORGED_RECIPIENTS/);
        const spam = await receive({ subject: randomUUID(), body: `${GTUBE}\r\n` });
        await waitFor('it to be set aside', 30_000, async () => ((await said(`${spam}: refused`)) ? true : undefined));
      }, 90_000);

      test.each([
        ['pass', { name: 'mx.good.example.net', address: GOOD }],
        ['fail', { name: 'host66.example.net', address: BAD }],
      ])('has SPF %s by the address that SES saw', async (result, client) => {
        const subject = randomUUID();
        // SES says that all is well, which is not what counts here.
        await receive({ subject, client, sender: 'someone@good.example.net', from: 'someone@good.example.net' });
        const found = await verdict(subject);
        expect(found).toContain(`spf=${result}`);
        if (result === 'pass') expect(found).toContain('dmarc=pass');
        else expect(found).not.toContain('dmarc=pass');
      });
    });

    test('mail is put off while the scanner is away, from outside and from users', async () => {
      await shell('systemctl stop mail-virus-scan.service');
      const [mine, theirs] = [randomUUID(), randomUUID()];
      const later = fromOutside({ raw: await signed(theirs) });
      await expect(later).rejects.toThrow(/451 4\.7\.1 The virus scanner does not answer/);
      await expect(submit({ subject: mine, to: system().bob.address })).rejects.toThrow(/451 4\.7\.1/);
      await shell(`systemctl start mail-virus-scan.service; ${CLAMD_ANSWERS}`);
      await fromOutside({ raw: await signed(theirs) });
    });

    test('mail is put off while rspamd is away', async () => {
      await shell('systemctl stop rspamd.service');
      await expect(fromOutside({ raw: await signed(randomUUID()) })).rejects.toThrow(/4\d\d 4\.7\.1/);
      await shell(`systemctl start rspamd.service; ${RSPAMD_ANSWERS}`);
    });
  });

  describe('without a filter', () => {
    beforeAll(() => filter(), 240_000);

    test('nodes sign, and look at nothing', async () => {
      const [mine, spam] = [randomUUID(), randomUUID()];
      await submit({ subject: mine, to: TO });
      expect(await verifies(await outside(mine), publishedText(ourKeys[1]))).toBe('True\n');
      await fromOutside({ subject: spam, text: GTUBE });
      expect((await arrived(spam)).folder).toBe('INBOX');
      expect(
        await shell('systemctl is-active mail-statistics mail-virus-scan clamav-freshclam mail-learn.timer || true'),
      ).toBe('inactive\n'.repeat(4));
    });
  });
}

/** What a person might write, so that nothing but what a test is about speaks against it. */
const LETTER = [
  'Dear Bob,',
  'thank you for the minutes of our meeting last week. I have read them with the others, and we agree with all of it but',
  'the date of the delivery: could we make it the second week of March? Then the drawings will be ready as well.',
  'Kind regards, and see you on Thursday.',
].join('\n');
