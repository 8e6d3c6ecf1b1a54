import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  ListObjectVersionsCommandOutput,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { BucketSource } from '../../handlers/evidence/evidence-source';
import { JournalReader } from '../../bin/restore/journal-reader';
import { readMessage } from '../../bin/restore/journal-message';
import { hourFolder, tagOf } from '../../bin/restore/journal-key';
import { handler } from '../../handlers/packs';
import { PackedMessages } from '../../handlers/packs/packed-messages';
import { EvidenceBench, hourNow } from '../support/evidence';
import { Fate, ProxiedRequest } from '../support/faulty-proxy';
import { queueIdAt } from '../support/journal';

// Each run is dozens of requests to a server that takes one at a time.
jest.setTimeout(240_000);

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** So many hours ago the messages came; by S3's clock, which is ahead, it is three days more. */
const LONG_AGO = 48;
const KILOBYTES_12 = 12 << 10;

const bench = new EvidenceBench();
let logged: string[];
beforeAll(() => bench.start());
afterAll(() => bench.stop());
beforeEach(() => {
  logged = [];
  jest.spyOn(process.stdout, 'write').mockImplementation((line) => logged.push(`${line}`) > 0);
});
afterEach(() => {
  process.env.AWS_MAX_ATTEMPTS = '6';
  bench.proxy.ahead = 0;
  bench.proxy.behave();
  jest.restoreAllMocks();
});

/** Runs the function as its schedule does, three days later. */
async function pack(options: { later?: number; remaining?: () => number; maxAge?: number } = {}) {
  bench.proxy.ahead = 3 * DAY + (options.later ?? 0);
  const env = { JOURNAL: 'Test', ONLY_ATTESTED: 'true', MAX_AGE_DAYS: `${options.maxAge ?? 0}` };
  Object.assign(process.env, env);
  try {
    return await handler({}, { getRemainingTimeInMillis: options.remaining ?? (() => 900_000) });
  } finally {
    bench.proxy.ahead = 0;
  }
}

/** A journal with so many small messages of one hour, attested. @returns their contents by key */
async function journalOf(count: number, size = KILOBYTES_12): Promise<Map<string, Buffer>> {
  await bench.newJournal();
  const contents = new Map<string, Buffer>();
  for (let index = 0; index < count; index++) {
    const body = randomBytes(size);
    contents.set(await bench.message(`m${1000 + index}`, hourNow(LONG_AGO), body), body);
  }
  await bench.run();
  return contents;
}

async function versions(prefix: string): Promise<{ key: string; versionId: string }[]> {
  const found: { key: string; versionId: string }[] = [];
  let page: ListObjectVersionsCommandOutput | undefined;
  do {
    page = await bench.s3.send(
      new ListObjectVersionsCommand({
        Bucket: bench.bucket,
        Prefix: prefix,
        ...{ KeyMarker: page?.NextKeyMarker, VersionIdMarker: page?.NextVersionIdMarker },
      }),
    );
    found.push(...(page.Versions ?? []).map(({ Key, VersionId }) => ({ key: Key!, versionId: VersionId! })));
  } while (page.IsTruncated);
  return found;
}

const packs = async () => (await versions('packs/20')).filter(({ key }) => key.endsWith('.zst'));

/** Keys that are in packs, each as often as it is. */
async function packed(): Promise<string[]> {
  const found: string[] = [];
  const day = hourNow(LONG_AGO).slice(0, 10);
  for await (const { key } of new PackedMessages(new BucketSource(bench.bucket, bench.s3)).ofDay(day)) found.push(key);
  return found;
}

/** Fails unless each message can be got back byte for byte, and none is where it was and in a pack, or in two. */
async function expectEachOnce(contents: Map<string, Buffer>): Promise<void> {
  const singles = (await versions('journal/')).map(({ key }) => key);
  expect([...singles, ...(await packed())].sort()).toEqual([...contents.keys()].sort());
  await expectAllThere(contents);
}

async function expectAllThere(contents: Map<string, Buffer>): Promise<void> {
  for (const objects of ['read', 'checksum'] as const) {
    expect(await bench.verify({ objects })).toMatchObject({ faults: [], checked: contents.size });
  }
}

