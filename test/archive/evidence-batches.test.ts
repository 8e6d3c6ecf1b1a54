import { createHash } from 'node:crypto';
import { EvidenceBench, hourNow } from '../support/evidence';
import { Fate, ProxiedRequest } from '../support/faulty-proxy';

// Each run is dozens of requests to a server that takes one at a time.
jest.setTimeout(120_000);

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
  jest.restoreAllMocks();
});

/** Fails when a message is not attested exactly once, or the chain does not hold. */
async function expectEachOnce(keys: string[]): Promise<void> {
  const entries = await bench.entries();
  expect(entries.map(({ key }) => key).sort()).toEqual([...keys].sort());
  expect(await bench.verify()).toMatchObject({ faults: [], checked: keys.length });
}

function metrics(): { [name: string]: number } {
  return JSON.parse(logged.filter((line) => line.includes('_aws')).at(-1)!);
}

test('attests each message once, by key, version, size, digest and time, in signed batches that follow each other', async () => {
  await bench.newJournal();
  const keys = [await bench.message('b'), await bench.message('a')];
  await bench.run();
  keys.push(await bench.message('c'));
  await bench.run();
  await bench.run();
  await expectEachOnce(keys);
  expect((await bench.verify()).batches).toBe(3);
  expect((await bench.entries())[0]).toEqual({
    key: `journal/${hourNow()}/a.eml.zst`,
    versionId: expect.any(String),
    size: 9,
    sha256: createHash('sha256').update('message a').digest('hex'),
    lastModified: expect.stringMatching(/^\d{4}-.*Z$/),
  });
  expect(metrics()).toMatchObject({ EvidenceBatches: 1, EvidenceCovered: 0, EvidenceNotCovered: 0, EvidenceLag: 0 });
});

test('asks S3 for digests and reads no message that has one', async () => {
  await bench.newJournal();
  await bench.message('a');
  await bench.run();
  expect(bench.proxy.seen.filter(({ method, path }) => method === 'GET' && path.includes('a.eml.zst'))).toEqual([]);
  expect(bench.proxy.seen.filter(({ method, path }) => method === 'HEAD' && path.includes('a.eml.zst'))).toHaveLength(
    1,
  );
});

test('computes the digest of an object that was stored without one', async () => {
  await bench.newJournal();
  const key = `journal/${hourNow()}/plain.eml.zst`;
  await bench.overwrite(key, 'no checksum of its own');
  await bench.run();
  await expectEachOnce([key]);
});

test('finds late messages and those of writers with a wrong clock, wherever their hours are', async () => {
  await bench.newJournal({ sweep: 4 });
  const keys: string[] = [];
  for (let ago = 0; ago < 12; ago++) {
    keys.push(await bench.message(`early-${ago}`, hourNow(ago)));
  }
  await bench.run();
  keys.push(
    await bench.message('late', hourNow(10)),
    await bench.message('dead-battery', '1970/01/01/00'),
    await bench.message('next-century', '2126/11/22/05'),
    await bench.message('hour-ahead', hourNow(-1)),
  );
  // 16 versions, 4 in a sweep; a fifth run comes round again.
  for (let run = 0; run < 5; run++) {
    await bench.run();
  }
  await expectEachOnce(keys);
});

test("goes by S3's clock, not by its own", async () => {
  await bench.newJournal();
  const keys = [await bench.message('a')];
  const wrong = Date.now() + 40 * 86_400_000;
  jest.useFakeTimers({
    now: wrong,
    doNotFake: [
      'setTimeout',
      'setInterval',
      'setImmediate',
      'nextTick',
      'queueMicrotask',
      'clearTimeout',
      'clearInterval',
      'clearImmediate',
    ],
  });
  try {
    await bench.run();
  } finally {
    jest.useRealTimers();
  }
  await expectEachOnce(keys);
  const manifest = JSON.parse((await bench.content('evidence/batches/000/000/001.jsonl')).split('\n')[0]);
  expect(Math.abs(Date.parse(manifest.time) - Date.now())).toBeLessThan(60_000);
});

test('splits a backlog into batches, and what time does not allow is left for the next run', async () => {
  await bench.newJournal({ entries: 7 });
  const keys = await Promise.all(Array.from({ length: 23 }, (_, index) => bench.message(`m${index}`)));
  await bench.run(() => 0);
  expect((await bench.entries()).length).toBe(1);
  const results = await bench.run();
  expect(results.map(({ covered }) => covered)).toEqual([7, 7, 7, 1]);
  await expectEachOnce(keys);
});

test('attests each version of an object, should somebody have overwritten it', async () => {
  await bench.newJournal();
  const key = await bench.message('a');
  await bench.run();
  await bench.overwrite(key, 'forged');
  await bench.run();
  const entries = await bench.entries();
  expect(entries.map((entry) => entry.key)).toEqual([key, key]);
  expect(new Set(entries.map(({ versionId }) => versionId)).size).toBe(2);
  expect((await bench.verify()).faults).toEqual([]);
});

