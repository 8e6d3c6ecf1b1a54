import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { storeCheck } from '../../src/health/store-check';
import { temporaryFolder } from '../support/temporary-folder';

const { signal } = new AbortController();
const instanceId = async () => 'i-0123456789abcdef0';
const asRoot = process.getuid?.() === 0 ? test : test.skip;

const mounted =
  (use: (mountPoint: string) => Promise<void>, options: string[] = []) =>
  async () => {
    const mountPoint = join(temporaryFolder(), 'store');
    mkdirSync(mountPoint);
    execFileSync('mount', ['-t', 'tmpfs', ...options, 'none', mountPoint]);
    try {
      await use(mountPoint);
    } finally {
      execFileSync('umount', [mountPoint]);
    }
  };

asRoot(
  'writes a file to the mounted store, again and again',
  mounted(async (mountPoint) => {
    const check = storeCheck({ mountPoint, instanceId });
    await check.run(signal);
    await check.run(signal);
    const folder = join(mountPoint, '.health', 'i-0123456789abcdef0');
    expect(readdirSync(folder)).toEqual(['probe']);
    expect(Date.now() - Date.parse(readFileSync(join(folder, 'probe'), 'utf8').trim())).toBeLessThan(60_000);
  }),
);

asRoot(
  'fails when the store is full',
  mounted(
    async (mountPoint) => {
      execFileSync('sh', ['-c', `head -c 1M /dev/zero > ${join(mountPoint, 'mail')} || true`], { stdio: 'ignore' });
      await expect(storeCheck({ mountPoint, instanceId }).run(signal)).rejects.toThrow('ENOSPC');
    },
    ['-o', 'size=64k'],
  ),
);

asRoot(
  'fails when the store is read-only',
  mounted(
    async (mountPoint) => {
      await expect(storeCheck({ mountPoint, instanceId }).run(signal)).rejects.toThrow('EROFS');
    },
    ['-o', 'ro'],
  ),
);

test('fails when nothing is mounted, and writes nothing there', async () => {
  const mountPoint = join(temporaryFolder(), 'store');
  mkdirSync(mountPoint);
  chmodSync(mountPoint, 0o777);
  await expect(storeCheck({ mountPoint, instanceId }).run(signal)).rejects.toThrow(`${mountPoint} is not mounted`);
  expect(existsSync(join(mountPoint, '.health'))).toBe(false);
});

test('fails when the node does not know its own name', async () => {
  const check = storeCheck({ mountPoint: '/', instanceId: () => Promise.reject(new Error('no metadata')) });
  await expect(check.run(signal)).rejects.toThrow('no metadata');
});
