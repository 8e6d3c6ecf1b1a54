import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import * as path from 'node:path';
import { CACHE, PROJECT } from './paths';
import type { Progress } from './progress';
import { run } from './run';

const SUITE = 'trixie';
const BUILDING = 'building-';

/** Package names in a list file: one a line, `#` starts a comment. */
export function readPackages(file: string): string[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
}

/**
 * A Debian 13 root file system that stands for the AMI, with the node's packages on it, so that boots need no mirror.
 *
 * @returns the folder, built when it is not in the cache for these package lists.
 */
export async function rootFilesystem(progress: Progress): Promise<string> {
  const packages = [
    ...readPackages(path.join(__dirname, 'root-packages.txt')),
    ...['.', 'signing', 'filtering', 'database', 'inbound', 'rewriting', 'sealing'].flatMap((part) =>
      readPackages(path.join(PROJECT, 'assets', 'node', part, 'packages.txt')),
    ),
  ];
  const recipe = mmdebstrapArguments(packages);
  const key = createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 16);
  const roots = path.join(CACHE, 'roots');
  const root = path.join(roots, key);
  if (!existsSync(root)) {
    mkdirSync(roots, { recursive: true });
    removeUnused(roots);
    const building = mkdtempSync(path.join(roots, BUILDING));
    chmodSync(building, 0o755); // it becomes the node's /
    await progress.longStep('Debian 13 root file system, once', () => run('mmdebstrap', [...recipe, SUITE, building]));
    // Another process may have been faster.
    if (existsSync(root)) rmSync(building, { recursive: true, force: true });
    else renameSync(building, root);
  }
  const now = new Date();
  utimesSync(root, now, now); // last use
  return root;
}

/** Removes all but the root that was used last, which another cluster may be running on, and builds that were left. */
function removeUnused(roots: string): void {
  const hour = 3600 * 1000;
  const entries = readdirSync(roots).map((name) => ({ name, used: statSync(path.join(roots, name)).mtimeMs }));
  const complete = entries.filter(({ name }) => !name.startsWith(BUILDING)).sort((a, b) => b.used - a.used);
  const left = entries.filter(({ name, used }) => name.startsWith(BUILDING) && used < Date.now() - hour);
  for (const { name } of [...complete.slice(1), ...left])
    rmSync(path.join(roots, name), { recursive: true, force: true });
}

function mmdebstrapArguments(packages: string[]): string[] {
  return [
    '--variant=minbase',
    `--include=${packages.join(',')}`,
    // The services that the packages start are the business of the node's bootstrap, as on a machine just installed.
    '--customize-hook=for u in postfix dovecot nftables stunnel4 rpcbind rspamd valkey-server clamav-daemon clamav-freshclam clamav-freshclam-once postsrsd; do systemctl --root="$1" disable $u.service $u.socket $u.timer 2>/dev/null || true; done',
    // Nor does a first boot, which enables whatever it finds, start those of parts that nobody chose.
    '--customize-hook=mkdir -p "$1/etc/systemd/system-preset"; printf "disable %s\\n" rspamd.service postsrsd.service "valkey-*" "clamav-*" >"$1/etc/systemd/system-preset/10-by-choice.preset"',
    '--customize-hook=rm -f "$1/etc/machine-id" "$1/etc/hostname"',
  ];
}