test('counts what is not named as the journal names it, and goes on', async () => {
  await bench.newJournal();
  await bench.overwrite('journal/README', 'not a message');
  await bench.overwrite(`journal/${hourNow()}/über.eml.zst`, 'not in ASCII');
  const key = await bench.message('a');
  await bench.run();
  await expectEachOnce([key]);
  expect(metrics()).toMatchObject({ EvidenceNotCovered: 3, EvidenceCovered: 1 });
  expect(logged.join('')).toContain('journal/README: not a key of the journal');
});

test('runs at once make one chain', async () => {
  await bench.newJournal();
  const keys = await Promise.all(Array.from({ length: 20 }, (_, index) => bench.message(`m${index}`)));
  await Promise.all([bench.run(), bench.run(), bench.run()]);
  await expectEachOnce(keys);
});

test('a run that is slower than another one leaves the chain to it', async () => {
  await bench.newJournal();
  const keys = [await bench.message('a')];
  let held = false;
  bench.proxy.behave(async ({ method, path }) => {
    if (!held && method === 'PUT' && path.includes('/batches/')) {
      held = true;
      keys.push(await bench.message('b'));
      expect(await bench.runDirectly()).toMatchObject([{ sequence: 1, written: true, covered: 2 }]);
    }
    return 'pass' as const;
  });
  expect(await bench.run()).toMatchObject([{ sequence: 1, written: false }]);
  expect(metrics()).toMatchObject({ EvidenceBatches: 0, EvidenceCovered: 0 });
  await bench.run();
  await expectEachOnce(keys);
});

describe('a run that is killed', () => {
  const killed: [string, (request: ProxiedRequest, at: number) => Fate][] = [
    ['before its n-th request', ({ number }, at) => (number >= at ? 'cut' : 'pass')],
    ['after its n-th request', ({ number }, at) => (number < at ? 'pass' : number === at ? 'lose answer' : 'cut')],
  ];
  test.each(killed)('%s, for each n, skips nothing and counts nothing twice', async (_name, fate) => {
    await bench.newJournal({ recentHours: 1 });
    const keys = [await bench.message('first'), await bench.message('old', hourNow(9))];
    await bench.run();
    keys.push(await bench.message('a'), await bench.message('b'), await bench.message('late', hourNow(9)));
    process.env.AWS_MAX_ATTEMPTS = '1';
    let at = 0;
    for (let died = true; died;) {
      at++;
      bench.proxy.behave((request) => fate(request, at));
      died = await bench.run().then(
        () => false,
        () => true,
      );
    }
    // Listings, evidence of two hours, digests, two parts, a signature, a manifest: fewer were not all steps.
    expect(at).toBeGreaterThan(20);
    bench.proxy.behave();
    await expectEachOnce(keys);
  });

  test('a lost answer to the write of the manifest is not taken for another run', async () => {
    await bench.newJournal();
    const key = await bench.message('a');
    let lost = 0;
    bench.proxy.behave(({ method, path }) =>
      method === 'PUT' && path.includes('/batches/') && lost++ === 0 ? 'lose answer' : 'pass',
    );
    expect(await bench.run()).toMatchObject([{ written: true, covered: 1 }]);
    await expectEachOnce([key]);
  });
});

const SLOW_DOWN = {
  status: 503,
  body: '<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>',
};
const DENIED = { status: 400, body: JSON.stringify({ __type: 'AccessDeniedException', message: 'not authorized' }) };

test.each<[string, (request: ProxiedRequest) => Fate]>([
  ['throttles', ({ number }) => (number % 3 === 0 ? SLOW_DOWN : 'pass')],
  [
    'has internal errors',
    ({ number }) => (number % 3 === 0 ? { status: 500, body: '<Error><Code>InternalError</Code></Error>' } : 'pass'),
  ],
])(
  'while S3 %s a run takes longer and does the same',
  async (_name, fate) => {
    await bench.newJournal();
    const keys = await Promise.all(['a', 'b', 'c', 'd'].map((id) => bench.message(id)));
    bench.proxy.behave((request) => (request.target ? 'pass' : fate(request)));
    await bench.run();
    bench.proxy.behave();
    await expectEachOnce(keys);
  },
  120_000,
);

test('fails when KMS refuses to sign, writes no batch, and the next run makes up for it', async () => {
  await bench.newJournal();
  const key = await bench.message('a');
  bench.proxy.behave(({ target }) => (target.endsWith('.Sign') ? DENIED : 'pass'));
  await expect(bench.run()).rejects.toThrow('not authorized');
  expect(metrics()).toMatchObject({ EvidenceBatches: 0 });
  expect(await bench.keys('evidence/batches/')).toEqual([]);
  bench.proxy.behave();
  await bench.run();
  await expectEachOnce([key]);
});

test('fails when it may not read digests, rather than leave messages out', async () => {
  await bench.newJournal();
  await bench.message('a');
  bench.proxy.behave(({ method }) => (method === 'HEAD' ? { status: 403, body: '' } : 'pass'));
  await expect(bench.run()).rejects.toThrow();
  expect(await bench.keys('evidence/')).toEqual([]);
});

test('fails when evidence that it goes by was changed', async () => {
  await bench.newJournal();
  await bench.message('a');
  await bench.run();
  const [part] = await bench.keys('evidence/entries/');
  await bench.overwrite(part, '');
  await expect(bench.run()).rejects.toThrow(`${part} was changed`);
});