test('a day later small messages are in packs, byte for byte, and evidence holds; large and late ones stay', async () => {
  const contents = await journalOf(14);
  const large = randomBytes(128 << 10);
  contents.set(await bench.message('large', hourNow(LONG_AGO), large), large);
  await bench.run();
  const small = [...contents.keys()].filter((key) => !key.includes('large'));

  expect(await pack()).toMatchObject([{ packs: 1, messages: 14, complete: true }]);
  expect((await versions('journal/')).map(({ key }) => key)).toEqual([...contents.keys()].slice(-1));
  expect(await packed()).toEqual(small);
  await expectEachOnce(contents);

  // Again, nothing is left to do; what comes later is one pack more, when it is enough for one.
  expect(await pack()).toMatchObject([{ packs: 0, complete: true }]);
  for (let index = 0; index < 12; index++) {
    const body = randomBytes(KILOBYTES_12);
    contents.set(await bench.message(`late${10 + index}`, hourNow(LONG_AGO), body), body);
  }
  await bench.run();
  expect(await pack()).toMatchObject([{ packs: 1, messages: 12 }]);
  expect(await packs()).toHaveLength(2);
  await expectEachOnce(contents);
});

test('a pack is what zstd reads, and its index is small enough to stay in Standard', async () => {
  await bench.newJournal();
  const texts = Array.from(
    { length: 100 },
    (_none, index) => `Subject: ${index}\r\n${randomBytes(4000).toString('hex')}\r\n`,
  );
  // As long as metadata can be: a hundred recipients.
  const to = Array.from({ length: 100 }, (_none, index) => tagOf(`${index}@e.f`)).join(',');
  for (const [index, text] of texts.entries()) {
    const body = execFileSync('zstd', ['--quiet', '-c'], { input: text });
    const Metadata = { from: tagOf('a@b.c'), to, recipients: '100', 'message-size': `${text.length}` };
    await bench.message(`m${1000 + index}`, hourNow(LONG_AGO), body, { Metadata });
  }
  await bench.run();
  const [{ messages }] = await pack();
  expect(messages).toBeGreaterThan(80); // the last ones are no 128 KB together
  let unpacked = '';
  for (const { key } of await packs()) {
    const { Body } = await bench.s3.send(new GetObjectCommand({ Bucket: bench.bucket, Key: key }));
    unpacked += execFileSync('zstd', ['-d', '-c', '--quiet'], { input: await Body!.transformToByteArray() });
  }
  expect(unpacked).toBe(texts.slice(0, messages).join(''));
  const indexes = (await versions('packs/20')).filter(({ key }) => key.endsWith('.jsonl'));
  expect(indexes.length).toBeGreaterThan(1);
  for (const { key } of indexes) expect((await bench.content(key)).length).toBeLessThan(128 << 10);
});

test.each([
  ['less than 128 KB a day', async () => journalOf(10)],
  [
    'what no batch attests',
    async () => {
      const contents = await journalOf(0);
      for (let index = 0; index < 14; index++) {
        const body = randomBytes(KILOBYTES_12);
        contents.set(await bench.message(`m${10 + index}`, hourNow(LONG_AGO), body), body);
      }
      return contents;
    },
  ],
  [
    'what a lock keeps',
    async () => {
      const contents = await journalOf(0);
      const until = {
        ObjectLockMode: 'GOVERNANCE',
        ObjectLockRetainUntilDate: new Date(Date.now() + 9 * DAY),
      } as const;
      for (let index = 0; index < 14; index++) {
        const body = randomBytes(KILOBYTES_12);
        const more = index % 2 === 0 ? until : ({ ObjectLockLegalHoldStatus: 'ON' } as const);
        contents.set(await bench.message(`m${10 + index}`, hourNow(LONG_AGO), body, more), body);
      }
      await bench.run();
      return contents;
    },
  ],
])('%s stays as it is', async (_name, make) => {
  const contents = await make();
  expect(await pack()).toMatchObject([{ packs: 0, complete: true }]);
  expect((await versions('journal/')).map(({ key }) => key).sort()).toEqual([...contents.keys()].sort());
  expect(await packs()).toEqual([]);
});

test('messages of yesterday stay, and with an end to what is kept those that are too old', async () => {
  await journalOf(14);
  bench.proxy.ahead = 0;
  expect(await pack({ later: -3 * DAY })).toMatchObject([{ packs: 0 }]);
  expect(await pack({ later: 9 * DAY, maxAge: 3 })).toEqual([]);
  expect(await pack({ maxAge: 7 })).toMatchObject([{ packs: 1 }]);
});

