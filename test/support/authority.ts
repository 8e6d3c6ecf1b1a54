import { execFileSync } from 'node:child_process';
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

  constructor(name: string, days = 365) {
    const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign'];
    this.identity = make({ subject: `/CN=${name}`, days }, extensions);
  }

  /** Its own certificate. */
  public get pem(): string {
    return this.identity.cert;
  }

  public issue(options: CertificateOptions): Identity {
    return make(options, [`extendedKeyUsage=${options.usage ?? 'clientAuth'}`], this.identity);
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
