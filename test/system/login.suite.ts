import type { LocalUser } from '../../local/mail-clients';
import { waitFor } from '../../local/run';
import { LineClient, ScramClient, base64, fromBase64 } from './line-client';
import type { System } from './system';

/** Who gets in, and how (B1, C1). What is refused in clear, and to guessers, is in security.suite.ts. */
export function loginSuite(system: () => System): void {
  const imap = async () => {
    const client = await LineClient.tls(system().view.address, 993, system().tls);
    await client.expect(/^\* OK/);
    return client;
  };
  const smtp = async () => {
    const client = await LineClient.tcp(system().view.address, 587);
    await client.expect(/^220 /);
    await client.ask('EHLO client.example.net', /^250 /);
    await client.ask('STARTTLS', /^220 /);
    await client.startTls(system().tls);
    return client;
  };
  const plain = ({ address, password }: LocalUser) => base64(`\0${address}\0${password}`);

  describe('IMAP', () => {
    test('PLAIN', async () => {
      const client = await imap();
      await client.imap(`AUTHENTICATE PLAIN ${plain(system().alice)}`);
      client.close();
    });

    test('LOGIN command', async () => {
      const client = await imap();
      const { address, password } = system().alice;
      await client.imap(`LOGIN ${address} ${password}`);
      client.close();
    });

    test('SCRAM-SHA-256, and the server proves itself', async () => {
      const { address, password } = system().alice;
      const scram = new ScramClient(address, password);
      const client = await imap();
      const challenge = await client.ask(`a1 AUTHENTICATE SCRAM-SHA-256 ${base64(scram.first())}`, /^\+ /);
      const last = await client.ask(base64(scram.final(fromBase64(challenge.trim().slice(2)))), /^(\+|a1) /);
      expect(scram.verifies(fromBase64(last.trim().slice(2)))).toBe(true);
      await client.ask('', /^a1 OK/);
      client.close();
    });

    test('refuses a wrong password', async () => {
      const client = await imap();
      const wrong = { ...system().alice, password: 'wrong-password' };
      await client.ask(`a1 AUTHENTICATE PLAIN ${plain(wrong)}`, /^a1 NO \[AUTHENTICATIONFAILED\]/);
      client.close();
    });

    test('offers no CRAM-MD5', async () => {
      const client = await imap();
      expect(await client.imap('CAPABILITY')).not.toContain('CRAM-MD5');
      client.close();
    });
  });

  describe('submission', () => {
    test.each([['PLAIN'], ['LOGIN'], ['SCRAM-SHA-256']])('%s', async (mechanism) => {
      const { alice } = system();
      const client = await smtp();
      expect(await client.ask('EHLO client.example.net', /^250 /)).toMatch(new RegExp(`AUTH.* ${mechanism}`));
      if (mechanism === 'PLAIN') {
        await client.ask(`AUTH PLAIN ${plain(alice)}`, /^235 /);
      } else if (mechanism === 'LOGIN') {
        await client.ask('AUTH LOGIN', /^334 /);
        await client.ask(base64(alice.address), /^334 /);
        await client.ask(base64(alice.password), /^235 /);
      } else {
        const scram = new ScramClient(alice.address, alice.password);
        const challenge = await client.ask(`AUTH SCRAM-SHA-256 ${base64(scram.first())}`, /^334 /);
        const last = await client.ask(base64(scram.final(fromBase64(challenge.trim().slice(4)))), /^334 /);
        expect(scram.verifies(fromBase64(last.trim().slice(4)))).toBe(true);
        await client.ask('', /^235 /);
      }
      client.close();
    });

    test('refuses a wrong password', async () => {
      const client = await smtp();
      await client.ask('EHLO client.example.net', /^250 /);
      await client.ask(`AUTH PLAIN ${plain({ ...system().alice, password: 'wrong-password' })}`, /^535 /);
      client.close();
    });
  });

  test('ManageSieve takes a login under TLS', async () => {
    const secure = await LineClient.tcp(system().view.address, 4190);
    await secure.expect(/^OK/);
    await secure.ask('STARTTLS', /^OK/);
    await secure.startTls(system().tls);
    await secure.expect(/^OK/);
    await secure.ask(`AUTHENTICATE "PLAIN" "${plain(system().alice)}"`, /^OK/);
    secure.close();
  });

  test('a user who is removed from the directory can no longer log in, one who is added can', async () => {
    const { cluster } = system();
    const carol = { address: `carol@${cluster.domains[0]}`, password: 'carol-local-password' };
    const login = async () => {
      const client = await imap();
      const answer = await client.ask(`a1 AUTHENTICATE PLAIN ${plain(carol)}`, /^a1 /);
      client.close();
      return /^a1 OK/m.test(answer);
    };
    const synchronise = () =>
      Promise.all(cluster.nodes.map((node) => node.shell('systemctl start mail-directory-sync.service')));

    expect(await login()).toBe(false);
    await cluster.userDirectory().update((file) => file.add(carol.address, carol.password));
    await synchronise();
    // Failed logins of an address are answered late for a while; a client asks again.
    await waitFor('carol to log in', 30_000, async () => ((await login()) ? true : undefined));
    await cluster.userDirectory().update((file) => file.remove(carol.address));
    await synchronise();
    // Once for each node: the balancer takes turns.
    for (let turn = 0; turn < cluster.nodes.length; turn++) expect(await login()).toBe(false);
  });
}
