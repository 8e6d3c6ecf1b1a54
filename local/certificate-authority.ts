import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { run } from './run';

/** A certificate authority for one run of the local cluster. */
export class CertificateAuthority {
  /** Makes a new authority in the folder. */
  public static async create(folder: string): Promise<CertificateAuthority> {
    mkdirSync(folder, { recursive: true });
    await openssl(folder, [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'],
      ...['-subj', '/CN=Local mail cluster', '-keyout', 'ca.key', '-out', 'ca.pem'],
      ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
    ]);
    return new CertificateAuthority(folder);
  }

  private constructor(private readonly folder: string) {}

  /** The authority's certificate file, for clients. */
  public get certificateFile(): string {
    return path.join(this.folder, 'ca.pem');
  }

  /** The secret that nodes with `NodeCertificate.localCa()` read. */
  public secret(): string {
    const read = (name: string) => readFileSync(path.join(this.folder, name), 'utf8');
    return JSON.stringify({ certificate: read('ca.pem'), privateKey: read('ca.key') });
  }

  /** Issues a server certificate; returns one PEM file with key and certificate, as HAProxy reads it. */
  public async issue(name: string): Promise<string> {
    writeFileSync(path.join(this.folder, 'leaf.ext'), `subjectAltName=DNS:${name}\nextendedKeyUsage=serverAuth\n`);
    await openssl(this.folder, [
      ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`],
      ...['-keyout', 'leaf.key', '-out', 'leaf.csr'],
    ]);
    await openssl(this.folder, [
      ...['x509', '-req', '-in', 'leaf.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '30'],
      ...['-extfile', 'leaf.ext', '-out', 'leaf.pem'],
    ]);
    const file = path.join(this.folder, `${name}.pem`);
    const parts = ['leaf.key', 'leaf.pem', 'ca.pem'].map((part) => readFileSync(path.join(this.folder, part), 'utf8'));
    writeFileSync(file, parts.join(''), { mode: 0o600 });
    return file;
  }
}

async function openssl(folder: string, args: string[]): Promise<void> {
  await run('openssl', args, { cwd: folder });
}
