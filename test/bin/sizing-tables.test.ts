import { SIZING_PAGE } from '../../bin/sizing-tables';

const page = SIZING_PAGE.read();

test('docs/sizing.md has the tables that the code makes (npm run docs:sizing writes them)', () => {
  expect(SIZING_PAGE.withTables(page)).toBe(page);
});

test('a figure that was changed by hand comes out', () => {
  const wrong = page.replace('| 2 000 | 3–6 × m7g.large |', '| 2 000 | 2–4 × m7g.large |');
  expect(wrong).not.toBe(page);
  expect(SIZING_PAGE.withTables(wrong)).toBe(page);
});

test('fails when a table is missing', () => {
  expect(() => SIZING_PAGE.withTables(page.replace('<!-- cost -->', ''))).toThrow(
    'must have the tables clusters, cost, nodes, got clusters, nodes',
  );
});
