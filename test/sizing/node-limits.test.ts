import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeLimits } from '../../lib/sizing';

const NODE = join(__dirname, '..', '..', 'assets', 'node');

/** What the node's own script derives. */
function derived(connections: number, vcpus: number): { [name: string]: number } {
  const script = `
    . "${NODE}/libexec/lib.sh"
    nproc() { echo ${vcpus}; }
    MAIL_DOMAINS=example.com MAIL_DIRECTORY=file MAIL_LOGIN_PORTS=993 MAIL_NODE_NETWORK=10.0.0.0/16 MAIL_CONNECTIONS_MAX=${connections} MAIL_MESSAGE_SIZE_MAX=1
    derive_environment
    echo "$MAIL_LOGIN_PROCESSES $MAIL_LOGIN_CLIENTS $MAIL_LOGIN_MEMORY $MAIL_SMTP_CONNECTIONS $MAIL_SMTPD_PROCESSES $MAIL_AUTH_CLIENTS"
    echo "$MAIL_SESSIONS_PER_USER $MAIL_SESSIONS_PER_SOURCE"`;
  const output = execFileSync('bash', ['-euc', script], { encoding: 'utf8' });
  const names = [
    ...['loginProcesses', 'loginClients', 'loginMemory', 'smtpConnections', 'smtpdProcesses', 'authClients'],
    ...['sessionsPerUserAndAddress', 'smtpConnectionsPerAddress'],
  ];
  const values = output.trim().split(/\s/).map(Number);
  return Object.fromEntries(names.map((name, index) => [name, values[index]]));
}

test.each([
  [500, 1, 2],
  [999, 2, 4],
  [2000, 2, 8],
  [4001, 4, 16],
  [10_000, 16, 64],
])('limits of %d connections on %d vCPUs are those that a node sets', (connections, vcpus, memory) => {
  expect(nodeLimits(connections, { vcpus, memory })).toMatchObject(derived(connections, vcpus));
});

test('clients have the limits of the configuration files', () => {
  const dovecot = readFileSync(join(NODE, 'etc/dovecot/mail-platform.d/30-mail.conf'), 'utf8');
  expect(dovecot).toContain('\nmail_max_userip_connections = ${MAIL_SESSIONS_PER_USER}\n');
  const postfix = readFileSync(join(NODE, 'etc/postfix/main.cf'), 'utf8');
  expect(postfix).toContain('\nsmtpd_client_connection_count_limit = ${MAIL_SESSIONS_PER_SOURCE}\n');
  const imap = readFileSync(join(NODE, 'services/imaps/dovecot.conf'), 'utf8');
  expect(imap).toMatch(/service imap \{[^}]*process_limit = \$\{MAIL_CONNECTIONS_MAX\}/);
});

test.each(['imaps', 'pop3s', 'managesieve'])('a login process of %s does not end for want of memory', (service) => {
  const dovecot = readFileSync(join(NODE, 'services', service, 'dovecot.conf'), 'utf8');
  expect(dovecot).toMatch(/service \w+-login \{[^]*\n {2}vsz_limit = \$\{MAIL_LOGIN_MEMORY\}M\n/);
  const { loginClients, loginMemory } = nodeLimits(10_000, { vcpus: 2, memory: 24 });
  // KiB of a session that is passed on, with TLS on both sides (docs/bench-node.md).
  expect(loginMemory * 1024).toBeGreaterThan(loginClients * 190);
});

test('a client in IDLE is put to sleep before Dovecot looks at its mailbox again, after which it would wait anew', () => {
  const imap = readFileSync(join(NODE, 'services/imaps/dovecot.conf'), 'utf8');
  const [, seconds] = /imap_hibernate_timeout = (\d+)s/.exec(imap) ?? [];
  // mailbox_idle_check_interval, which Dovecot has for all unless it is set.
  expect(Number(seconds)).toBeLessThan(30);
  expect(readFileSync(join(NODE, 'etc/dovecot/mail-platform.d/30-mail.conf'), 'utf8')).not.toContain('idle_check');
});

test('sessions have a share of the memory, and leave some', () => {
  expect(nodeLimits(2000, { vcpus: 2, memory: 8 }).memoryShare).toBeCloseTo(6000 / 8192, 6);
});