test('objects with several versions, marks of deletion or a changed content stay', async () => {
  const contents = await journalOf(16);
  const [twice, hidden, ...others] = contents.keys();
  await bench.overwrite(twice, 'forged');
  await bench.run();
  await bench.s3.send(new DeleteObjectCommand({ Bucket: bench.bucket, Key: hidden }));
  expect(await pack()).toMatchObject([{ messages: 14 }]);
  expect((await packed()).sort()).toEqual(others.sort());
  expect((await versions('journal/')).map(({ key }) => key)).toEqual([twice, twice, hidden]);
});

test('a message whose evidence says something else is told and left alone', async () => {
  const contents = await journalOf(14);
  const [key] = contents.keys();
  // As if the object had been exchanged below S3: evidence is rewritten here, which is easier than S3.
  const [part] = await bench.keys('evidence/entries/');
  const [batch] = await bench.keys('evidence/batches/');
  const forged = (await bench.content(part)).replace(/"sha256":"[0-9a-f]{64}"/, `"sha256":"${'0'.repeat(64)}"`);
  const digest = createHash('sha256').update(forged).digest('hex');
  const manifest = (await bench.content(batch)).replace(/"sha256":"[0-9a-f]{64}"/, `"sha256":"${digest}"`);
  await bench.overwrite(part, forged);
  await bench.overwrite(batch, manifest);
  expect(await pack()).toMatchObject([{ messages: 13, notPacked: [expect.stringContaining(key)] }]);
  expect((await versions('journal/')).map((one) => one.key)).toEqual([key]);
  expect(JSON.parse(logged.at(-1)!)).toMatchObject({ NotPacked: 1, PackRuns: 1 });
});

test('a day that is over for long is looked at no more', async () => {
  await journalOf(14);
  await pack({ later: 9 * DAY });
  expect(await bench.keys('packs/done/')).toEqual([`packs/done/${hourNow(LONG_AGO).slice(0, 10).replace(/\//g, '-')}`]);
  expect(await pack({ later: 9 * DAY })).toEqual([]);
});

describe('a run that is killed', () => {
  const killed: [string, (request: ProxiedRequest, at: number) => Fate][] = [
    ['before its n-th request', ({ number }, at) => (number >= at ? 'cut' : 'pass')],
    ['after its n-th request', ({ number }, at) => (number < at ? 'pass' : number === at ? 'lose answer' : 'cut')],
  ];
  test.each(killed)('%s, for each n, loses nothing and stores nothing twice', async (_name, fate) => {
    await journalOf(12);
    bench.proxy.behave();
    await pack();
    // Those before only read.
    const firstWrite = bench.proxy.seen.findIndex(({ method }) => method === 'PUT') + 1;
    let at = firstWrite - 1;
    for (let died = true; died;) {
      at++;
      const contents = await journalOf(12);
      process.env.AWS_MAX_ATTEMPTS = '1';
      bench.proxy.behave((request) => fate(request, at));
      died = await pack().then(
        () => false,
        () => true,
      );
      bench.proxy.behave();
      process.env.AWS_MAX_ATTEMPTS = '6';
      await expectAllThere(contents);
      await pack();
      await expectEachOnce(contents);
      expect(await packed()).toHaveLength(12);
      // What the killed run left goes when it is too old to be in the making.
      await pack({ later: 2 * HOUR });
      expect(await packs()).toHaveLength(1);
    }
    // Pack, look, index, two confirmations, deletion: fewer were not all steps.
    expect(at).toBeGreaterThanOrEqual(firstWrite + 6);
  });
});

test('runs at once make each pack once', async () => {
  const contents = await journalOf(40);
  await Promise.all([pack(), pack(), pack()].map((run) => run.catch(() => undefined)));
  await pack();
  await expectEachOnce(contents);
  await pack({ later: 2 * HOUR });
  expect(await packs()).toHaveLength(1);
});

