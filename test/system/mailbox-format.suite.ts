import type { System } from './system';

/** A store keeps the format that it began with (E1). */
export function mailboxFormatSuite(system: () => System): void {
  const shell = (script: string) => system().cluster.nodes[1].shell(script, { timeout: 60_000 });
  const claim = (format: string) => shell(`/opt/mail-platform/libexec/claim-format /tmp/store ${format} 2>&1`);

  beforeEach(() => shell('rm -rf /tmp/store; mkdir -p /tmp/store/mail'));

  test('the first node decides', async () => {
    await claim('sdbox');
    await claim('sdbox');
    await expect(claim('maildir')).rejects.toThrow(
      /mailboxes on \/tmp\/store are sdbox, MAIL_MAILBOX_FORMAT is maildir; nothing was changed/,
    );
    expect(await shell('ls -A /tmp/store')).toBe('mail\nmailbox-format\n');
  });

  test('nodes that boot at once agree', async () => {
    await shell(
      'for f in maildir sdbox maildir sdbox maildir sdbox; do /opt/mail-platform/libexec/claim-format /tmp/store $f 2>/dev/null & done; wait',
    );
    expect(await shell('cat /tmp/store/mailbox-format; ls -A /tmp/store')).toMatch(
      /^(maildir|sdbox)\nmail\nmailbox-format\n$/,
    );
  });

  test('a store with mail and without a marker is what its mailboxes are', async () => {
    await shell('mkdir -p /tmp/store/mail/example.com/alice/mail/cur');
    await expect(claim('sdbox')).rejects.toThrow(/are maildir/);
    await claim('maildir');
  });

  test('a node with the other format ends its boot, and serves as before', async () => {
    const change = (from: string, to: string) =>
      shell(`sed -i s/MAIL_MAILBOX_FORMAT=${from}/MAIL_MAILBOX_FORMAT=${to}/ /etc/mail-platform/env`);
    await change('maildir', 'sdbox');
    try {
      await expect(shell('bash /opt/mail-platform/bootstrap.sh 2>&1')).rejects.toThrow(
        /error: mailboxes on \/srv\/mail-store are maildir, MAIL_MAILBOX_FORMAT is sdbox/,
      );
      expect((await shell('doveconf -h mail_driver')).trim()).toBe('maildir');
      expect(await shell('systemctl is-active dovecot postfix')).toBe('active\nactive\n');
    } finally {
      await change('sdbox', 'maildir');
    }
  }, 90_000);
}
