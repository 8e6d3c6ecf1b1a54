import { mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Check } from './health-check';

export interface StoreCheckOptions {
  /** Where the mail store is mounted. */
  readonly mountPoint: string;
  /** Gives a name that no other node uses. */
  readonly instanceId: () => Promise<string>;
  /** Milliseconds that a write may take. @default 3000 */
  readonly limit?: number;
}

/**
 * The mail store is mounted, and a small file can be written, synced and renamed in it as mail is.
 *
 * Each node has a folder of its own below `.health`, which `bootstrap.sh` gives to the agent's user: user ids may differ
 * between nodes, and the agent must not be able to write anywhere else on the store.
 */
export const storeCheck = ({ mountPoint, instanceId, limit = 3_000 }: StoreCheckOptions): Check => ({
  name: 'store',
  limit,
  run: async () => {
    const own = join('.health', await instanceId());
    // Comparing devices instead of reading the mount table: systemd's sandbox puts bind mounts on paths that are no
    // mount points outside of it, and those have their parent's device.
    const [store, parent] = await Promise.all([stat(mountPoint), stat(dirname(mountPoint))]);
    if (store.dev === parent.dev) throw new Error(`${mountPoint} is not mounted`);
    await ensureFolder(join(mountPoint, '.health'));
    await ensureFolder(join(mountPoint, own));
    await writeDurably(join(mountPoint, own, 'probe'), `${new Date().toISOString()}\n`);
  },
});

// Looks first: an NFS client that has not seen the folder yet would say for `mkdir` that it is forbidden, not that it is
// there. And not the recursive mkdir: on a read-only store it says that a path is missing.
const ensureFolder = async (path: string): Promise<void> => {
  try {
    await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await mkdir(path, 0o755);
  }
};

const writeDurably = async (path: string, content: string): Promise<void> => {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
};
