import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { revocationHoursLeft } from '../../src/metrics/client-revocations';
import { temporaryFolder } from '../support/temporary-folder';

test('says when the first list ends, or that it has, or that there is none', async () => {
  const ends = join(temporaryFolder(), 'ends');
  const now = Date.now();
  writeFileSync(ends, `${Math.round(now / 1000) + 7200}\n`);
  expect(await revocationHoursLeft(ends, now)).toBeCloseTo(2, 2);
  expect(await revocationHoursLeft(ends, now + 10_800_000)).toBeCloseTo(-1, 2);
  writeFileSync(ends, 'none\n');
  expect(await revocationHoursLeft(ends, now)).toBe(0);
  writeFileSync(ends, 'soon\n');
  await expect(revocationHoursLeft(ends, now)).rejects.toThrow('does not say when revocation lists end');
});
