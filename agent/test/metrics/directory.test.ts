import { writeFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { directoryAge } from '../../src/metrics/directory';
import { temporaryFolder } from '../support/temporary-folder';

const NOW = Date.UTC(2026, 10, 22);

test('says how long ago the directory answered, or that it never did', async () => {
  const seen = join(temporaryFolder(), 'directory-seen');
  expect(Math.abs((await directoryAge(seen)) - uptime())).toBeLessThan(5);
  writeFileSync(seen, `${NOW / 1000 - 1200}\n`);
  expect(await directoryAge(seen, NOW)).toBe(1200);
  // The clock was put back.
  writeFileSync(seen, `${NOW / 1000 + 60}\n`);
  expect(await directoryAge(seen, NOW)).toBe(0);
});

test.each(['', '\n', 'yesterday\n'])('fails when the file says %j, rather than tell that all is well', async (text) => {
  const seen = join(temporaryFolder(), 'directory-seen');
  writeFileSync(seen, text);
  await expect(directoryAge(seen)).rejects.toThrow('does not say when the directory answered');
});
