import { readFileSync } from 'node:fs';
import { SIZING_PAGE, withTables } from '../../bin/sizing-tables';

test('docs/sizing.md has the tables that the code makes (npm run docs:sizing writes them)', () => {
  const page = readFileSync(SIZING_PAGE, 'utf8');
  expect(page.match(/^<!-- (clusters|cost|nodes) -->$/gm)).toHaveLength(3);
  expect(withTables(page)).toBe(page);
});

test('a figure that was changed by hand comes out', () => {
  const page = readFileSync(SIZING_PAGE, 'utf8');
  const wrong = page.replace('| 2 000 | 3–6 × m7g.large |', '| 2 000 | 2–4 × m7g.large |');
  expect(wrong).not.toBe(page);
  expect(withTables(wrong)).toBe(page);
});
