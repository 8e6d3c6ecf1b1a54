import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { certificateDaysLeft } from '../../src/metrics/certificate';
import { diskUtilization, inodeUtilization, memoryUtilization } from '../../src/metrics/machine';
import { selfSigned } from '../support/certificate';
import { temporaryFolder } from '../support/temporary-folder';

const file = (content: string): string => {
  const path = join(temporaryFolder(), 'file');
  writeFileSync(path, content);
  return path;
};

test('memory in use is what is not available', async () => {
  const meminfo = file('MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    2000000 kB\n');
  expect(await memoryUtilization(meminfo)).toBe(75);
  expect(await memoryUtilization()).toBeGreaterThan(0);
});

test('fails when the kernel does not say what is available', async () => {
  await expect(memoryUtilization(file('MemTotal: 1 kB\n'))).rejects.toThrow('has no MemAvailable');
});

test('disk use agrees with df', async () => {
  const folder = temporaryFolder();
  const df = execFileSync('df', ['--output=pcent', folder], { encoding: 'utf8' });
  // df rounds up.
  expect(Math.abs((await diskUtilization(folder)) - Number(/(\d+)%/.exec(df)![1]))).toBeLessThanOrEqual(1.1);
});

test('use of inodes agrees with df', async () => {
  const folder = temporaryFolder();
  const [, percent] = /(\d+)%/.exec(execFileSync('df', ['--output=ipcent', folder], { encoding: 'utf8' })) ?? ['', '0'];
  expect(Math.abs((await inodeUtilization(folder)) - Number(percent))).toBeLessThanOrEqual(1.1);
});

test('counts the days of the first certificate in the chain', async () => {
  const chain = file(selfSigned(45).certificate + selfSigned(3).certificate);
  expect(await certificateDaysLeft(chain)).toBeCloseTo(45, 1);
  expect(await certificateDaysLeft(chain, Date.now() + 50 * 86_400_000)).toBeCloseTo(-5, 1);
});

test('fails when the certificate file is missing or holds none', async () => {
  await expect(certificateDaysLeft('/nowhere/fullchain.pem')).rejects.toThrow('ENOENT');
  await expect(certificateDaysLeft(file('hello'))).rejects.toThrow();
});
