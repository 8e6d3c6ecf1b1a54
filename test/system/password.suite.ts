import { LineClient } from './line-client';
import type { System } from './system';

/** Passwords in clear are computed once, not at each login (B3, C1). */
export function passwordSuite(system: () => System): void {
  const logIn = async (password: string) => {
    const { cluster, alice, tls } = system();
    const client = await LineClient.tls(cluster.nodes[0].address, 993, tls);
    await client.expect(/^\* OK/);
    const answer = await client.ask(`a1 LOGIN ${alice.address} ${password}`, /^a1 /);
    client.close();
    return answer;
  };
  /** Processor time of what computes, clock ticks. */
  const ticks = async () =>
    Number(
      await system().cluster.nodes[0].shell(
        `cat /proc/[0-9]*/stat 2>/dev/null | awk '$2 == "(auth)" { sum += $14 + $15 } END { print sum }'`,
      ),
    );

  test('the second of 20 logins and all later ones take no computing', async () => {
    expect(await logIn(system().alice.password)).toMatch(/^a1 OK/m);
    const before = await ticks();
    for (let i = 0; i < 20; i++) expect(await logIn(system().alice.password)).toMatch(/^a1 OK/m);
    // 100 000 rounds are 10 ticks and more.
    expect((await ticks()) - before).toBeLessThan(20);
  });

  test('nor does a login after the hour that the cache keeps it', async () => {
    const { nodes } = system().cluster;
    expect(await nodes[0].shell('doveconf auth_cache_ttl')).toBe('auth_cache_ttl = 1h\n');
    expect(await logIn(system().alice.password)).toMatch(/^a1 OK/m);
    const before = await ticks();
    for (let i = 0; i < 20; i++) {
      await nodes[0].shell('doveadm auth cache flush');
      expect(await logIn(system().alice.password)).toMatch(/^a1 OK/m);
    }
    expect((await ticks()) - before).toBeLessThan(40);
    await nodes[0].shell('doveadm auth cache flush');
    expect(await logIn('not-the-password')).toMatch(/^a1 NO \[AUTHENTICATIONFAILED\]/m);
  }, 60_000);

  test('a wrong password is wrong, also when the right one is known', async () => {
    expect(await logIn(system().alice.password)).toMatch(/^a1 OK/m);
    expect(await logIn('not-the-password')).toMatch(/^a1 NO \[AUTHENTICATIONFAILED\]/m);
  });

  test('a changed password opens, and the old one does not, as soon as the node has the file', async () => {
    const { cluster, alice } = system();
    const change = async (password: string) => {
      await cluster.userDirectory().update((file) => file.setPassword(alice.address, password));
      await cluster.nodes[0].shell('systemctl start mail-directory-sync.service');
    };
    await change('quite-another-password');
    try {
      expect(await logIn('quite-another-password')).toMatch(/^a1 OK/m);
      expect(await logIn(alice.password)).toMatch(/^a1 NO \[AUTHENTICATIONFAILED\]/m);
    } finally {
      await change(alice.password);
    }
    expect(await logIn(alice.password)).toMatch(/^a1 OK/m);
  }, 60_000);
}
