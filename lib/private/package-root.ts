import { existsSync } from 'node:fs';
import { dirname, join, parse } from 'node:path';

/**
 * Path of a file or folder that ships with this package, such as `packagePath('dist', 'handlers', 'acme-credentials')`.
 *
 * The root is the nearest folder above this file that has a package.json: that is so in the sources (lib/private) and
 * in the built package (dist/lib/private), which lie at different depths.
 *
 * @throws when the file is not there, which means that the package was not built.
 */
export function packagePath(...segments: string[]): string {
  const path = join(packageRoot(__dirname), ...segments);
  if (!existsSync(path)) {
    throw new Error(`${segments.join('/')} is not in the package; run npm run build`);
  }
  return path;
}

function packageRoot(folder: string): string {
  if (existsSync(join(folder, 'package.json'))) {
    return folder;
  }
  if (folder === parse(folder).root) {
    throw new Error(`no package.json above ${__dirname}`);
  }
  return packageRoot(dirname(folder));
}
