import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './temporary-folder';

export interface PemPair {
  readonly certificate: string;
  readonly key: string;
}

/** A fresh self-signed certificate. */
export const selfSigned = (days: number): PemPair => {
  const folder = temporaryFolder();
  const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'certificate.pem')];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=mail.example.com'];
  execFileSync('openssl', ['req', '-x509', '-days', String(days), ...kind, ...files], { stdio: 'pipe' });
  const read = (name: string) => readFileSync(join(folder, name), 'utf8');
  return { certificate: read('certificate.pem'), key: read('key.pem') };
};
