import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { buildSync } from 'esbuild';
import { EvidenceBench } from '../support/evidence';

jest.setTimeout(120_000);

const FIRST = 'evidence/batches/000/000/001.jsonl';
const SECOND = 'evidence/batches/000/000/002.jsonl';
const THIRD = 'evidence/batches/000/000/003.jsonl';

// A journal of four messages in three batches, made once; each test has a copy of its files.
const bench = new EvidenceBench();
let command: string;
let keys: string[];
let original: string;
let copy: string;
let copies = 0;

beforeAll(async () => {
  await bench.start();
  jest.spyOn(process.stdout, 'write').mockImplementation(() => true);
  await bench.newJournal();
  keys = [await bench.message('a'), await bench.message('b', '2026/01/02/03')];
  await bench.run();
  keys.push(await bench.message('c'));
  await bench.run();
  keys.push(await bench.message('d'));
  await bench.run();
  jest.restoreAllMocks();

  original = join(bench.folder, 'original');
  for (const key of await bench.keys('')) {
    mkdirSync(dirname(join(original, key)), { recursive: true });
    writeFileSync(join(original, key), await bench.content(key));
  }
  command = join(bench.folder, 'verify-evidence.js');
  buildSync({
    entryPoints: [join(__dirname, '..', '..', 'bin', 'verify-evidence.ts')],
    outfile: command,
    bundle: true,
    platform: 'node',
  });
});
afterAll(() => bench.stop());
beforeEach(() => {
  copy = join(bench.folder, `copy-${++copies}`);
  cpSync(original, copy, { recursive: true });
});

/** Runs the command as the package ships it, on a folder: it has no credentials. */
function verify(...args: string[]): Result {
  return verifyWith([bench.publicKeyFile], ...args);
}

function verifyWith(publicKeys: string[], ...args: string[]): Result {
  const keyArgs = publicKeys.flatMap((key) => ['--public-key', key]);
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...keyArgs, ...args], {
    encoding: 'utf8',
    env: {},
  });
  const last = stdout.trim().split('\n').at(-1)!;
  return { status, output: stdout + stderr, json: last.startsWith('{') ? JSON.parse(last) : {} };
}

interface Result {
  readonly status: number | null;
  readonly output: string;
  /** The last line. */
  readonly json: Record<string, unknown>;
}

const file = (key: string) => join(copy, key);
const read = (key: string) => readFileSync(file(key), 'utf8');
const change = (key: string, edit: (text: string) => string) => writeFileSync(file(key), edit(read(key)));

/** Parts of a batch, in the order of its tree. */
function partsOf(manifest: string): string[] {
  return JSON.parse(read(manifest).split('\n')[0]).parts.map(({ key }: { key: string }) => key);
}

test('finds nothing in a chain that is whole, and says how far it goes', () => {
  const { status, json } = verify(copy);
  expect(json).toEqual({ checked: 4, broken: 0, batches: 3, head: expect.stringMatching(/^3:[0-9a-f]{64}$/) });
  expect(status).toBe(0);
  expect(verify(join(copy, SECOND)).json).toMatchObject({ checked: 3, broken: 0, batches: 2 });
});

test.each(['read', 'checksum'] as const)('finds nothing in the bucket either, objects: %s', async (objects) => {
  expect(await bench.verify({ objects })).toMatchObject({ faults: [], checked: 4, broken: 0, batches: 3 });
});

test.each<[string, () => void, string[]]>([
  ['a message was changed', () => change(keys[1], () => 'forged'), ['journal/2026/01/02/03/b.eml.zst was changed']],
  ['a message is missing', () => rmSync(file(keys[1])), ['journal/2026/01/02/03/b.eml.zst is missing']],
  [
    'two messages were exchanged',
    () => {
      const [a, b] = [read(keys[0]), read(keys[1])];
      change(keys[0], () => b);
      change(keys[1], () => a);
    },
    ['b.eml.zst was changed', 'a.eml.zst was changed'],
  ],
  [
    'an entry was changed',
    () => change(partsOf(FIRST)[1], (text) => text.replace('"size":9', '"size":8')),
    ['batch 1: evidence/entries/'],
  ],
  ['entries are missing', () => rmSync(file(partsOf(SECOND)[0])), ['batch 2: evidence/entries/']],
  [
    'a manifest was changed',
    () => change(SECOND, (text) => text.replace('"count":1', '"count":2')),
    ['batch 2 has a wrong signature', 'batch 3 does not follow batch 2', 'batch 2: its entries do not make its root'],
  ],
  ['a manifest is missing', () => rmSync(file(SECOND)), ['batch 2 is missing']],
  ['the first batch is missing', () => rmSync(file(FIRST)), ['batch 1 is missing']],
  ['a manifest is no JSON', () => change(SECOND, () => 'gone'), ['batch 2 is not two lines of JSON']],
  [
    'two manifests were exchanged',
    () => {
      const [first, second] = [read(FIRST), read(SECOND)];
      change(FIRST, () => second);
      change(SECOND, () => first);
    },
    ['batch 1 lies in the place of batch 2', 'batch 2 lies in the place of batch 1'],
  ],
  [
    'a signature is that of another batch',
    () => change(THIRD, (text) => `${text.split('\n')[0]}\n${read(SECOND).split('\n')[1]}\n`),
    ['batch 3 has a wrong signature'],
  ],
])('tells when %s', (_name, tamper, faults) => {
  tamper();
  const { status, output, json } = verify(copy);
  for (const fault of faults) {
    expect(output).toContain(`broken: `);
    expect(output).toContain(fault);
  }
  expect(json.broken).toBe(faults.length);
  expect(status).toBe(1);
});

