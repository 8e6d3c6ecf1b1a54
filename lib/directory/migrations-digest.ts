import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import * as path from 'node:path';
import { packagePath } from '../private/package-root';

/** SHA-256 over the package's migrations, hexadecimal: another one when there is a new migration. */
export function migrationsDigest(): string {
  const folder = packagePath('assets', 'directory', 'migrations');
  const hash = createHash('sha256');
  for (const file of readdirSync(folder).sort()) {
    hash.update(`${file}\n`).update(readFileSync(path.join(folder, file)));
  }
  return hash.digest('hex');
}
