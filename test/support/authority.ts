import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate and its key, PEM. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

/** What a certificate is to say. */
export interface CertificateOptions {
  /** In openssl's notation, such as `/CN=alice@example.com`. */
  readonly subject: string;
  /** Days until it expires; 0 for one that has. @default 30 */
  readonly days?: number;
  /** @default 'clientAuth' */
  readonly usage?: string;
}

/** A certificate authority of a test, made with openssl. */
export class Authority {
  public readonly identity: Identity;

  /** @param usage what its key is for */
  constructor(name: string, days = 365, usage = 'keyCertSign,cRLSign') {
    const extensions = ['basicConstraints=critical,CA:TRUE', `keyUsage=critical,${usage}`];
    this.identity = make({ subject: `/CN=${name}`, days }, extensions);
  }

  /** Its own certificate. */
  public get pem(): string {
    return this.identity.cert;
  }

  public issue(options: CertificateOptions): Identity {
    return make(options, [`extendedKeyUsage=${options.usage ?? 'clientAuth'}`], this.identity);
  }

  /**
   * A list of what it revoked (RFC 5280, 5), PEM.
   *
   * @param seconds until it ends
   */
  public revocationList(revoked: Identity[], seconds = 3600 * 48): string {
    return revocationList(this.identity, revoked, seconds);
  }
}

/** @param seconds until it ends */
function revocationList(issuer: Identity, revoked: Identity[], seconds: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'authority-'));
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  // A row of openssl's database (CA(1)) for each: revoked, until when it would be good, since when it is not, serial number, subject.
  const rows = revoked.map(({ cert }) => {
    const { serialNumber } = new X509Certificate(cert);
    return ['R', '491231235959Z', '260101000000Z', serialNumber, 'unknown', `/CN=${serialNumber}`].join('\t');
  });
  try {
    const database = file('index.txt', rows.map((row) => `${row}\n`).join(''));
    const config = file('config', `[ca]\ndefault_ca=it\n[it]\ndatabase=${database}\ndefault_md=sha256\n`);
    const signer = ['-cert', file('ca', issuer.cert), '-keyfile', file('key', issuer.key)];
    const words = ['ca', '-gencrl', '-config', config, ...signer, '-crlsec', `${seconds}`];
    return execFileSync('openssl', words, { stdio: 'pipe' }).toString();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function make({ subject, days = 30 }: CertificateOptions, extensions: string[], issuer?: Identity): Identity {
  const folder = mkdtempSync(join(tmpdir(), 'authority-'));
  const file = (name: string, text?: string) => {
    if (text !== undefined) writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const openssl = (...words: string[]) => execFileSync('openssl', words, { stdio: 'pipe' });
  try {
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    openssl('req', ...kind, '-nodes', '-keyout', file('key'), '-out', file('request'), '-subj', subject);
    const by = issuer
      ? ['-CA', file('ca', issuer.cert), '-CAkey', file('ca-key', issuer.key), '-CAcreateserial']
      : ['-signkey', file('key')];
    const request = ['-req', '-in', file('request'), '-out', file('cert'), '-days', `${days}`];
    openssl('x509', ...request, ...by, '-extfile', file('extensions', `${extensions.join('\n')}\n`));
    return { cert: readFileSync(file('cert'), 'utf8'), key: readFileSync(file('key'), 'utf8') };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
