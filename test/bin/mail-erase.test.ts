import { type ChildProcess, execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateKeyCommand, GetPublicKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  type PutObjectCommandInput,
  S3Client,
} from '@aws-sdk/client-s3';
import { buildSync } from 'esbuild';
import { BucketSource } from '../../handlers/evidence/evidence-source';
import { tagOf } from '../../bin/restore/journal-key';
import { UserDirectory } from '../../bin/users/user-directory';
import { subjectOf } from '../../bin/users/user-file';
import { PackBucket } from '../../handlers/packs/pack-bucket';
import { packDay } from '../../handlers/packs/pack-day';
import { PackedMessages } from '../../handlers/packs/packed-messages';
import { type Fate, type FaultyProxy, type ProxiedRequest, startFaultyProxy } from '../support/faulty-proxy';
import { type MotoServer, startMotoServer } from '../support/moto-server';

// What nodes do is tested on nodes: test/system/erasure.suite.ts.

const DIRECTORY = 's3://directory/users';
const BOB = 'bob@example.com';
const CAROL = 'carol@example.com';
const OUTSIDE = 'someone@example.net';

describe('mail-erase', () => {
  let moto: MotoServer;
  let proxy: FaultyProxy;
  let s3: S3Client;
  let folder: string;
  let command: string;
  let keyId: string;
  let directory: UserDirectory;
  let buckets = 0;
  let bucket: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mail-erase-'));
    command = join(folder, 'mail-erase.js');
    // As the package ships it: one file.
    const entryPoints = [join(__dirname, '..', '..', 'bin', 'mail-erase.ts')];
    buildSync({ entryPoints, outfile: command, bundle: true, platform: 'node', target: 'node20' });
    moto = await startMotoServer();
    proxy = await startFaultyProxy(moto.url);
    s3 = new S3Client({ ...moto.clientOptions, forcePathStyle: true });
    await s3.send(new CreateBucketCommand({ Bucket: 'directory', ...PLACE }));
    directory = new UserDirectory(DIRECTORY, s3);
    const kms = new KMSClient(moto.clientOptions);
    const key = await kms.send(new CreateKeyCommand({ KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }));
    keyId = key.KeyMetadata!.KeyId!;
    const { PublicKey } = await kms.send(new GetPublicKeyCommand({ KeyId: keyId }));
    const pem = Buffer.from(PublicKey!).toString('base64').replace(/.{64}/g, '$&\n');
    writeFileSync(join(folder, 'key.pem'), `-----BEGIN PUBLIC KEY-----\n${pem}\n-----END PUBLIC KEY-----\n`);
    kms.destroy();
  }, 60_000);

  afterAll(async () => {
    s3?.destroy();
    await proxy?.stop();
    await moto?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  beforeEach(async () => {
    proxy.behave();
    bucket = `journal-${++buckets}`;
    await s3.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: true, ...PLACE }));
    const VersioningConfiguration = { Status: 'Enabled' } as const;
    await s3.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration }));
    await directory.update((file) => {
      for (const address of [BOB, CAROL]) {
        file.unerase(address);
        if (!file.has(address)) file.add(address, 'a long password');
      }
    });
  });

  const PLACE = { CreateBucketConfiguration: { LocationConstraint: 'eu-central-1' } } as const;

  interface Ran {
    readonly status: number | null;
    readonly report: { readonly [name: string]: unknown };
    readonly stderr: string;
  }

  const run = (
    argv: string[],
    onStart?: (kill: () => void, child: ChildProcess) => void,
    program = command,
  ): Promise<Ran> =>
    new Promise((resolve) => {
      const env = {
        ...process.env,
        AWS_ENDPOINT_URL: proxy.url,
        AWS_REGION: 'eu-central-1',
        AWS_ACCESS_KEY_ID: 'testing',
        AWS_SECRET_ACCESS_KEY: 'testing',
      };
      const child = execFile(process.execPath, [program, ...argv], { env }, (_error, stdout, stderr) =>
        resolve({
          status: child.exitCode,
          report: JSON.parse(stdout.trim().split('\n').at(-1) || '{}'),
          stderr,
        }),
      );
      onStart?.(() => child.kill('SIGKILL'), child);
    });

  const mark = (name: string, ...more: string[]) => run([name, BOB, '--directory', DIRECTORY, ...more]);

  /** A message as the journal's daemon stores it, as far as erasure looks at it. */
  const put = async (name: string, from: string, to: string[], more: Partial<PutObjectCommandInput> = {}) => {
    const Key = `journal/2026/11/22/09/${name}.eml.zst`;
    const Metadata = { from: tagOf(from), to: to.map(tagOf).join(','), recipients: `${to.length}` };
    const object = { Bucket: bucket, Key, Body: name, ChecksumAlgorithm: 'SHA256', Metadata } as const;
    const { VersionId } = await s3.send(new PutObjectCommand({ ...object, ...more }));
    return { Key, VersionId };
  };

  const left = async () => {
    const { Versions = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket }));
    return Versions.map(({ Key }) => Key!.replace(/.*\/|\.eml\.zst/g, '')).sort();
  };

  const nodeReport = (facts: object = {}) => {
    const file = join(folder, 'node1.json');
    const report = { node: 'node1', subject: subjectOf(BOB), at: new Date(Date.now() + 1000), clean: true, ...facts };
    writeFileSync(file, JSON.stringify(report));
    return file;
  };

  const finish = (...more: string[]) => {
    const how = ['--node-report', nodeReport(), '--sign', keyId, '--proof', join(folder, 'proof')];
    return run(['finish', BOB, '--directory', DIRECTORY, '--journal', `s3://${bucket}`, ...how, ...more]);
  };

  const verify = () => run(['verify', '--public-key', join(folder, 'key.pem'), join(folder, 'proof')]);

  test('a person goes at once, may come back until the time has come, and nobody gets the address meanwhile', async () => {
    expect(await mark('begin', '--hours', '48')).toMatchObject({ status: 0, report: { state: 'aside' } });
    const { due } = (await directory.read()).erasure(BOB)!;
    expect(due!.getTime() - Date.now()).toBeGreaterThan(47.9 * 3_600_000);
    expect((await directory.read()).addresses()).toEqual([CAROL]);
    await expect(directory.update((file) => file.add(BOB, 'another password'))).rejects.toThrow('is being erased');
    // Begun again, the time is not another.
    await mark('begin', '--hours', '1');
    expect((await directory.read()).erasure(BOB)!.due).toEqual(due);
    const early = await finish();
    expect(early.stderr).toContain('may still be brought back, until');
    expect(await mark('undo')).toMatchObject({ status: 0, report: { state: 'not marked' } });
    await directory.update((file) => file.add(BOB, 'another password'));
    expect(await mark('hold')).toMatchObject({ report: { state: 'held', due: null } });
    expect((await finish()).stderr).toContain('is under a legal hold');
  }, 60_000);

  test("all versions of the person's messages go, what is others' as well stays; the proof says so", async () => {
    await mark('begin', '--hours', '0');
    await put('to-the-person', OUTSIDE, [BOB]);
    await put('twice', OUTSIDE, [BOB]);
    await put('twice', OUTSIDE, [BOB]);
    const hidden = await put('marked-deleted', BOB, [OUTSIDE]);
    await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: hidden.Key }));
    await put('to-alias', OUTSIDE, ['robert@example.com']);
    await put('to-both', OUTSIDE, [BOB, CAROL]);
    await put('to-carol', OUTSIDE, [CAROL]);
    const all = await left();

    const dry = await finish('--also', 'robert@example.com', '--dry-run');
    expect(dry).toMatchObject({ status: 0, report: { deleted: 5, shared: 1, dryRun: true } });
    expect(await left()).toEqual(all);
    const done = await finish('--also', 'robert@example.com');
    expect(done.stderr).toBe('');
    expect(done).toMatchObject({ status: 0, report: { deleted: 5, shared: 1, locked: 0, complete: true } });
    expect(await left()).toEqual(['to-both', 'to-carol']);
    expect(await verify()).toMatchObject({
      status: 0,
      report: { subject: subjectOf(BOB), deleted: 5, complete: true },
    });
    expect(readFileSync(join(folder, 'proof'), 'utf8')).not.toContain('bob');

    expect(await finish('--shared')).toMatchObject({ status: 0, report: { deleted: 1, shared: 0 } });
    expect(await left()).toEqual(['to-carol']);
  }, 60_000);

  test('a proof that was changed, or is signed by another key, is none', async () => {
    await mark('begin', '--hours', '0');
    await put('one', OUTSIDE, [BOB]);
    await finish();
    const file = join(folder, 'proof');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"shared":0', '"shared":1'));
    expect(await verify()).toMatchObject({ status: 1, stderr: expect.stringContaining('wrong signature') });
  }, 60_000);

  test('what a lock keeps is told with its date and not called erased; governance is lifted when asked for', async () => {
    await mark('begin', '--hours', '0');
    const until = new Date(Date.now() + 86_400_000);
    const lock = (ObjectLockMode: 'GOVERNANCE' | 'COMPLIANCE') => ({
      ...{ ObjectLockMode, ObjectLockRetainUntilDate: until },
    });
    await put('free', OUTSIDE, [BOB]);
    await put('governance', OUTSIDE, [BOB], lock('GOVERNANCE'));
    await put('compliance', OUTSIDE, [BOB], lock('COMPLIANCE'));
    await put('hold', OUTSIDE, [BOB], { ObjectLockLegalHoldStatus: 'ON' });
    const first = await finish();
    expect(first).toMatchObject({ status: 1, report: { deleted: 1, locked: 2, held: 1, complete: false } });
    expect(new Date(first.report.lockedUntil as string).getTime()).toBeCloseTo(until.getTime(), -4);
    expect(first.stderr).toMatch(/compliance.*Object Lock keeps it until .*nobody can lift that/);
    expect(await verify()).toMatchObject({ status: 1, report: { complete: false, deleted: 1 } });
    const second = await finish('--bypass-governance');
    // With what the first run deleted.
    expect(second).toMatchObject({ status: 1, report: { deleted: 2, locked: 1, held: 1, complete: false } });
    expect(await left()).toEqual(['compliance', 'hold']);
  }, 60_000);

  test('killed in the middle and run again: nothing is left, and the proof has all of it', async () => {
    await mark('begin', '--hours', '0');
    const names = Array.from({ length: 60 }, (_none, index) => `message-${index}`).sort();
    for (const name of names) await put(name, OUTSIDE, [BOB]);
    const file = join(folder, 'proof');
    const how = ['--node-report', nodeReport(), '--sign', keyId, '--proof', file];
    const ran = run(['finish', BOB, '--directory', DIRECTORY, '--journal', `s3://${bucket}`, ...how], async (kill) => {
      for (;;) {
        const count = (await left()).length;
        if (count < 60) return kill();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    });
    expect((await ran).status).toBeNull();
    const between = (await left()).length;
    expect(between).toBeGreaterThan(0);
    expect(await finish()).toMatchObject({ status: 0, report: { deleted: 60, complete: true } });
    expect(await left()).toEqual([]);
    const { journals } = JSON.parse(readFileSync(file, 'utf8').split('\n')[0]);
    const proven = (journals[0].deleted as { key: string; sha256: string }[]).map(({ key }) => key);
    expect(proven.map((key) => key.replace(/.*\/|\.eml\.zst/g, '')).sort()).toEqual(names);
    expect(journals[0].deleted.every(({ sha256 }: { sha256: string }) => sha256.length === 44)).toBe(true);
  }, 120_000);

  test('two thirds of the time that the profile gives are to undo it, the rest to finish', async () => {
    const hours = async (...more: string[]) => {
      await directory.update((file) => {
        file.unerase(BOB);
        if (!file.has(BOB)) file.add(BOB, 'a long password');
      });
      const { report } = await mark('begin', ...more);
      return (Date.parse(String(report.due)) - Date.parse(String(report.since))) / 3_600_000;
    };
    expect(await hours()).toBe(48);
    expect(await hours('--within', '24')).toBe(16);
    expect(await hours('--within', '24', '--hours', '20')).toBe(20);
    expect((await mark('begin', '--within', '24', '--hours', '25')).stderr).toContain(
      '--hours must be at most --within',
    );
    expect((await mark('begin', '--within', 'soon')).stderr).toContain('--within must be a whole number');
  }, 60_000);

  test('the proof says until when backups hold the mailbox, and whether it was in time', async () => {
    await mark('begin', '--hours', '0');
    const ends = ['2027-03-01T00:00:00Z', '2027-02-01T00:00:00Z'].map((end) => Date.parse(end) / 1000);
    const asked: string[] = [];
    // moto has no recovery points.
    proxy.behave(({ path }) => {
      const [, vault] = /^\/backup-vaults\/([^/]+)\/recovery-points/.exec(path) ?? [];
      if (vault === undefined) return 'pass';
      asked.push(path);
      const points = vault === 'forever' ? [{}] : ends.map((DeleteAt) => ({ CalculatedLifecycle: { DeleteAt } }));
      return { status: 200, body: JSON.stringify({ RecoveryPoints: points }) };
    });
    const done = await finish('--vault', 'daily');
    expect(done).toMatchObject({
      status: 0,
      report: { complete: true, inTime: true, backups: 2, backupsUntil: '2027-03-01T00:00:00.000Z' },
    });
    const proof = JSON.parse(readFileSync(join(folder, 'proof'), 'utf8').split('\n')[0]);
    expect(proof.backups).toEqual([{ vault: 'daily', points: 2, until: '2027-03-01T00:00:00.000Z', forever: 0 }]);
    // Only those from before the mailbox was gone.
    expect(Date.parse(new URL(asked[0], 'http://x').searchParams.get('createdBefore')!)).toBeLessThanOrEqual(
      Date.now(),
    );
    expect(await verify()).toMatchObject({ status: 0, report: { complete: true, inTime: true } });

    const late = await finish('--vault', 'daily', '--vault', 'forever', '--within', '0');
    expect(late).toMatchObject({ status: 0, report: { inTime: false, backups: 3, backupsUntil: 'for ever' } });
    expect(late.stderr).toContain('late: all was to be gone by ');
    expect((await verify()).report).toMatchObject({ inTime: false });
    proxy.behave(({ path }) => (path.startsWith('/backup-vaults/') ? { status: 403, body: '{}' } : 'pass'));
    expect(await finish('--vault', 'daily')).toMatchObject({ status: 1, report: {} });
  }, 60_000);

  test('a node that still has something makes no proof of completeness', async () => {
    await mark('begin', '--hours', '0');
    const how = ['--sign', keyId, '--proof', join(folder, 'proof'), '--journal', `s3://${bucket}`];
    const withReport = (facts: object) =>
      run(['finish', BOB, '--directory', DIRECTORY, ...how, '--node-report', nodeReport(facts)]);
    expect(await withReport({ clean: false })).toMatchObject({ status: 1, report: { complete: false } });
    expect((await withReport({ subject: subjectOf(CAROL) })).stderr).toContain('is about somebody else');
    expect((await withReport({ at: '2026-01-01T00:00:00Z' })).stderr).toContain('before the mailbox was due');
    const none = await run(['finish', BOB, '--directory', DIRECTORY, ...how]);
    expect(none.stderr).toContain(`no node has stored a report in s3://${bucket} yet`);
    const nowhere = await run(['finish', BOB, '--directory', DIRECTORY, ...how.slice(0, -2)]);
    expect(nowhere.stderr).toContain('finish wants a --journal, where nodes report, or a --node-report of each node');
  }, 60_000);

  describe('by what nodes stored', () => {
    /** A report as libexec/erase stores it. */
    const store = async (queue: string, queues: string[], facts: { at?: string; [name: string]: unknown } = {}) => {
      const at = facts.at ?? new Date(Date.now() + 1000).toISOString();
      const one = {
        node: queue,
        subject: subjectOf(BOB),
        at,
        queue,
        queues,
        shard: null,
        shards: [],
        clean: true,
        ...facts,
      };
      const Key = `erasure/${subjectOf(BOB)}/${queue}/${at.replace(/[-:]/g, '')}.json`;
      await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: `${JSON.stringify(one)}\n` }));
    };
    const finishAlone = () => {
      const how = ['--journal', `s3://${bucket}`, '--sign', keyId, '--proof', join(folder, 'proof')];
      return run(['finish', BOB, '--directory', DIRECTORY, ...how]);
    };
    const names = () =>
      (JSON.parse(readFileSync(join(folder, 'proof'), 'utf8').split('\n')[0]).nodes as { node: string }[]).map(
        ({ node }) => node,
      );
    const later = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();

    beforeEach(async () => {
      await mark('begin', '--hours', '0');
      await put('one', OUTSIDE, [BOB]);
    });

    test('nothing is deleted before each node has reported, then all is, and the proof has what they said', async () => {
      await store('i-1', ['i-1', 'i-2']);
      const early = await finishAlone();
      expect(early).toMatchObject({ status: 1, stderr: expect.stringContaining('the queue i-2 has not reported') });
      expect(await left()).toContain('one');
      await store('i-2', ['i-1', 'i-2'], { clean: false, at: later(1) });
      expect(await finishAlone()).toMatchObject({ status: 1, report: { deleted: 1, complete: false } });
      // The latest of each counts.
      await store('i-2', ['i-1', 'i-2'], { at: later(2) });
      expect(await finishAlone()).toMatchObject({ status: 0, report: { complete: true } });
      expect(names()).toEqual(['i-1', 'i-2']);
    }, 60_000);

    test('when nodes change, those that are left report anew; the node that is gone need not', async () => {
      await store('i-1', ['i-1', 'i-2', 'i-3']);
      await store('i-2', ['i-1', 'i-2', 'i-3']);
      await store('i-1', ['i-1', 'i-2'], { at: later(2) });
      // It may have adopted the queue of the third one since.
      expect((await finishAlone()).stderr).toContain('the queue i-2 has not reported since nodes changed');
      await store('i-2', ['i-1', 'i-2'], { at: later(3) });
      expect(await finishAlone()).toMatchObject({ status: 0, report: { complete: true } });
      expect(names()).toEqual(['i-1', 'i-2']);
    }, 60_000);

    test('each shard has to report', async () => {
      const shards = ['shard-1', 'shard-2'];
      await store('shard-1', ['shard-1'], { shard: 'shard-1', shards });
      expect((await finishAlone()).stderr).toContain('shard-2 has not reported');
      await store('shard-2', ['shard-2'], { shard: 'shard-2', shards });
      expect(await finishAlone()).toMatchObject({ status: 0, report: { complete: true } });
      expect(names()).toEqual(shards);
    }, 60_000);

    test('a report from before the time counts for nothing, and what is none is named', async () => {
      await store('i-1', ['i-1'], { at: '2026-01-01T00:00:00.000Z' });
      expect((await finishAlone()).stderr).toContain('no node has stored a report');
      await store('i-1', ['i-1'], { subject: subjectOf(CAROL) });
      expect((await finishAlone()).stderr).toMatch(/erasure\/\S+\/i-1\/\S+\.json is not what a node reports/);
      expect(await left()).toContain('one');
    }, 60_000);
  });

  test('mail-restore puts nothing back for somebody who was erased', async () => {
    await mark('begin', '--hours', '0');
    const restore = join(folder, 'mail-restore.js');
    const entryPoints = [join(__dirname, '..', '..', 'bin', 'mail-restore.ts')];
    buildSync({ entryPoints, outfile: restore, bundle: true, platform: 'node', target: 'node20' });
    const where = ['--journal', `s3://${bucket}`, '--imap', 'imaps://127.0.0.1:1', '--directory', DIRECTORY];
    const { status, stderr } = await run(['--user', BOB, ...where], (_kill, child) => child.stdin!.end('x\n'), restore);
    expect(stderr).toContain(`mail of ${BOB} was erased, or is about to be`);
    expect(status).toBe(1);
  }, 60_000);

  describe('in packs', () => {
    const DAY = '2026/01/02';
    const KILOBYTES_12 = 12 << 10;
    const WHOSE: [string, string[]][] = [
      ['bob', [BOB]],
      ['carol', [CAROL]],
      ['both', [BOB, CAROL]],
    ];

    /** Six messages to each in one pack, as the function makes it; originals are gone. @returns what is in each */
    const putPack = async () => {
      const bodies = new Map<string, Buffer>();
      for (let index = 0; index < 18; index++) {
        const [name, to] = WHOSE[index % 3];
        const Body = randomBytes(KILOBYTES_12);
        const Key = `journal/${DAY}/09/${name}${index}.eml.zst`;
        await put('', OUTSIDE, to, { Key, Body });
        bodies.set(Key, Body);
      }
      proxy.ahead = 3 * 86_400_000;
      const through = new S3Client({ ...moto.clientOptions, endpoint: proxy.url, forcePathStyle: true });
      const limits = { onlyAttested: false, closing: () => false };
      expect(await packDay(new PackBucket(through, bucket), DAY, limits)).toMatchObject({ packs: 1, messages: 18 });
      proxy.ahead = 0;
      through.destroy();
      return bodies;
    };

    const packed = async () => {
      const reader = new PackedMessages(new BucketSource(bucket, s3));
      const found = new Map<string, Buffer | undefined>();
      for await (const message of reader.ofDay(DAY)) found.set(message.key, await reader.read(message));
      return found;
    };

    const without = (bodies: Map<string, Buffer>, ...names: string[]) =>
      new Map([...bodies].filter(([key]) => !names.some((name) => new RegExp(`/${name}\\d`).test(key))));

    /** Every byte that is stored of packs, old versions included. */
    const storedPacks = async () => {
      const { Versions = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket, Prefix: 'packs/' }));
      const all: Buffer[] = [];
      for (const { Key, VersionId } of Versions) {
        const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key, VersionId }));
        all.push(Buffer.from(await Body!.transformToByteArray()));
      }
      return { count: all.length, bytes: Buffer.concat(all) };
    };

    test("the person's messages go, those of others stay byte for byte, and nothing of the old pack is left", async () => {
      await mark('begin', '--hours', '0');
      const bodies = await putPack();
      expect(await finish('--dry-run')).toMatchObject({ report: { deleted: 6, shared: 6, looked: 18 } });
      expect((await packed()).size).toBe(18);
      const done = await finish();
      expect(done.stderr).toBe('');
      expect(done).toMatchObject({ status: 0, report: { deleted: 6, shared: 6, complete: true } });
      expect(await packed()).toEqual(without(bodies, 'bob'));
      const { count, bytes } = await storedPacks();
      expect(count).toBe(2);
      for (const [key, body] of bodies) expect(bytes.includes(body)).toBe(!key.includes('/bob'));
      expect(bytes.includes('bob')).toBe(false);
      const { journals } = JSON.parse(readFileSync(join(folder, 'proof'), 'utf8').split('\n')[0]);
      expect(journals[0].rewritten.map(({ key }: { key: string }) => key)).toEqual([
        expect.stringMatching(/000001-000-[0-9a-f]{16}\.zst$/),
        `packs/${DAY}/000001-000.jsonl`,
      ]);
      expect(journals[0].deleted).toHaveLength(6);

      expect(await finish('--shared')).toMatchObject({ status: 0, report: { deleted: 6 } });
      expect(await packed()).toEqual(without(bodies, 'bob', 'both'));
      expect(await finish('--shared', '--also', CAROL)).toMatchObject({ status: 0, report: { deleted: 6 } });
      expect((await storedPacks()).count).toBe(1); // an index that says that nothing is left, so that its number is not used again
      expect(await packed()).toEqual(new Map());
    }, 120_000);

    test.each<[string, (at: number) => (request: ProxiedRequest) => Fate]>([
      [
        'before',
        (at) =>
          ({ number }) =>
            number >= at ? 'cut' : 'pass',
      ],
      [
        'after',
        (at) =>
          ({ number }) =>
            number < at ? 'pass' : number === at ? 'lose answer' : 'cut',
      ],
    ])(
      'killed %s each of its requests and run again: all of it is gone and proven, none of others',
      async (_name, fate) => {
        await mark('begin', '--hours', '0');
        let at = 6; // those before only read
        for (let died = true; died; at += 1) {
          bucket = `killed-${++buckets}`;
          await s3.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: true, ...PLACE }));
          const bodies = await putPack();
          proxy.behave(fate(at));
          died = (await finish()).status !== 0;
          proxy.behave();
          const reader = await packed();
          for (const [key, body] of without(bodies, 'bob')) expect(reader.get(key)).toEqual(body);
          expect(await finish()).toMatchObject({ status: 0, report: { complete: true } });
          expect(await packed()).toEqual(without(bodies, 'bob'));
          const { count, bytes } = await storedPacks();
          expect(count).toBe(2);
          for (const [key, body] of bodies) expect(bytes.includes(body)).toBe(!key.includes('/bob'));
          const { journals } = JSON.parse(readFileSync(join(folder, 'proof'), 'utf8').split('\n')[0]);
          if (died) expect(journals[0].deleted).toHaveLength(6);
          if (died) expect(journals[0].rewritten.length).toBeGreaterThanOrEqual(2);
        }
        // Pack, index, a confirmation of each, two deletions, a signature: fewer were not all steps.
        expect(at).toBeGreaterThan(13);
      },
      300_000,
    );

    test('a lock on the pack keeps it, and is told; a pack in the making is not called erased', async () => {
      await mark('begin', '--hours', '0');
      await putPack();
      const { Versions = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket, Prefix: 'packs/' }));
      const { Key, VersionId } = Versions.find((version) => version.Key!.endsWith('.zst'))!;
      const hold = (Status: 'ON' | 'OFF') =>
        s3.send(new PutObjectLegalHoldCommand({ Bucket: bucket, Key, VersionId, LegalHold: { Status } }));
      await hold('ON');
      expect(await finish()).toMatchObject({ status: 1, report: { held: 6, deleted: 0, complete: false } });
      await hold('OFF');
      const making = { Bucket: bucket, Key: `packs/${DAY}/000002-000-${'0'.repeat(16)}.zst`, Body: 'bob' };
      await s3.send(new PutObjectCommand(making));
      const early = await finish();
      expect(early).toMatchObject({ status: 1, report: { deleted: 6, refused: 1, complete: false } });
      expect(early.stderr).toContain('run this again in an hour');
      proxy.ahead = 2 * 3_600_000;
      expect(await finish()).toMatchObject({ status: 0, report: { complete: true } });
      proxy.ahead = 0;
      expect((await storedPacks()).bytes.includes('bob')).toBe(false);
    }, 120_000);
  });

  test('fails when the journal is not there', async () => {
    const { status, stderr } = await run([
      ...['finish', BOB, '--directory', DIRECTORY, '--journal', 's3://there-is-none', '--dry-run'],
    ]);
    expect(status).toBe(1);
    expect(stderr).toContain('s3://there-is-none: NoSuchBucket');
    expect(stderr).not.toMatch(/^\s+at /m);
  }, 60_000);
});
