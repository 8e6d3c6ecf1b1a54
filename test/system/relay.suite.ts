import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import * as path from 'node:path';
import { CreateUserCommand, IAMClient } from '@aws-sdk/client-iam';
import {
  CreateSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { createTransport } from 'nodemailer';
import { inbox } from '../../local/round-trip';
import { sleep, waitFor } from '../../local/run';
import { PROJECT } from '../../local/paths';
import type { System } from './system';

const HOST = 'email-smtp.eu-central-1.amazonaws.com';
/** Where the node finds HOST during these tests: its own port 587 is taken on every address, so this leads to another. */
const ADDRESS = '127.0.0.7';
const PORT = 10587;
const FOLDER = '/var/tmp/relay';
const HANDLER = path.join(PROJECT, 'dist', 'handlers', 'smtp-credentials', 'index.js');

/**
 * Mail for others goes through a relay that acts as SES does (A14, C5): a second Postfix on the node, with STARTTLS and
 * a login that a second Dovecot checks, and a mailbox for everything that it takes.
 */
export function relaySuite(system: () => System): void {
  const node = () => system().cluster.nodes[0];
  const shell = (script: string, input?: string) => node().exec(['bash', '-c', script], { timeout: 90_000, input });
  const put = (file: string, text: string) => shell(`mkdir -p "$(dirname ${file})" && cat >${file}`, text);
  const relay = (command: string) => shell(`postfix -c ${FOLDER}/postfix ${command} 2>&1`);
  const received = async () => (await shell(`cat ${FOLDER}/mail/all 2>/dev/null || true`)).stdout;
  const log = async () =>
    (await shell(`journalctl --no-pager --output=short --since=@${begin} SYSLOG_FACILITY=2`)).stdout;
  const bootstrap = () =>
    shell('bash /opt/mail-platform/bootstrap.sh 2>&1 && postconf -e smtp_host_lookup=native && postfix reload 2>&1');
  const fetchLogin = () => shell('systemctl start mail-relay-password.service');
  const retry = () => shell('postqueue -f');

  let begin: number;
  let secrets: SecretsManagerClient;
  let secretArn: string;

  const submit = async (subject: string, to: string[] = ['someone@example.net'], headers = {}) => {
    const { tls, alice } = system();
    const transport = createTransport({
      host: node().address,
      port: 587,
      requireTLS: true,
      tls,
      auth: { user: alice.address, pass: alice.password },
    });
    await transport
      .sendMail({ envelope: { from: alice.address, to }, from: alice.address, to: to[0], subject, headers, text: 'x' })
      .finally(() => transport.close());
  };

  const arrives = (subject: string) =>
    waitFor(`"${subject}" at the relay`, 40_000, async () => {
      const mail = (await received()).split(/^(?=From )/m).filter((message) => message.includes(subject));
      if (mail.length === 0)
        throw new Error(
          (await log())
            .split('\n')
            .filter((line) => /ses\/smtp|relay\//.test(line))
            .slice(-12)
            .join('\n'),
        );
      return mail;
    });

  const waits = (subject: string, reason: RegExp) =>
    waitFor(`"${subject}" to wait`, 30_000, async () => {
      const lines = await log();
      if (!reason.test(lines)) throw new Error(`not in the log: ${reason}`);
      expect(await received()).not.toContain(subject);
      return true;
    });

  /** Sessions at the relay in which somebody tried to log in. */
  const logins = async () => (await log()).match(/relay\/smtpd.*: disconnect .* auth=/g)?.length ?? 0;

  const letIn = async (username: string, password: string) => {
    await put(`${FOLDER}/users`, `${username}:{PLAIN}${password}\n`);
    await sleep(2000); // Dovecot looks at the file once a second
  };

  const certificate = async (name: string) => {
    const pem = readFileSync(await system().cluster.authority.issue(name), 'utf8');
    await put(`${FOLDER}/tls.pem`, pem);
  };

  beforeAll(async () => {
    const { cluster } = system();
    begin = Math.floor(Date.now() / 1000);
    secrets = new SecretsManagerClient(cluster.aws.client);
    const { ARN } = await secrets.send(
      new CreateSecretCommand({ Name: 'relay-login', SecretString: '{"username":"AKIAONE","password":"one"}' }),
    );
    secretArn = ARN!;
    await certificate(HOST);
    await letIn('AKIAONE', 'one');
    await put(`${FOLDER}/postfix/main.cf`, POSTFIX);
    await put(`${FOLDER}/postfix/master.cf`, MASTER);
    await put(`${FOLDER}/dovecot.conf`, DOVECOT);
    await shell(
      `mkdir -p ${FOLDER}/{queue,data,mail,dovecot,state} && chown postfix ${FOLDER}/data && chown vmail ${FOLDER}/mail &&` +
        `chmod 0755 ${FOLDER} && dovecot -c ${FOLDER}/dovecot.conf`,
    );
    await relay('start');
    await put('/usr/local/share/relay-ca.pem', system().view.authority);
    await shell(
      'cp /etc/ssl/certs/ca-certificates.crt /var/tmp/ca-before && cat /usr/local/share/relay-ca.pem >>/etc/ssl/certs/ca-certificates.crt;' +
        `cp /etc/mail-platform/env /var/tmp/env-before; cp /etc/hosts /var/tmp/hosts-before 2>/dev/null || touch /var/tmp/hosts-before;` +
        `echo '${ADDRESS} ${HOST}' >>/etc/hosts;` +
        `nft 'add table ip relay; add chain ip relay out { type nat hook output priority -100; };` +
        ` add rule ip relay out ip daddr ${ADDRESS} tcp dport 587 redirect to :${PORT}';` +
        `printf '%s\\n' MAIL_RELAY=ses MAIL_RELAY_HOST=${HOST} MAIL_RELAY_SECRET=${secretArn}` +
        ` MAIL_RELAY_CONFIGURATION_SET=mail-set >>/etc/mail-platform/env`,
    );
    await bootstrap();
    await waitFor('the login', 30_000, async () =>
      (await shell('ls /etc/postfix/relay')).stdout.includes('password.lmdb') ? true : undefined,
    );
  }, 120_000);

  afterAll(async () => {
    secrets?.destroy();
    await shell(
      `postfix -c ${FOLDER}/postfix stop 2>&1; doveadm -c ${FOLDER}/dovecot.conf stop; postsuper -d ALL 2>&1; nft delete table ip relay;` +
        'cp /var/tmp/ca-before /etc/ssl/certs/ca-certificates.crt; cp /var/tmp/env-before /etc/mail-platform/env; cp /var/tmp/hosts-before /etc/hosts;' +
        'systemctl disable --now mail-relay-password.timer; bash /opt/mail-platform/bootstrap.sh 2>&1',
    );
  }, 90_000);

  test('mail of a user goes through it, over checked TLS, with the configuration set and no such header of the user', async () => {
    const subject = randomUUID();
    await submit(subject, undefined, {
      'X-SES-CONFIGURATION-SET': 'of-the-user',
      'X-SES-SOURCE-ARN': 'arn:of-the-user',
    });
    const [message] = await arrives(subject);
    expect(message).toMatch(/^Return-Path: <alice@example\.com>$/m);
    expect(message.match(/^X-SES-.*$/gim)).toEqual(['X-SES-CONFIGURATION-SET: mail-set']);
    // The relay's own words: encrypted, and with which login.
    expect(message).toMatch(/using TLSv1\.3/);
    expect(await log()).toMatch(/postfix\/ses\/smtp\[\d+\]: Verified TLS connection established to email-smtp/);
  });

  test('mail for users stays inside', async () => {
    const subject = randomUUID();
    await submit(subject, [system().bob.address]);
    await waitFor('it to arrive', 30_000, async () =>
      (await inbox(system().view, system().bob)).includes(subject) ? true : undefined,
    );
    expect(await received()).not.toContain(subject);
  });

  test.each([
    ['the empty sender', ''],
    ['a sender of another domain, as of mail that Sieve forwards', 'someone@example.org'],
  ])('%s goes to the MX, not through it', async (_what, sender) => {
    const subject = randomUUID();
    await shell(`sendmail -f '${sender}' someone@example.net`, `From: a@example.org\nSubject: ${subject}\n\nx\n`);
    // There is no way to it from here.
    await waits(subject, new RegExp(`postfix/smtp\\[\\d+\\]: .*to=<someone@example\\.net>.*status=(deferred|bounced)`));
  });

  test('a relay with a certificate of another name gets neither mail nor login', async () => {
    await certificate('email-smtp.example.net');
    await relay('reload');
    const before = await logins();
    const subject = randomUUID();
    try {
      await submit(subject);
      await waits(subject, /postfix\/ses\/smtp.*Server certificate not verified/);
      expect(await logins()).toBe(before);
    } finally {
      await certificate(HOST);
      await relay('reload');
    }
    await retry();
    await arrives(subject);
  }, 120_000);

  test('a relay without STARTTLS gets neither mail nor login', async () => {
    await shell(`postconf -c ${FOLDER}/postfix -e smtpd_tls_security_level=none`);
    await relay('reload');
    const before = await logins();
    const subject = randomUUID();
    try {
      await submit(subject);
      await waits(subject, /postfix\/ses\/smtp.*TLS is required, but was not offered/);
      expect(await logins()).toBe(before);
    } finally {
      await shell(`postconf -c ${FOLDER}/postfix -e smtpd_tls_security_level=encrypt`);
      await relay('reload');
    }
    await retry();
    await arrives(subject);
  }, 120_000);

  test('a login that is refused keeps mail in the queue until the new one is fetched', async () => {
    await letIn('AKIATWO', 'two');
    const subject = randomUUID();
    await submit(subject);
    await waits(subject, /postfix\/ses\/smtp.*SASL authentication failed/);
    await secrets.send(
      new PutSecretValueCommand({ SecretId: secretArn, SecretString: '{"username":"AKIATWO","password":"two"}' }),
    );
    await fetchLogin();
    await retry();
    await arrives(subject);
  }, 120_000);

  test('a secret that is no login leaves the one in use', async () => {
    await secrets.send(new PutSecretValueCommand({ SecretId: secretArn, SecretString: 'random' }));
    await expect(fetchLogin()).rejects.toThrow();
    await shell('systemctl stop mail-relay-password.service; systemctl reset-failed mail-relay-password.service');
    expect((await shell('journalctl -u mail-relay-password -n 20 --no-pager')).stdout).toMatch(
      /error: the secret .* has no text fields username and password/,
    );
    const subject = randomUUID();
    await submit(subject);
    await arrives(subject);
  });

  test('the login is readable by root alone, and stands in no log', async () => {
    expect((await shell('stat -c "%n %U %a" /etc/postfix/relay/password*')).stdout.trim().split('\n')).toEqual([
      '/etc/postfix/relay/password root 600',
      '/etc/postfix/relay/password.lmdb root 600',
    ]);
    expect(await log()).not.toMatch(/:two\b/);
  });

  test('the configuration has no errors and no warnings', async () => {
    expect((await shell('postconf -n 2>&1 >/dev/null; postfix check 2>&1')).stdout).toBe('');
    expect(
      (await shell('systemd-analyze verify /etc/systemd/system/mail-relay-password.{service,timer} 2>&1')).stdout,
    ).toBe('');
  });

  describe('rotation', () => {
    const VERSION = 'aaaaaaaa-0000-4000-8000-000000000001';
    const rotate = (step: string) => {
      const { aws, plan } = system().cluster;
      const environment = {
        AWS_ENDPOINT_URL: aws.endpointFor(plan.gateway),
        AWS_REGION: aws.client.region,
        AWS_ACCESS_KEY_ID: 'local',
        AWS_SECRET_ACCESS_KEY: 'local',
        NODE_EXTRA_CA_CERTS: '/usr/local/share/relay-ca.pem',
        SMTP_HOST: HOST,
        SMTP_SECRET: secretArn,
        SMTP_USER: 'relay',
      };
      const settings = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
      const event = JSON.stringify({ Step: step, SecretId: secretArn, ClientRequestToken: VERSION });
      const script =
        `require('${FOLDER}/handler.js').handler(${event})` +
        '.catch((error) => { console.error(error.message); process.exit(1); })';
      return node().exec(['env', ...settings, 'node', '-e', script], { timeout: 90_000 });
    };

    test('gives a new login out once the relay takes it', async () => {
      expect(existsSync(HANDLER)).toBe(true); // npm run build
      await put(`${FOLDER}/handler.js`, readFileSync(HANDLER, 'utf8'));
      await new IAMClient(system().cluster.aws.client).send(new CreateUserCommand({ UserName: 'relay' }));
      await secrets.send(
        new PutSecretValueCommand({
          SecretId: secretArn,
          ClientRequestToken: VERSION,
          SecretString: 'none yet',
          VersionStages: ['AWSPENDING'],
        }),
      );
      await rotate('createSecret');
      const stored = async (version: object) => {
        const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: secretArn, ...version }));
        return JSON.parse(SecretString!);
      };
      const { username, password } = await stored({ VersionId: VERSION });

      const testing = rotate('testSecret');
      // SES knows a login some seconds after IAM does; this relay has to be told.
      await waitFor('the first attempt', 30_000, async () =>
        (await log()).includes(`authentication failed: (reason unavailable), sasl_username=${username}`)
          ? true
          : undefined,
      );
      await letIn(username, password);
      await testing;
      await rotate('finishSecret');
      expect(await stored({ VersionStage: 'AWSCURRENT' })).toEqual({ username, password });
    }, 120_000);
  });
}

const POSTFIX = `compatibility_level = 3.10
queue_directory = ${FOLDER}/queue
data_directory = ${FOLDER}/data
syslog_name = relay
myhostname = ${HOST}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
mynetworks =
local_recipient_maps =
alias_maps =
virtual_mailbox_domains = static:all
virtual_mailbox_base = ${FOLDER}/mail
virtual_mailbox_maps = static:all
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
virtual_destination_concurrency_limit = 1
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_limit = 50
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = ${FOLDER}/dovecot/auth-client
smtpd_tls_auth_only = yes
smtpd_tls_chain_files = ${FOLDER}/tls.pem
smtpd_tls_received_header = yes
smtpd_tls_security_level = encrypt
`;

const MASTER = `127.0.0.1:${PORT} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`;

const DOVECOT = `dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
base_dir = ${FOLDER}/dovecot
state_dir = ${FOLDER}/state
log_path = ${FOLDER}/dovecot.log
protocols =
ssl = no
auth_allow_cleartext = yes
auth_mechanisms = plain login
auth_verbose = yes
auth_username_format = %{user}
passdb passwd-file {
  passwd_file_path = ${FOLDER}/users
}
service auth {
  unix_listener auth-client {
    mode = 0666
  }
}
`;
