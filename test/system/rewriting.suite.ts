import { randomUUID } from 'node:crypto';
import { GetSecretValueCommand, PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { inbox } from '../../local/round-trip';
import { waitFor } from '../../local/run';
import { LineClient } from './line-client';
import { homeAmong } from './ring';
import type { System } from './system';

/** The world, as the nodes find it: whatever leaves comes here, an envelope and a message to a file. */
const WORLD = '127.0.0.9';
const FOLDER = '/var/tmp/world';

/** What Bob forwards leaves with a sender of ours, to whom bounces come back, from whom they go on (A14). */
export function rewritingSuite(system: () => System): void {
  const nodes = () => system().cluster.nodes;
  const everywhere = (script: string) => Promise.all(nodes().map((node) => node.shell(script)));

  beforeAll(async () => {
    await everywhere(
      `install -d -o postfix ${FOLDER} && systemd-run --unit=world --quiet --property=User=postfix ` +
        `/usr/sbin/smtp-sink -d ${FOLDER}/%s. ${WORLD}:10588 100 && postconf -e 'relayhost=[${WORLD}]:10588' && postfix reload 2>&1`,
    );
    await waitFor('the secret', 30_000, async () =>
      (await everywhere('systemctl is-active mail-rewriting.service || true')).every((state) => state === 'active\n')
        ? true
        : undefined,
    );
  }, 60_000);

  afterAll(async () => {
    await setScript('keep;');
    await everywhere(
      `systemctl stop world.service; rm -rf ${FOLDER}; postsuper -d ALL 2>&1; bash /opt/mail-platform/bootstrap.sh 2>&1; postconf -X relayhost; postfix reload 2>&1`,
    );
  }, 60_000);

  /** Bob's active script, as his client would put it there. */
  const setScript = async (script: string) => {
    const home = homeAmong(nodes(), system().bob.address);
    await home.exec(['doveadm', 'sieve', 'put', '-u', system().bob.address, '-a', 'forward'], { input: `${script}\n` });
  };

  /** Says what a mail server says on port 25 of a node. Resolves to the answer to RCPT or to the message. */
  const send = async (from: string, to: string, subject: string, address = system().view.address): Promise<string> => {
    const client = await LineClient.mx(address);
    try {
      return await client.mail(from, to, `From: <someone@elsewhere.example>\r\nSubject: ${subject}\r\n\r\nhello`);
    } finally {
      client.close();
    }
  };

  /** Envelopes of what left with the subject, of any node. */
  const left = (subject: string) =>
    waitFor(`"${subject}" to leave`, 30_000, async () => {
      const texts = await everywhere(`grep -l -r -F '${subject}' ${FOLDER} | xargs -r cat`);
      const found = [...texts.join('\n').matchAll(/^X-Mail-Args: <([^>]*)>.*\nX-Rcpt-Args: <([^>]*)>/gm)].map(
        ([, from, to]) => ({ from, to }),
      );
      return found.length > 0 ? found : undefined;
    });

  /** Has Bob forward a message. Resolves to the sender that it left with. */
  const forward = async (from: string): Promise<string> => {
    const subject = randomUUID();
    await setScript('redirect "friend@elsewhere.example";');
    expect(await send(from, system().bob.address, subject)).toMatch(/^250/);
    const [envelope, ...more] = await left(subject);
    expect(more).toEqual([]);
    expect(envelope.to).toBe('friend@elsewhere.example');
    return envelope.from;
  };

  test('it leaves with a sender at our domain, and a bounce to that goes to who sent it, by any node', async () => {
    const rewritten = await forward('sender@lists.example.net');
    expect(rewritten).toMatch(/^SRS0=[^=]{8}=[A-Z2-7]{2}=lists\.example\.net=sender@example\.com$/);
    for (const { address } of nodes()) {
      const subject = randomUUID();
      expect(await send('', rewritten, subject, address)).toMatch(/^250/);
      expect(await left(subject)).toEqual([{ from: '', to: 'sender@lists.example.net' }]);
    }
  }, 120_000);

  test('what was forwarded to us before keeps the way back short', async () => {
    const rewritten = await forward('SRS0=abcd=ef=first.example=sender@forwarder.example');
    expect(rewritten).toMatch(/^SRS1=[^=]{8}=forwarder\.example==abcd=ef=first\.example=sender@example\.com$/);
  });

  test('senders of ours, and notices without one, are as they were', async () => {
    const { alice } = system();
    const subject = randomUUID();
    await nodes()[0].exec(['sendmail', '-f', alice.address, 'friend@elsewhere.example'], {
      input: `Subject: ${subject}\n\nx\n`,
    });
    expect(await left(subject)).toEqual([{ from: alice.address, to: 'friend@elsewhere.example' }]);
    expect(await forward('')).toBe('');
  });

  test('what is delivered here keeps its sender', async () => {
    const subject = randomUUID();
    await setScript('keep;');
    await send('sender@lists.example.net', system().bob.address, subject);
    await waitFor('it to arrive', 30_000, async () =>
      (await inbox(system().view, system().bob)).includes(subject) ? true : undefined,
    );
    const home = homeAmong(nodes(), system().bob.address);
    const text = await home.shell(`doveadm fetch -u ${system().bob.address} hdr mailbox INBOX subject ${subject}`);
    expect(text).toContain('Return-Path: <sender@lists.example.net>');
  });

  test('an address that is not ours to the letter is nobody', async () => {
    const rewritten = await forward('sender@lists.example.net');
    const forged = [
      rewritten.replace(/^SRS0=../, 'SRS0=xx'),
      rewritten.replace('=sender@', '=victim@'),
      rewritten.replace('lists.example.net', 'other.example.net'),
      rewritten.replace(/^(SRS0=[^=]{4})[^=]{4}/, '$1'),
      'SRS0=AAAAAAAA=AA=elsewhere.example=victim@example.com',
      'SRS1=AAAAAAAA=elsewhere.example==a=b=c=victim@example.com',
    ];
    for (const address of forged)
      expect([address, await send('', address, 'x')]).toEqual([address, expect.stringMatching(/^550 5\.1\.1/)]);
    // Some mail servers write it all in small letters.
    expect(await send('', rewritten.toLowerCase(), randomUUID())).toMatch(/^250/);
  });

  test('while it is away, mail to others comes in, and forwards wait', async () => {
    const { bob } = system();
    await everywhere('systemctl stop mail-rewriting.service');
    try {
      await setScript('keep;');
      expect(await send('sender@lists.example.net', bob.address, randomUUID())).toMatch(/^250/);
      expect(await send('', 'SRS0=AAAAAAAA=AA=elsewhere.example=x@example.com', 'x')).toMatch(/^4/);
    } finally {
      await everywhere('systemctl start mail-rewriting.service');
    }
  });

  test('with another password, bounces to the former go on to come back', async () => {
    const { cluster } = system();
    const rewritten = await forward('sender@lists.example.net');
    const secrets = new SecretsManagerClient(cluster.aws.client);
    const SecretId = cluster.plan.environment.MAIL_REWRITING_SECRET;
    const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId }));
    const { password } = JSON.parse(SecretString!) as { password: string };
    const change = async (text: object) => {
      await secrets.send(new PutSecretValueCommand({ SecretId, SecretString: JSON.stringify(text) }));
      await everywhere('systemctl start mail-rewriting-secret.service && sleep 1');
    };
    await change({ password: 'n'.repeat(40), former: [password] });
    try {
      expect((await forward('sender@lists.example.net')).slice(0, 13)).not.toBe(rewritten.slice(0, 13));
      expect(await send('', rewritten, randomUUID())).toMatch(/^250/);
      await change({ password: 'n'.repeat(40) });
      expect(await send('', rewritten, 'x')).toMatch(/^550/);
    } finally {
      await change({ password });
    }
  }, 120_000);

  test('with a relay, what is forwarded goes past it, which takes no others in From', async () => {
    const [node] = nodes();
    const text = await node.shell(
      `sed 's/^MAIL_REWRITING_SECRET=.*/&\\nMAIL_RELAY=ses\\nMAIL_RELAY_HOST=relay.example.com\\nMAIL_RELAY_SECRET=x\\nMAIL_RELAY_CONFIGURATION_SET=x/' ` +
        '/etc/mail-platform/env >/run/with-relay && MAIL_INSTANCE_ID=i-1 /opt/mail-platform/libexec/render /run/with-relay /run/rendered >/dev/null && ' +
        'postconf -c /run/rendered/etc/postfix -h sender_dependent_default_transport_maps',
    );
    expect(text.trim()).toBe(
      'pcre:{ {/^SRS[01][-+=]/ smtp:} }, inline:{ { @example.com = ses:[relay.example.com]:587 } }',
    );
    const look = (sender: string) => node.shell(`postmap -q '${sender}' 'pcre:{ {/^SRS[01][-+=]/ smtp:} }' || true`);
    expect(await look('SRS0=a=b=c=d@example.com')).toBe('smtp:\n');
    expect(await look('alice@example.com')).toBe('');
  });

  test('has an exposure of 3.0 or less', async () => {
    const report = await nodes()[0].shell(
      'systemd-analyze security --no-pager mail-rewriting.service mail-rewriting-secret.service | grep Overall',
    );
    const scores = [...report.matchAll(/level for \S+: ([0-9.]+)/g)].map(([, score]) => Number(score));
    expect(scores).toHaveLength(2);
    for (const score of scores) expect(score).toBeLessThanOrEqual(3);
  });
}