test('tells that the last batches were cut off, if one of them was known', () => {
  const { head } = verify(copy).json as { head: string };
  rmSync(file(THIRD));
  // Without that knowledge it is a chain that is younger.
  expect(verify(copy).json).toMatchObject({ checked: 3, broken: 0 });
  const { output, json } = verify('--head', head, copy);
  expect(output).toContain('the chain ends with batch 2, it had 3: the last ones are missing');
  expect(json.broken).toBe(1);
});

test('tells that the chain was made anew, if one of its batches was known', () => {
  const { output, json } = verify('--head', `2:${'0'.repeat(64)}`, copy);
  expect(output).toContain('batch 2 is not the one that was known');
  expect(json.broken).toBe(1);
});

test('tells that somebody else signed', () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(join(copy, 'other.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
  expect(verifyWith([join(copy, 'other.pem')], copy).json).toMatchObject({ broken: 3 });
  // With both, as after a change of keys, all is well.
  expect(verifyWith([join(copy, 'other.pem'), bench.publicKeyFile], copy).json).toMatchObject({ broken: 0 });
});

describe('one message', () => {
  const message = (key: string, ...args: string[]) => verify('--message', key, ...args, copy);
  const proof = (...args: string[]) => verify('--proof', join(copy, 'proof.json'), ...args);

  test('is present, intact, and stored and attested at known times', () => {
    const { output, json, status } = message(keys[1]);
    expect(output).toMatch(/b\.eml\.zst: present and intact; stored \d{4}-[^ ]+Z, attested \d{4}-[^ ]+Z by batch 1\n/);
    expect([json, status]).toEqual([{ checked: 1, broken: 0 }, 0]);
  });

  test.each<[string, () => void, RegExp]>([
    ['was changed', () => change(keys[1], () => 'forged'), /was changed; stored/],
    ['is missing', () => rmSync(file(keys[1])), /is missing; stored/],
  ])('%s', (_name, tamper, expected) => {
    tamper();
    const { output, json } = message(keys[1]);
    expect(output).toMatch(expected);
    expect(json).toEqual({ checked: 1, broken: 1 });
  });

  test('was never in the journal', () => {
    const { output, json } = message('journal/2026/01/02/03/forged.eml.zst');
    expect(output).toContain('no batch attests journal/2026/01/02/03/forged.eml.zst');
    expect(json).toEqual({ checked: 0, broken: 1 });
  });

  test('has a proof that holds by itself', () => {
    message(keys[1], '--write-proof', join(copy, 'proof.json'));
    writeFileSync(join(copy, 'b'), 'message b');
    expect(proof('--object', join(copy, 'b')).json).toEqual({ checked: 1, broken: 0 });
    expect(proof().output).toContain('journal/2026/01/02/03/b.eml.zst: SHA-256 ');
    writeFileSync(join(copy, 'b'), 'message B');
    expect(proof('--object', join(copy, 'b')).output).toContain('is not what batch 1 attests');
  });

  test.each<[string, (text: string) => string, string]>([
    ['another size', (text) => text.replace('\\"size\\":9', '\\"size\\":8'), 'the entry is not in batch 1'],
    ['another place', (text) => text.replace('"index": 1', '"index": 0'), 'the entry is not in batch 1'],
    ['another root', (text) => text.replace(/\\"root\\":\\"../, '\\"root\\":\\"zz'), 'batch 1 has a wrong signature'],
    ['another format', (text) => text.replace('evidence-proof/1', 'evidence-proof/2'), 'a proof has the format'],
  ])('has a proof that does not hold with %s', (_name, forge, fault) => {
    message(keys[1], '--write-proof', join(copy, 'proof.json'));
    change('proof.json', forge);
    const { output, json, status } = proof();
    expect(output).toContain(fault);
    expect([json, status]).toEqual([{ checked: 1, broken: 1 }, 1]);
  });
});

test.each<[string[], string]>([
  [['--objects', 'some', '.'], '--objects must be read, checksum or none, got some'],
  [['--head', '12', '.'], '--head must be a number and a hash'],
  [['--message', 'inbox/1', '.'], 'a message has a key such as journal/2026/11/22/05/<id>.eml.zst, got inbox/1'],
  [['evidence/batches/12.json'], 'a manifest has a name such as evidence/batches/000/000/012.jsonl'],
  [['s3://Bucket'], 'a bucket has an address such as s3://bucket, got s3://Bucket'],
  [[], 'one manifest, or --proof, is expected'],
])('fails when called with %j', (args, message) => {
  const { status, output } = verify(...args);
  expect(output).toContain(message);
  expect(status).toBe(2);
});
