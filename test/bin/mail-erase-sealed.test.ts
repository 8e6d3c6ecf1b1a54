import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateKeyCommand, GetPublicKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import {
  DeleteObjectCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  PutObjectRetentionCommand,
} from '@aws-sdk/client-s3';
import { buildSync } from 'esbuild';
import { tagOf } from '../../bin/restore/journal-key';
import { UserDirectory } from '../../bin/users/user-directory';
import { subjectOf } from '../../bin/users/user-file';
import type { Fate } from '../support/faulty-proxy';
import { JournalBench, queueIdAt } from '../support/journal';
import { describeWithAge } from '../support/with-age';

// A journal as the daemon of nodes writes it, sealed and locked: what mail-erase can't delete it makes unreadable.

const BOB = 'bob@example.com';
const CAROL = 'carol@example.com';
const DAVE = 'dave@example.com';
const OUTSIDE = 'someone@example.net';
const DAY = 86_400_000;

jest.setTimeout(120_000);

describeWithAge('mail-erase, of a sealed journal', () => {
  const bench = new JournalBench();
  const folder = mkdtempSync(join(tmpdir(), 'mail-erase-sealed-'));
  const command = join(folder, 'mail-erase.js');
  const proof = join(folder, 'proof');
  let signingKey: string;
  let until: Date;
  let messages = 0;

  beforeAll(async () => {
    const entryPoints = [join(__dirname, '..', '..', 'bin', 'mail-erase.ts')];
    buildSync({ entryPoints, outfile: command, bundle: true, platform: 'node', target: 'node20' });
    await bench.start();
    const kms = new KMSClient(bench.awsOptions);
    const made = await kms.send(new CreateKeyCommand({ KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }));
    signingKey = made.KeyMetadata!.KeyId!;
    const { PublicKey } = await kms.send(new GetPublicKeyCommand({ KeyId: signingKey }));
    const pem = Buffer.from(PublicKey!).toString('base64').replace(/.{64}/g, '$&\n');
    writeFileSync(join(folder, 'key.pem'), `-----BEGIN PUBLIC KEY-----\n${pem}\n-----END PUBLIC KEY-----\n`);
    kms.destroy();
  });
  afterAll(async () => {
    await bench.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  beforeEach(async () => {
    rmSync(proof, { force: true });
    rmSync(`${proof}.work`, { force: true });
    await bench.begin([BOB, CAROL, DAVE]);
    await directory().update((file) => {
      for (const address of [BOB, CAROL]) file.add(address, 'a long password');
    });
    until = new Date(Date.now() + 365 * DAY);
  });

  const location = () => `s3://${bench.bucket}/users`;
  const directory = () => new UserDirectory(location(), bench.s3);

  interface Ran {
    readonly status: number | null;
    readonly report: { readonly [name: string]: unknown };
    readonly stderr: string;
  }

  const run = (...argv: string[]): Promise<Ran> =>
    new Promise((resolve) => {
      const env = {
        ...process.env,
        AWS_ENDPOINT_URL: bench.proxy.url,
        AWS_REGION: 'eu-central-1',
        AWS_ACCESS_KEY_ID: 'testing',
        AWS_SECRET_ACCESS_KEY: 'testing',
      };
      const child = execFile(process.execPath, [command, ...argv], { env }, (_error, stdout, stderr) =>
        resolve({ status: child.exitCode, report: JSON.parse(stdout.trim().split('\n').at(-1) || '{}'), stderr }),
      );
    });

  const mark = () => run('begin', BOB, '--directory', location(), '--hours', '0');

  const finish = (...more: string[]) => {
    const report = join(folder, 'node1.json');
    const at = new Date(Date.now() + 1000);
    writeFileSync(report, JSON.stringify({ node: 'node1', subject: subjectOf(BOB), at, clean: true }));
    const how = ['--node-report', report, '--sign', signingKey, '--proof', proof];
    return run('finish', BOB, '--directory', location(), '--journal', `s3://${bench.bucket}`, ...how, ...more);
  };

  const withKeys = (...more: string[]) => finish('--keys', `s3://${bench.keysBucket}`, ...more);
  const verify = () => run('verify', '--public-key', join(folder, 'key.pem'), proof);
  const proven = () => JSON.parse(readFileSync(proof, 'utf8').split('\n')[0]);

  /** Has the daemon store a message, which a lock then keeps. @returns its key and version */
  async function journal(sender: string, ...to: string[]) {
    const subject = `${++messages}`;
    await bench.deliverUntilStored({
      ...{ queueId: queueIdAt(Date.now(), messages + 100), sender },
      copies: to.map((address) => `${address}.journal.invalid`),
      data: `Received: by mail.example.com (Postfix)\r\nSubject: ${subject}\r\n\r\nhello\r\n`,
    });
    const { Versions = [] } = await bench.s3.send(
      new ListObjectVersionsCommand({ Bucket: bench.bucket, Prefix: 'journal/' }),
    );
    const newest = Versions.sort((a, b) => Number(a.LastModified) - Number(b.LastModified)).at(-1)!;
    const version = { Bucket: bench.bucket, Key: newest.Key, VersionId: newest.VersionId };
    const Retention = { Mode: 'COMPLIANCE', RetainUntilDate: until } as const;
    for (const one of Versions) {
      await bench.s3.send(
        new PutObjectRetentionCommand({ ...version, Key: one.Key, VersionId: one.VersionId, Retention }),
      );
    }
    return version;
  }

  /** Subjects of what can be opened, by the program age; nothing for what can't. */
  const readable = async () =>
    (await bench.objects()).map(({ text }) => /Subject: (\d+)/.exec(text)?.[1]).sort((a, b) => Number(a) - Number(b));

  const keysOf = async (address: string) => {
    const { Versions = [], DeleteMarkers = [] } = await bench.s3.send(
      new ListObjectVersionsCommand({ Bucket: bench.keysBucket }),
    );
    return [...Versions, ...DeleteMarkers].filter(({ Key }) => Key!.includes(tagOf(address))).map(({ Key }) => Key!);
  };

  test('what a lock keeps is unreadable for good, what others have as well they read, and the proof says so', async () => {
    for (const to of [[BOB], [BOB, CAROL], [CAROL], ['Bob+lists@example.com']]) await journal(OUTSIDE, ...to);
    const [alone, shared, carols, detail] = Array.from({ length: 4 }, (_none, index) => `${messages - 3 + index}`);
    // As somebody leaves it who deletes a key by its name alone: its versions are still there.
    const [name] = await keysOf(BOB);
    await bench.s3.send(new DeleteObjectCommand({ Bucket: bench.keysBucket, Key: name }));
    await mark();
    const without = await finish();
    expect(without).toMatchObject({ status: 1, report: { locked: 2, unreadable: 0, shared: 1, complete: false } });
    expect(without.stderr).toContain(`nobody can lift that; --keys s3://${bench.keysBucket} destroys its keys`);
    const dry = await withKeys('--dry-run');
    expect(dry).toMatchObject({ status: 0, report: { keysDestroyed: 3, unreadable: 2, locked: 0, dryRun: true } });
    expect(await keysOf(BOB)).toHaveLength(3);

    const begun = Date.now();
    const done = await withKeys();
    expect(done.stderr).toBe('');
    expect(done).toMatchObject({
      status: 0,
      report: { deleted: 0, shared: 1, locked: 0, lockedUntil: null, unreadable: 2, keysDestroyed: 3, complete: true },
    });
    expect(new Date(done.report.unreadableUntil as string).getTime()).toBeCloseTo(until.getTime(), -4);
    expect(await keysOf(BOB)).toEqual([]);
    // All objects are there; two of them nobody opens.
    expect(await readable()).toEqual([shared, carols, undefined, undefined]);
    expect([alone, detail].some((one) => [shared, carols].includes(one))).toBe(false);
    expect(await verify()).toMatchObject({ status: 0, report: { complete: true } });
    const { keys, journals } = proven();
    expect(keys).toMatchObject({ bucket: bench.keysBucket, refused: [] });
    expect(keys.destroyed).toHaveLength(3);
    for (const { at } of keys.destroyed) expect(Date.parse(at)).toBeGreaterThanOrEqual(begun);
    expect(journals[0].unreadable).toHaveLength(2);
    for (const one of journals[0].unreadable) expect(Object.keys(one)).toEqual(['key', 'versionId', 'until']);
    expect(readFileSync(proof, 'utf8')).not.toMatch(/bob|carol/);

    expect(await withKeys()).toMatchObject({ status: 0, report: { unreadable: 2, keysDestroyed: 0, complete: true } });
  });

  test('what another key opens, or none was sealed by, or one elsewhere, is not called unreadable', async () => {
    // Dave's key is left, though he is no user.
    await journal(BOB, DAVE);
    const before = `journal/2026/11/22/09/${queueIdAt(Date.now())}-0123456789abcdef.eml.zst`;
    const Metadata = { from: tagOf(OUTSIDE), to: tagOf(BOB), recipients: '1' };
    const lock = { ObjectLockMode: 'COMPLIANCE', ObjectLockRetainUntilDate: until } as const;
    await bench.s3.send(new PutObjectCommand({ Bucket: bench.bucket, Key: before, Body: 'x', Metadata, ...lock }));
    await mark();
    const elsewhere = await finish('--keys', `s3://${bench.bucket}`);
    expect(elsewhere).toMatchObject({
      status: 1,
      report: { locked: 2, unreadable: 0, keysDestroyed: 0, complete: false },
    });
    expect(elsewhere.stderr).toContain(`--keys s3://${bench.keysBucket} destroys its keys`);
    const done = await withKeys();
    expect(done).toMatchObject({ status: 1, report: { locked: 2, unreadable: 0, keysDestroyed: 2, complete: false } });
    expect(done.stderr).toContain('nobody can lift that; a key is left that opens it');
    expect(await verify()).toMatchObject({ status: 1, report: { complete: false } });
    // When he is erased, too, nothing is left.
    expect(await withKeys('--also', DAVE)).toMatchObject({ report: { locked: 1, unreadable: 1 } });
  });

  test('a legal hold on one of the messages keeps all keys', async () => {
    const held = await journal(OUTSIDE, BOB);
    await journal(OUTSIDE, BOB);
    await mark();
    await bench.s3.send(new PutObjectLegalHoldCommand({ ...held, LegalHold: { Status: 'ON' } }));
    const kept = await withKeys();
    expect(kept).toMatchObject({ status: 1, report: { held: 1, locked: 1, unreadable: 0, keysDestroyed: 0 } });
    expect(kept.stderr).toContain('the keys stay, as they open messages under a legal hold');
    expect(await readable()).toEqual([`${messages - 1}`, `${messages}`]);
    await bench.s3.send(new PutObjectLegalHoldCommand({ ...held, LegalHold: { Status: 'OFF' } }));
    expect(await withKeys()).toMatchObject({ status: 0, report: { unreadable: 2, complete: true } });
  });

  test('the key of an address that somebody has is not destroyed', async () => {
    await journal(OUTSIDE, BOB);
    await mark();
    for (const also of [CAROL, 'carol+lists@example.com']) {
      const { status, stderr } = await withKeys('--also', also);
      expect([status, stderr]).toEqual([1, expect.stringContaining(`${CAROL} is still in use`)]);
    }
    expect((await withKeys('--also', '@example.com')).stderr).toContain('--also must be an address such as');
    expect(await readable()).toEqual([`${messages}`]);
  });

  test('a key that S3 does not delete is told, and makes no complete proof', async () => {
    await journal(OUTSIDE, BOB);
    await mark();
    const denied = { status: 403, body: '<Error><Code>AccessDenied</Code></Error>' };
    bench.proxy.behave(({ method, path }) => (method === 'DELETE' && path.includes('/private/') ? denied : 'pass'));
    const refused = await withKeys();
    expect(refused).toMatchObject({ status: 1, report: { locked: 1, unreadable: 0, complete: false } });
    expect(refused.stderr).toMatch(/refused: private\/.*S3 does not delete it/);
    expect(proven().keys.refused).toHaveLength(1);
    bench.proxy.behave();
    expect(await withKeys()).toMatchObject({ status: 0, report: { unreadable: 1, keysDestroyed: 2, complete: true } });
  });

  test.each<[string, (number: number, at: number) => Fate]>([
    ['before', (number, at) => (number >= at ? 'cut' : 'pass')],
    ['after', (number, at) => (number < at ? 'pass' : number === at ? 'lose answer' : 'cut')],
  ])(
    'ended %s each of its requests about keys and run again: the keys are gone, and the proof names them',
    async (_name, fate) => {
      await mark();
      let at = 1;
      for (let died = true; died; at++) {
        // With a key that is made anew: the daemon knows none any more.
        await bench.kill();
        await bench.launch();
        await journal(OUTSIDE, BOB);
        let number = 0;
        bench.proxy.behave(({ path, target }) =>
          path.startsWith(`/${bench.keysBucket}`) || target ? fate(++number, at) : 'pass',
        );
        died = (await withKeys()).status !== 0;
        bench.proxy.behave();
        // Nothing half is told as whole.
        if (died) expect(existsSync(proof)).toBe(false);
        expect(await withKeys()).toMatchObject({ status: 0, report: { unreadable: at, locked: 0, complete: true } });
        expect(await keysOf(BOB)).toEqual([]);
        const halves = proven().keys.destroyed.map(({ key }: { key: string }) => key.split('/')[0]);
        expect(halves.sort()).toEqual(died ? ['private', 'public'] : []);
        rmSync(proof);
      }
      expect(await readable()).toEqual(Array.from({ length: at - 1 }, () => undefined));
      // Two looks, two deletions, two looks again, whether one is left, the signature: all of them were reached.
      expect(at).toBe(10);
    },
    300_000,
  );
});
