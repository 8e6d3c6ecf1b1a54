import { writeFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { blockListAge } from '../../src/metrics/block-lists';
import { temporaryFolder } from '../support/temporary-folder';

const NOW = Date.UTC(2026, 10, 22);

test('is as old as the oldest list that is in use', async () => {
  const state = join(temporaryFolder(), 'state.json');
  writeFileSync(state, JSON.stringify({ fetched: NOW / 1000 - 7200 }));
  expect(await blockListAge(state, NOW)).toBe(7200);
  writeFileSync(state, JSON.stringify({ fetched: NOW / 1000 + 60 }));
  expect(await blockListAge(state, NOW)).toBe(0);
});

test('a machine without a list is as stale as it is old', async () => {
  const age = await blockListAge(join(temporaryFolder(), 'state.json'));
  expect(Math.abs(age - uptime())).toBeLessThan(5);
});

test('fails when the file says nothing, rather than tell that all is well', async () => {
  const state = join(temporaryFolder(), 'state.json');
  writeFileSync(state, '{}');
  await expect(blockListAge(state)).rejects.toThrow('does not say when lists were fetched');
});
