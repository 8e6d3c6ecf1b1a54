import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import * as path from 'node:path';

const ROOT = path.join(__dirname, '..', '..');
/** Not written by us, or made by a build. */
const PASSED_OVER = ['node_modules', 'dist', 'cdk.out', 'coverage', '__snapshots__'];
/** Made by `npm run build`. */
const BUILT = /^assets\/node\/agent\//;

/** Files below a folder of the project, by their paths in the project. */
function filesBelow(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    if (entry.name.startsWith('.') || PASSED_OVER.includes(entry.name)) return [];
    return entry.isDirectory() ? filesBelow(file) : [file];
  });
}

const FILES = filesBelow('').filter((file) => !BUILT.test(file));
const PAGES = FILES.filter((file) => file.endsWith('.md'));
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');
const { scripts } = JSON.parse(read('package.json')) as { scripts: { [name: string]: string } };

/** All matches of the first group, in the order of the text. */
const found = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, group]) => group);

/** The anchors that GitHub gives the headings of a page. */
function anchors(page: string): string[] {
  const headings = found(read(page).replace(/^```[\s\S]*?^```$/gm, ''), /^#+ (.*)$/gm);
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  );
}

describe.each(PAGES)('%s', (page) => {
  const text = read(page);
  const prose = text.replace(/^```[\s\S]*?^```$/gm, '');

  test('links lead to files, and to headings in them', () => {
    const dead = found(prose, /\]\(([^)\s]+)\)/g)
      .filter((target) => !/^https?:/.test(target))
      .filter((target) => {
        const [file, anchor] = target.split('#');
        const to = file ? path.join(path.dirname(page), file) : page;
        return !existsSync(path.join(ROOT, to)) || (anchor && !anchors(to).includes(anchor));
      });
    expect(dead).toEqual([]);
  });

  test('files that are named exist', () => {
    const named = found(
      found(prose, /`([^`\n]+)`/g).join('\n'),
      /(?:^|[\s(])((?:agent|assets|bench|bin|docs|examples|handlers|lib|local|scripts|test)\/[\w./-]+)/gm,
    );
    const exists = (file: string) =>
      BUILT.test(file) || [ROOT, path.join(ROOT, path.dirname(page))].some((from) => existsSync(path.join(from, file)));
    expect(named.map((file) => file.replace(/[.,]$/, '')).filter((file) => !exists(file))).toEqual([]);
  });

  test('scripts of package.json that are named exist', () => {
    expect(found(text, /npm run ([a-z][\w:-]*)/g).filter((name) => !(name in scripts))).toEqual([]);
  });

  test("suites that a test's name chooses exist", () => {
    const suites = FILES.filter((file) => /^test\/.*\.test\.ts$/.test(file)).map(read);
    const chosen = found(text, /-t '\^([a-z][a-z -]*) '/g);
    expect(chosen.filter((name) => !suites.some((suite) => suite.includes(`describe('${name}'`)))).toEqual([]);
  });

  test('options of our commands are such that the command has', () => {
    expect(unknownOptions(text)).toEqual([]);
  });
});

/** Options in the page's commands that the command's source does not have. */
function unknownOptions(text: string): string[] {
  const code = [...found(text, /^```(?:sh)?\n([\s\S]*?)^```$/gm), ...found(text, /`([^`\n]+)`/g)].join('\n');
  const commands = [
    ...code
      .replaceAll('\\\n', ' ')
      .matchAll(/(?<![\w/.-])(mail-(?:dns|erase|preflight|restore|users)|verify-evidence) ([^|;\n]*)/g),
  ];
  return commands.flatMap(([, command, rest]) => {
    const source = read(`bin/${command}.ts`);
    const options = found(rest.replace(/"\$\(.*?\)"/g, ''), /(?<=\s|^)--([a-z][a-z-]*)/g);
    return options
      .filter((option) => !new RegExp(`\\b'?${option}'?: \\{ type:`).test(source))
      .map((option) => `${command} --${option}`);
  });
}

test('a command with an option that it has not is found', () => {
  expect(unknownOptions('`mail-users list --directory x --colour`')).toEqual(['mail-users --colour']);
});

test('docs/README.md leads to each page', () => {
  const map = read('docs/README.md');
  const pages = PAGES.filter((page) => /^docs\/[\w-]+\.md$/.test(page) && page !== 'docs/README.md');
  expect(pages.filter((page) => !map.includes(`](${path.basename(page)})`))).toEqual([]);
});

test('pages and tests that code names exist', () => {
  const dead = FILES.filter(
    (file) => !file.endsWith('.md') && statSync(path.join(ROOT, file)).size < 1_000_000,
  ).flatMap((file) =>
    found(read(file), /\b((?:docs|test|agent\/test)\/[a-z0-9/.-]+\.(?:md|ts))\b/g)
      .filter((named) => !existsSync(path.join(ROOT, named)))
      .map((named) => `${file}: ${named}`),
  );
  expect(dead).toEqual([]);
});
