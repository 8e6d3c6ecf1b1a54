import { CloudWatchClient, ListMetricsCommand } from '@aws-sdk/client-cloudwatch';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { run, waitFor } from '../../local/run';
import type { System } from './system';

/** The machine under the mail (A8, B7). Its secrets and how it is confined are in security.suite.ts. */
export function nodeSuite(system: () => System): void {
  const shell = (script: string) => system().cluster.nodes[0].shell(script, { timeout: 60_000 });

  test('every unit runs', async () => {
    expect(await shell('systemctl --failed --no-legend')).toBe('');
    for (const unit of [
      'postfix',
      'dovecot',
      'mail-agent',
      'nftables',
      'mail-directory-sync.timer',
      'mail-certificate.timer',
      'mail-maintenance.timer',
      'mail-clock.timer',
      'mail-control.socket',
      'mail-quota.socket',
      'mail-journal',
      'mail-ring.path',
      'mail-logins',
    ]) {
      expect([unit, (await shell(`systemctl is-active ${unit}`)).trim()]).toEqual([unit, 'active']);
    }
  });

  test('the configuration has no errors and no warnings', async () => {
    expect(await shell('doveconf -n 2>&1 >/dev/null')).toBe('');
    expect(await shell('postconf -n 2>&1 >/dev/null; postfix check 2>&1')).toBe('');
    expect(await shell('nft --check --file /etc/nftables.conf 2>&1')).toBe('');
    expect(await shell('systemd-analyze verify /etc/systemd/system/mail-*.{service,socket,timer,path} 2>&1')).toBe('');
  });

  test('every script passes shellcheck', async () => {
    const scripts = await run('git', ['grep', '-lE', '^#!/bin/(ba)?sh|^# shellcheck shell=']);
    const { stdout } = await run('shellcheck', [
      ...['--external-sources', '--source-path=SCRIPTDIR', '--severity=style'],
      ...scripts.stdout.trim().split('\n'),
    ]);
    expect(stdout).toBe('');
  }, 180_000);

  test('bootstrap changes nothing when it runs again', async () => {
    const before = await shell('systemctl show --property=ActiveEnterTimestamp postfix dovecot mail-agent');
    const output = await shell('bash /opt/mail-platform/bootstrap.sh 2>&1');
    expect(output).not.toContain('changed:');
    expect(await shell('systemctl show --property=ActiveEnterTimestamp postfix dovecot mail-agent')).toBe(before);
  });

  test('the firewall lets in mail and health checks, nothing else', async () => {
    const [, neighbour] = system().cluster.nodes;
    const { address } = system().cluster.nodes[0];
    // Something listens on both, so that a closed port means the firewall.
    const probe = (port: number) =>
      neighbour.shell(`timeout 3 bash -c '</dev/tcp/${address}/${port}' 2>/dev/null && echo open || echo closed`);
    await shell('systemd-run --quiet --unit=listener --collect python3 -m http.server 2222');
    try {
      expect((await probe(2222)).trim()).toBe('closed');
      expect((await probe(22)).trim()).toBe('closed');
      expect((await probe(9900)).trim()).toBe('closed');
      expect((await probe(993)).trim()).toBe('open');
    } finally {
      await shell('systemctl stop listener');
    }
  });

  test('security updates are on', async () => {
    expect(await shell('apt-config dump')).toMatch(/APT::Periodic::Unattended-Upgrade "1"/);
    expect(await shell('unattended-upgrade --dry-run --verbose 2>&1 || true')).toMatch(/Debian-Security/);
  });

  test('the certificate is for the host name', async () => {
    expect(await shell('openssl x509 -in /etc/mail-platform/tls/fullchain.pem -noout -ext subjectAltName')).toContain(
      `DNS:${system().cluster.hostname}`,
    );
  });

  test('a wrong certificate is refused and the one in use stays', async () => {
    const fingerprint = 'openssl x509 -in /etc/mail-platform/tls/fullchain.pem -noout -fingerprint';
    const before = await shell(fingerprint);
    await shell('umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out /tmp/other.pem');
    const install = shell(
      'set -a; . /etc/mail-platform/env; /opt/mail-platform/libexec/install-certificate /etc/mail-platform/tls/fullchain.pem /tmp/other.pem',
    );
    await expect(install).rejects.toThrow(/key does not|key is not|not belong|match/);
    expect(await shell(fingerprint)).toBe(before);
  });

  test('users keep their mail when a broken users file is uploaded', async () => {
    const { cluster } = system();
    const [, Bucket, Key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(cluster.plan.environment.MAIL_DIRECTORY_OBJECT) ?? [];
    const s3 = new S3Client(cluster.aws.client);
    const put = (Body: string) => s3.send(new PutObjectCommand({ Bucket, Key, Body }));
    const before = await shell('cat /etc/dovecot/users');
    const good = (await cluster.userDirectory().read()).toString();
    await put('this is not a users file\n');
    try {
      await expect(shell('systemctl start mail-directory-sync.service')).rejects.toThrow();
      expect(await shell('cat /etc/dovecot/users')).toBe(before);
      expect(await shell('journalctl --unit mail-directory-sync --no-pager -n 20')).toMatch(/line 1/);
    } finally {
      await put(good);
      await shell('systemctl start mail-directory-sync.service');
    }
  });

  test('the agent reports its metrics', async () => {
    const { cluster } = system();
    const cloudWatch = new CloudWatchClient(cluster.aws.client);
    const names = await waitFor('all metrics', 80_000, async () => {
      const { Metrics = [] } = await cloudWatch.send(new ListMetricsCommand({ Namespace: 'MailPlatform' }));
      // The journal's own come from its daemon, each few minutes.
      const ofAgent = Metrics.map((metric) => metric.MetricName!).filter((name) => !name.startsWith('Journal'));
      return ofAgent.length >= 16 ? ofAgent : undefined;
    });
    expect(new Set(names)).toEqual(
      new Set([
        ...['CertificateDaysLeft', 'ConnectionUtilization', 'Connections', 'DirectoryAge', 'DiskUtilization'],
        ...['MemoryUtilization', 'QueueAge', 'QueueLength', 'StoreLatency'],
        ...['LeaseAge', 'LeasesLost', 'Members', 'QueuesAdopted', 'RingVersion'],
        ...['Logins', 'FailedLogins'],
      ]),
    );
  }, 90_000);
}
