import type { System } from './system';

const ports = [
  ['imaps', 993, ''],
  ['submissions', 465, ''],
  ['pop3s', 995, ''],
  ['submission', 587, '-starttls smtp'],
  ['mx', 25, '-starttls smtp'],
  ['managesieve', 4190, '-starttls sieve'],
] as const;

/** TLS on each port of a node, seen by OpenSSL 3.5 on its neighbour (A3, A4). */
export function tlsSuite(system: () => System): void {
  async function handshake(port: number, options: string): Promise<string> {
    const [target, client] = system().cluster.nodes;
    const command = `openssl s_client -connect ${target.address}:${port} ${options} </dev/null 2>&1 || true`;
    return client.shell(command, { timeout: 20_000 });
  }

  describe.each(ports)('%s (%d)', (_name, port, starttls) => {
    test('negotiates X25519MLKEM768 with TLS 1.3 and AES-256-GCM', async () => {
      const answer = await handshake(port, `${starttls} -tls1_3`);
      expect(answer).toContain('Negotiated TLS1.3 group: X25519MLKEM768');
      expect(answer).toContain('Cipher is TLS_AES_256_GCM_SHA384');
    });

    test('still serves a client that knows only TLS 1.2 and P-256, with forward secrecy', async () => {
      const answer = await handshake(port, `${starttls} -tls1_2 -groups P-256`);
      expect(answer).toMatch(/New, TLSv1\.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384/);
    });

    test.each(['-tls1', '-tls1_1'])('refuses %s', async (version) => {
      const answer = await handshake(port, `${starttls} ${version} -cipher ALL:@SECLEVEL=0`);
      expect(answer).toMatch(/alert protocol version|unsupported protocol|no protocols available|handshake failure/);
      expect(answer).toContain('Cipher is (NONE)');
    });

    test('refuses every cipher without forward secrecy or without authenticated encryption', async () => {
      const weak = "'ALL:COMPLEMENTOFALL:!ECDHE+AESGCM:!ECDHE+CHACHA20:@SECLEVEL=0'";
      const answer = await handshake(port, `${starttls} -tls1_2 -cipher ${weak}`);
      expect(answer).toMatch(/handshake failure|no shared cipher/);
      expect(answer).toContain('Cipher is (NONE)');
    });

    test('refuses other groups', async () => {
      const answer = await handshake(port, `${starttls} -tls1_3 -groups ffdhe2048:ffdhe3072:secp521r1`);
      expect(answer).toContain('Cipher is (NONE)');
    });

    test('shows a certificate for the host name', async () => {
      const { hostname } = system().cluster;
      const answer = await handshake(port, `${starttls} -verify_hostname ${hostname} -showcerts`);
      expect(answer).toMatch(new RegExp(`subject=.*CN ?= ?${hostname.replace(/\./g, '\\.')}`));
      expect(answer).not.toContain('hostname mismatch');
    });
  });
}
