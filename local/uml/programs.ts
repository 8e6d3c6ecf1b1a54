import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import * as path from 'node:path';
import { CACHE } from '../paths';
import { installTools } from '../prepare';
import { Progress } from '../progress';
import { readPackages } from '../root-filesystem';
import { run } from '../run';

/** Where a guest finds, below its first root, the nodes' root file system, the folder of this run, and its scripts. */
export const NODE_ROOT = '/srv/node-root';
export const RUN_FOLDER = '/srv/run';
export const SCRIPTS = '/srv/guest';

/**
 * A folder with Debian 13's user-mode Linux, its modules, and the programs that a guest runs before it has a root of its
 * own; the file system's guest runs on nothing else.
 *
 * @returns the folder, made when it is not in the cache for this package list.
 * @throws Error when the packages can't be had.
 */
export async function guestPrograms(progress: Progress): Promise<string> {
  await installTools({ mmdebstrap: 'mmdebstrap', mke2fs: 'e2fsprogs' }, progress);
  const packages = readPackages(path.join(__dirname, 'packages.txt'));
  const recipe = ['--variant=extract', `--include=${packages.join(',')}`];
  const key = createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 16);
  const folders = path.join(CACHE, 'uml');
  const folder = path.join(folders, key);
  if (existsSync(folder)) return folder;
  mkdirSync(folders, { recursive: true });
  const building = mkdtempSync(path.join(folders, 'building-'));
  try {
    await progress.longStep("Debian 13's user-mode Linux, once", () =>
      run('mmdebstrap', [...recipe, 'trixie', building]),
    );
    for (const mountPoint of [NODE_ROOT, RUN_FOLDER, SCRIPTS, '/mnt'])
      mkdirSync(path.join(building, mountPoint), { recursive: true });
    symlinkSync('uml/modules', path.join(building, 'usr/lib/modules'));
    chmodSync(building, 0o755);
    // Another process may have been faster.
    if (!existsSync(folder)) renameSync(building, folder);
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
  return folder;
}

// Fetched before the test begins: its sandbox has no network. What is missing then, the test says.
if (require.main === module) {
  guestPrograms(new Progress()).catch((error: Error) => console.error(error.message));
}