test('a run that is slower than another one leaves the day to it', async () => {
  const contents = await journalOf(14);
  let other: Promise<unknown> | undefined;
  bench.proxy.behave(async ({ method, path }) => {
    if (!other && method === 'PUT' && path.includes('.jsonl')) {
      const url = process.env.AWS_ENDPOINT_URL;
      const second = await import('../support/faulty-proxy').then(({ startFaultyProxy }) =>
        startFaultyProxy(bench.motoUrl),
      );
      second.ahead = 3 * DAY;
      process.env.AWS_ENDPOINT_URL = second.url;
      other = handler({}, { getRemainingTimeInMillis: () => 900_000 });
      await other;
      process.env.AWS_ENDPOINT_URL = url;
      await second.stop();
    }
    return 'pass' as const;
  });
  expect(await pack()).toMatchObject([{ packs: 0, complete: false }]);
  expect(await other).toMatchObject([{ packs: 1, messages: 14 }]);
  bench.proxy.behave();
  await expectEachOnce(contents);
  expect(await packs()).toHaveLength(1);
});

test.each([
  ['while its pack is stored', ({ method, path }: ProxiedRequest) => method === 'PUT' && path.includes('.zst')],
  ['before the last look', ({ path }: ProxiedRequest) => path.includes('start-after')],
])('a message that is erased %s comes back in no pack', async (_name, isMoment) => {
  const contents = await journalOf(14);
  const [gone] = contents.keys();
  let erased = false;
  bench.proxy.behave(async (request) => {
    if (!erased && isMoment(request)) {
      erased = true;
      const [{ versionId }] = await versions(gone);
      await bench.s3.send(new DeleteObjectCommand({ Bucket: bench.bucket, Key: gone, VersionId: versionId }));
    }
    return 'pass' as const;
  });
  expect(await pack()).toMatchObject([{ packs: 0, complete: false }]);
  expect(await packs()).toEqual([]);
  bench.proxy.behave();
  expect(await pack()).toMatchObject([{ messages: 13 }]);
  expect(await packed()).not.toContain(gone);
});

const SLOW_DOWN = {
  status: 503,
  body: '<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>',
};
const INTERNAL = { status: 500, body: '<Error><Code>InternalError</Code></Error>' };
const DENIED = { status: 403, body: '<Error><Code>AccessDenied</Code><Message>no</Message></Error>' };

test.each([
  ['throttles', SLOW_DOWN],
  ['has internal errors', INTERNAL],
])('while S3 %s a run takes longer and does the same', async (_name, fault) => {
  const contents = await journalOf(12);
  bench.proxy.behave(({ number }) => (number % 3 === 0 ? fault : 'pass'));
  expect(await pack()).toMatchObject([{ packs: 1, messages: 12 }]);
  bench.proxy.behave();
  await expectEachOnce(contents);
});

test.each([
  ['the pack', '.zst', 'is not what was to be stored'],
  ['the index', '.jsonl', 'is not what was to be stored'],
])('deletes nothing when S3 confirms another content of %s', async (_name, ending, message) => {
  const contents = await journalOf(14);
  bench.proxy.behave(async ({ method, path }) => {
    if (method === 'HEAD' && path.includes(`${ending}`)) {
      const key = decodeURIComponent(path.split('?')[0]).replace(`/${bench.bucket}/`, '');
      const object = { Bucket: bench.bucket, Key: key, Body: 'rotten', ChecksumAlgorithm: 'SHA256' } as const;
      await bench.s3.send(new PutObjectCommand(object));
    }
    return 'pass' as const;
  });
  await expect(pack()).rejects.toThrow(message);
  expect((await versions('journal/')).map(({ key }) => key)).toEqual([...contents.keys()]);
  expect(JSON.parse(logged.at(-1)!)).toMatchObject({ PackRuns: 0 });
});

test('fails when it may not delete; when it may, the next run deletes before all else', async () => {
  const contents = await journalOf(14);
  bench.proxy.behave(({ method, path }) => (method === 'POST' && path.includes('delete') ? DENIED : 'pass'));
  await expect(pack()).rejects.toThrow();
  await expectAllThere(contents);
  bench.proxy.behave();
  await pack();
  await expectEachOnce(contents);
});

