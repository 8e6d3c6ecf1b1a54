import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { Consumer } from './consumer';

let consumer: Consumer;

beforeAll(() => (consumer = new Consumer()), 60_000);
afterAll(() => consumer.remove());

jest.setTimeout(60_000);

// Hashes of the bundle and of handlers change with each of their files; what they are is tested elsewhere.
expect.addSnapshotSerializer({
  test: (value) => typeof value === 'string' && /[0-9a-f]{64}/.test(value),
  serialize: (value: string) => JSON.stringify(value.replace(/[0-9a-f]{64}/g, '[hash]')),
});

/** Synthesises the example in its folder with the four rule packs; returns the MailStack template. */
function synthesise(folder: string): unknown {
  const script = path.join(consumer.folder, 'synthesise-and-nag.ts');
  consumer.run('cp', [path.join(__dirname, 'synthesise-and-nag.ts'), script]);
  const output = path.join(folder, 'cdk.out');
  consumer.run(process.execPath, ['--import', 'tsx', script], folder, { CDK_OUTDIR: output });
  return JSON.parse(readFileSync(path.join(output, 'MailStack.template.json'), 'utf8'));
}

describe.each(['minimal', 'production', 'pull-request'])('%s', (name) => {
  test('compiles against the packed package, synthesises, and the rule packs find nothing', () => {
    const folder = consumer.example(name);
    consumer.compile(folder);
    expect(synthesise(folder)).toMatchSnapshot();
  });
});

test("the pull request example's own test passes, and fails when the stack changes", () => {
  const folder = consumer.example('pull-request');
  const jest = path.join(consumer.folder, 'node_modules', '.bin', 'jest');
  consumer.run(jest, ['--ci=false', '--rootDir', folder], folder); // writes the snapshot, as a team's first run does
  consumer.run(jest, ['--ci', '--rootDir', folder], folder);
  consumer.run('sed', ['-i', 's/198.51.100.0/203.0.113.0/', path.join(folder, 'company-mail.ts')]);
  expect(() => consumer.run(jest, ['--ci', '--rootDir', folder], folder)).toThrow(/1 snapshot failed/);
});

test('every ts block of the README and of docs/ compiles', () => {
  const root = path.join(__dirname, '..', '..');
  const docs = readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md'));
  const folder = path.join(consumer.folder, 'snippets');
  mkdirSync(folder);
  cpSync(path.join(root, 'examples', 'minimal', 'tsconfig.json'), path.join(folder, 'tsconfig.json'));
  for (const page of ['README.md', ...docs.map((name) => `docs/${name}`)]) {
    const text = readFileSync(path.join(root, page), 'utf8');
    const blocks = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)];
    blocks.forEach(([, code], index) => {
      // The compiler's messages name the page. A block without imports would share its names with the others.
      writeFileSync(path.join(folder, `${path.basename(page, '.md')}-${index + 1}.ts`), `${code}export {};\n`);
    });
  }
  expect(readdirSync(folder).length).toBeGreaterThan(20);
  consumer.compile(folder);
});
