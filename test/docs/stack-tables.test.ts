import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { MailStack, sizeFor } from '../../lib';
import { ALARMS_PAGE, alarmDescriptions } from '../../bin/alarm-tables';
import { stacksWithEverything } from '../../bin/stacks-with-everything';

const ROOT = join(__dirname, '..', '..');

jest.setTimeout(180_000);

test('docs/alarms.md has every alarm, as the code describes it (npm run docs:alarms writes it)', () => {
  const page = ALARMS_PAGE.read();
  expect(ALARMS_PAGE.withTables(page)).toBe(page);
});

test('each alarm says what to check first', () => {
  const silent = [...alarmDescriptions()].filter(([, description]) => !/check first/i.test(description));
  expect(silent).toEqual([]);
});

test('docs/update-and-remove.md names every kind of resource that stays', () => {
  const page = readFileSync(join(ROOT, 'docs', 'update-and-remove.md'), 'utf8');
  const kept = stacksWithEverything().flatMap((stack) =>
    Object.values(Template.fromStack(stack).toJSON().Resources as { [id: string]: { [key: string]: string } })
      .filter(({ DeletionPolicy }) => DeletionPolicy !== undefined && DeletionPolicy !== 'Delete')
      .map(({ Type }) => Type),
  );
  expect(new Set(kept).size).toBeGreaterThan(5);
  expect([...new Set(kept)].filter((type) => !page.includes(`\`${type}\``))).toEqual([]);
});

test('outputs that pages name are outputs of a stack', () => {
  const stacks = [new MailStack(new App(), 'MailStack', { domain: 'example.com' }), ...stacksWithEverything()];
  const outputs = stacks.flatMap((stack) => Object.keys(Template.fromStack(stack).toJSON().Outputs));
  const pages = [join(ROOT, 'README.md'), ...readdirSync(join(ROOT, 'docs')).map((name) => join(ROOT, 'docs', name))];
  const text = pages
    .filter((page) => page.endsWith('.md'))
    .map((page) => readFileSync(page, 'utf8'))
    .join('\n');
  // `Records`, `DnsZoneFile…`: parts of constructs have names that begin or end with it.
  const named = [
    ...text.matchAll(/\bthe outputs? `?([A-Z][A-Za-z]+)/g),
    ...text.matchAll(/\boutputs? `([A-Z][A-Za-z]+)/g),
  ];
  expect(named.length).toBeGreaterThan(10);
  expect(named.map(([, name]) => name).filter((name) => !outputs.some((output) => output.includes(name)))).toEqual([]);
});

test('sizeFor counts the alarms of the smallest stack', () => {
  const template = Template.fromStack(new MailStack(new App(), 'MailStack', { domain: 'example.com' }));
  const alarms = Object.keys(template.findResources('AWS::CloudWatch::Alarm')).length;
  // A key 1 USD, a zone 0.50, two secrets 0.80, leases 2 for each node.
  const { other } = sizeFor({ users: 10 }).monthlyCost!;
  expect(other).toBeCloseTo(1 + 0.5 + 0.8 + 3 * 2 + alarms * 0.1, 6);
});