test('a pack that is damaged is found out, and by its message', async () => {
  const contents = await journalOf(14);
  await pack();
  const [{ key }] = await packs();
  const { Body } = await bench.s3.send(new GetObjectCommand({ Bucket: bench.bucket, Key: key }));
  const bytes = Buffer.from(await Body!.transformToByteArray());
  bytes[3 * KILOBYTES_12 + 5] ^= 1;
  const damaged = { Bucket: bench.bucket, Key: key, Body: bytes, ChecksumAlgorithm: 'SHA256' } as const;
  await bench.s3.send(new PutObjectCommand(damaged));
  expect((await bench.verify({ objects: 'read' })).faults).toEqual([`${[...contents.keys()][3]} was changed`]);
  // By checksums nobody knows which message it is.
  expect((await bench.verify({ objects: 'checksum' })).faults).toHaveLength(14);
  const all = await versions('packs/20');
  const Objects = all.map((one) => ({ Key: one.key, VersionId: one.versionId }));
  await bench.s3.send(new DeleteObjectsCommand({ Bucket: bench.bucket, Delete: { Objects } }));
  expect((await bench.verify({ objects: 'read' })).faults).toHaveLength(14);
});

describe('mail-restore', () => {
  const TO = 'bob@example.com';
  const time = () => Math.floor(Date.now() / 1000) * 1000 - LONG_AGO * HOUR;

  async function mail(count: number): Promise<Map<string, string>> {
    await bench.newJournal();
    const texts = new Map<string, string>();
    for (let index = 0; index < count; index++) {
      const at = new Date(time() + index * 1000);
      const queueId = queueIdAt(at.getTime(), index);
      const text = `Received: by mx (Postfix) id ${queueId}; now\r\n\r\n${randomBytes(8000).toString('hex')}\r\n`;
      const content =
        `X-Journal-Queue-Id: ${queueId}\r\nX-Journal-Arrival: ${at.toISOString().replace('.000', '')}\r\n` +
        `X-Journal-From: <a@example.net>\r\nX-Journal-To: <${TO}>\r\n${text}`;
      const digest = createHash('sha256').update(content).digest('hex').slice(0, 16);
      const hour = hourFolder(at).slice('journal/'.length, -1);
      const Metadata = {
        from: tagOf('a@example.net'),
        to: tagOf(TO),
        recipients: '1',
        'message-size': `${text.length}`,
      };
      const body = execFileSync('zstd', ['--quiet', '-c'], { input: content });
      texts.set(await bench.message(`${queueId}-${digest}`, hour, body, { Metadata }), text);
    }
    await bench.run();
    return texts;
  }

  async function read(reader: JournalReader): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    const asked: string[] = [];
    for await (const key of reader.keys(new Date(time() - HOUR), new Date(time() + HOUR))) {
      asked.push(key.key);
      expect(await reader.metadata(key)).toMatchObject({ to: tagOf(TO) });
      const stored = await reader.read(key, async () => true);
      if (!stored || stored === 'archived') throw new Error(`${key.key} is not there`);
      found.set(key.key, (await readMessage(key, stored)).message.toString());
    }
    expect(asked).toHaveLength(new Set(asked).size);
    return found;
  }

  test('gets the same out of packs as out of objects, by listing, by id, and with both there', async () => {
    const texts = await mail(20);
    const reader = new JournalReader(`s3://${bench.bucket}`, bench.s3);
    expect(await read(reader)).toEqual(texts);
    // Both are there when a run was killed between index and deletion, and in copies always.
    bench.proxy.behave(({ method, path }) => (method === 'POST' && path.includes('delete') ? DENIED : 'pass'));
    await expect(pack()).rejects.toThrow();
    expect(await read(reader)).toEqual(texts);
    bench.proxy.behave();
    await pack();
    expect((await versions('journal/')).length).toBe(0);
    expect(await read(reader)).toEqual(texts);
    const [key] = texts.keys();
    const found: string[] = [];
    for await (const one of reader.keysOf(/([^/]+)-[0-9a-f]{16}\.eml/.exec(key)![1])) found.push(one.key);
    expect(found).toEqual([key]);
  });

  test('finds what is moved into a pack after it was listed', async () => {
    const texts = await mail(20);
    const reader = new JournalReader(`s3://${bench.bucket}`, bench.s3);
    const keys = [];
    for await (const key of reader.keys(new Date(time() - HOUR), new Date(time() + HOUR))) keys.push(key);
    await pack();
    for (const key of keys) {
      const stored = await reader.read(key, async () => true);
      if (!stored || stored === 'archived') throw new Error(`${key.key} is not there`);
      expect((await readMessage(key, stored)).message.toString()).toBe(texts.get(key.key));
      expect(await reader.metadata(key)).toMatchObject({ to: tagOf(TO) });
    }
  });
});
