import { utimesSync, writeFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { tokenKeysAge } from '../../src/metrics/token-keys';
import { temporaryFolder } from '../support/temporary-folder';

test('says how long ago keys were fetched, or that they never were', async () => {
  const fetched = join(temporaryFolder(), '.fetched');
  expect(Math.abs((await tokenKeysAge(fetched)) - uptime())).toBeLessThan(5);
  writeFileSync(fetched, '');
  const time = Date.now() / 1000;
  utimesSync(fetched, time, time - 600);
  expect(await tokenKeysAge(fetched)).toBeCloseTo(600, -1);
  await expect(tokenKeysAge(join(fetched, 'below'))).rejects.toThrow('ENOTDIR');
});
