import { randomBytes } from 'node:crypto';
import { DeleteObjectCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { handler } from '../../handlers/audit';
import { handler as pack } from '../../handlers/packs';
import { EvidenceBench, hourNow } from '../support/evidence';

// Each run is dozens of requests to a server that takes one at a time.
jest.setTimeout(120_000);

const DAY = 86_400_000;
const bench = new EvidenceBench();
let logged: string[];
beforeAll(() => bench.start());
afterAll(() => bench.stop());
beforeEach(async () => {
  logged = [];
  jest.spyOn(process.stdout, 'write').mockImplementation((line) => logged.push(`${line}`) > 0);
  await bench.newJournal();
});
afterEach(() => {
  process.env.AWS_MAX_ATTEMPTS = '6';
  bench.proxy.ahead = 0;
  bench.proxy.behave();
  jest.restoreAllMocks();
});

/** Runs the function as its schedule does, so many days later. */
async function audit(days = 0, options: { keptDays?: number; sample?: number; remaining?: () => number } = {}) {
  bench.proxy.ahead = days * DAY;
  const { keptDays = 0, sample = 6 } = options;
  Object.assign(process.env, { SAMPLE: `${sample}`, PERIOD_DAYS: '7', KEPT_DAYS: `${keptDays}` });
  return handler({}, { getRemainingTimeInMillis: options.remaining ?? (() => 900_000) });
}

/** Twelve messages in three batches, and one batch without any. */
async function journal(): Promise<string[]> {
  const keys: string[] = [];
  for (let batch = 0; batch < 3; batch++) {
    for (let index = 0; index < 4; index++) {
      keys.push(await bench.message(`m${batch}${index}`, hourNow(48), randomBytes(12 << 10)));
    }
    await bench.run();
  }
  await bench.run();
  return keys;
}

function metrics(): { [name: string]: number } {
  return JSON.parse(logged.filter((line) => line.includes('AuditBroken')).at(-1)!);
}

const faults = () => logged.filter((line) => line.includes('"fault"')).map((line) => JSON.parse(line).fault as string);

async function destroy(key: string): Promise<void> {
  const { Versions = [] } = await bench.s3.send(new ListObjectVersionsCommand({ Bucket: bench.bucket, Prefix: key }));
  for (const { Key, VersionId } of Versions) {
    await bench.s3.send(new DeleteObjectCommand({ Bucket: bench.bucket, Key, VersionId }));
  }
}

test('a sample each day, read whole; all within a week, by checksums, without a message being read', async () => {
  await journal();
  const intact = { checked: 12, broken: 0, missing: 0 };
  expect(await audit()).toMatchObject({ sample: { broken: 0, missing: 0 }, pass: intact, passEnded: true });
  expect(metrics().AuditSampled).toBeGreaterThan(0);
  expect(metrics()).toMatchObject({ AuditBroken: 0, AuditNewlyMissing: 0, AuditSampleAge: 0 });

  const nothing = await audit(0.5);
  expect(nothing.sample ?? nothing.pass).toBeUndefined();
  expect(metrics().AuditSampleAge).toBeCloseTo(43_200, -2);
  expect((await audit(1)).sample).toBeDefined();
  expect((await audit(6)).pass).toBeUndefined();
  bench.proxy.behave();
  expect(await audit(8, { sample: 1 })).toMatchObject({ pass: intact, passEnded: true });
  expect(bench.proxy.seen.filter(({ method, path }) => method === 'GET' && path.includes('.eml')).length).toBeLessThan(
    2,
  );
  expect(faults()).toEqual([]);
});

test('versions that were written over are intact; evidence that was changed is told', async () => {
  const keys = await journal();
  for (const key of keys) {
    await bench.overwrite(key, 'forged');
  }
  // The attested versions are still there.
  expect(await audit()).toMatchObject({ sample: { broken: 0 }, pass: { checked: 12, broken: 0, missing: 0 } });
  const [part] = await bench.keys('evidence/entries/');
  await bench.overwrite(
    part,
    (await bench.content(part)).replace(/"sha256":"[0-9a-f]{64}"/, `"sha256":"${'0'.repeat(64)}"`),
  );
  const { pass } = await audit(8);
  expect(pass).toMatchObject({ broken: 1, checked: 8 });
  expect(faults().join()).toContain(`${part} was changed`);
  expect(metrics().AuditBroken).toBeGreaterThan(0);
});

test('messages that are missing are told when they are more than a week before', async () => {
  const [first, second, third] = await journal();
  await destroy(first);
  expect(await audit()).toMatchObject({ pass: { checked: 12, missing: 1 }, newlyMissing: 1 });
  expect(faults()).toContainEqual(expect.stringMatching(new RegExp(`^${first} .*is missing`)));
  expect(await audit(8)).toMatchObject({ pass: { missing: 1 }, newlyMissing: 0 });
  await destroy(second);
  await destroy(third);
  expect(await audit(16)).toMatchObject({ pass: { missing: 3 }, newlyMissing: 2 });
  expect(metrics()).toMatchObject({ AuditNewlyMissing: 2, AuditBroken: 0 });
  // Where mail is deleted by age nobody misses what is old.
  expect(await audit(24, { keptDays: 10 })).toMatchObject({ pass: { checked: 0, missing: 0 } });
});

test('finds evidence that was changed, exchanged, left out or signed by another key', async () => {
  await journal();
  const batch = (number: number) => `evidence/batches/000/000/00${number}.jsonl`;
  const second = await bench.content(batch(2));
  await bench.overwrite(batch(2), second.replace(/"count":4/, '"count":5'));
  expect(await audit()).toMatchObject({ pass: { broken: 2 } });
  expect(faults()).toEqual(
    expect.arrayContaining(['batch 2 has a wrong signature', 'batch 3 does not follow batch 2']),
  );
  await bench.overwrite(batch(2), await bench.content(batch(3)));
  logged.length = 0;
  await audit(8);
  expect(faults()).toContain('batch 3 lies in the place of batch 2');
  await destroy(batch(2));
  logged.length = 0;
  await audit(16);
  expect(faults()).toContain('batch 2 is missing');
});

test('messages in packs are compared as well: all by the pack, those of the sample by their bytes', async () => {
  await journal();
  bench.proxy.ahead = 3 * DAY;
  Object.assign(process.env, { JOURNAL: 'Test', ONLY_ATTESTED: 'true', MAX_AGE_DAYS: '0' });
  expect(await pack({}, { getRemainingTimeInMillis: () => 900_000 })).toMatchObject([{ packs: 1, messages: 12 }]);
  expect(await audit(3)).toMatchObject({
    sample: { broken: 0, missing: 0 },
    pass: { checked: 12, broken: 0, missing: 0 },
  });
  expect(metrics().AuditSampled).toBeGreaterThan(0);
  const packKey = (await bench.keys('packs/20')).find((key) => key.endsWith('.zst'))!;
  await bench.overwrite(packKey, '0'.repeat(200_000));
  const rotten = await audit(11);
  expect(rotten.pass).toMatchObject({ broken: 12, missing: 0 });
  expect(rotten.sample!.broken + rotten.sample!.missing).toBeGreaterThan(0);
  await destroy(packKey);
  expect((await audit(19)).pass).toMatchObject({ broken: 0, missing: 12 });
});

test('a run whose time is over, or that is killed, is gone on with: each message is compared once', async () => {
  await journal();
  let asked = 0;
  // Sample first; then each run has time for one part.
  await audit(0, { remaining: () => 0 });
  let ended = false;
  let runs = 0;
  for (; !ended; runs++) {
    asked = 0;
    const result = await audit(0, { remaining: () => (asked++ < 1 ? 900_000 : 0) });
    ended = result.passEnded;
    if (ended) expect(result.pass).toMatchObject({ checked: 12, broken: 0, missing: 0 });
  }
  expect(runs).toBeGreaterThan(2);

  process.env.AWS_MAX_ATTEMPTS = '1';
  let at = 0;
  for (let died = true; died;) {
    at++;
    bench.proxy.behave(({ number }) => (number >= at ? 'cut' : 'pass'));
    died = await audit(8).then(
      () => false,
      () => true,
    );
  }
  expect(at).toBeGreaterThan(15);
  bench.proxy.behave();
  expect(await audit(16)).toMatchObject({ pass: { checked: 12, broken: 0, missing: 0 }, passEnded: true });
});

test('while S3 throttles or has errors nothing is called missing or broken', async () => {
  await journal();
  const error = (code: string, status: number) => ({ status, body: `<Error><Code>${code}</Code></Error>` });
  bench.proxy.behave(({ number }) => {
    if (number % 5 === 0) return error('InternalError', 500);
    return number % 7 === 0 ? error('SlowDown', 503) : 'pass';
  });
  expect(await audit()).toMatchObject({ sample: { broken: 0 }, pass: { checked: 12, broken: 0, missing: 0 } });
  bench.proxy.behave(({ method }) => (method === 'HEAD' ? { status: 403, body: '' } : 'pass'));
  await expect(audit(8)).rejects.toThrow();
});
