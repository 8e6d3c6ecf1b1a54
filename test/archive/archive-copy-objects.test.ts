import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { CreateSecretCommand, PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { handler } from '../../handlers/archive-copy';
import { Fate, FaultyProxy, startFaultyProxy } from '../support/faulty-proxy';
import { MotoServer, startMotoServer } from '../support/moto-server';

jest.setTimeout(120_000);

const CONTENT = 'zstd of a message';
const DIGEST = createHash('sha256').update(CONTENT).digest();

const saved = { ...process.env };
let aws: MotoServer;
let outside: MotoServer;
/** Before AWS, and before the service outside. */
let proxies: { aws: FaultyProxy; outside: FaultyProxy };
let source: S3Client;
let copies: S3Client;
let secrets: SecretsManagerClient;
let secret: string;
let buckets = 0;
let logged: string[];

beforeAll(async () => {
  [aws, outside] = await Promise.all([startMotoServer(), startMotoServer()]);
  proxies = { aws: await startFaultyProxy(aws.url), outside: await startFaultyProxy(outside.url) };
  source = new S3Client({ ...aws.clientOptions, forcePathStyle: true });
  copies = new S3Client({ ...outside.clientOptions, forcePathStyle: true });
  secrets = new SecretsManagerClient(aws.clientOptions);
  const { ARN } = await secrets.send(
    new CreateSecretCommand({
      Name: 'copy',
      SecretString: JSON.stringify({ accessKeyId: 'OUTSIDE', secretAccessKey: 'secret' }),
    }),
  );
  secret = ARN!;
});

afterAll(async () => {
  process.env = saved;
  for (const client of [source, copies, secrets]) client?.destroy();
  await Promise.all([proxies?.aws.stop(), proxies?.outside.stop(), aws?.stop(), outside?.stop()]);
});

beforeEach(async () => {
  logged = [];
  jest.spyOn(process.stdout, 'write').mockImplementation((line) => logged.push(`${line}`) > 0);
  proxies.aws.behave();
  proxies.outside.behave();
  Object.assign(process.env, {
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL: proxies.aws.url,
    ARCHIVE_BUCKET: `archive-${++buckets}`,
    COPY_ENDPOINT: proxies.outside.url,
    COPY_REGION: 'eu-central-1',
    COPY_BUCKET: `copy-${buckets}`,
    COPY_SECRET: secret,
    ARCHIVE: 'Test',
  });
  for (const [s3, Bucket] of [
    [source, process.env.ARCHIVE_BUCKET],
    [copies, process.env.COPY_BUCKET],
  ] as const) {
    await s3.send(
      new CreateBucketCommand({ Bucket, CreateBucketConfiguration: { LocationConstraint: 'eu-central-1' } }),
    );
    // Versions show what was written twice.
    await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
  }
});

afterEach(() => jest.restoreAllMocks());

/** Stores a message as nodes do. @returns the event that S3 sends, as it is in the queue */
async function stored(id: string, content = CONTENT, time = new Date()) {
  const Key = `journal/2026/11/22/09/${id}.eml.zst`;
  const { VersionId } = await source.send(
    new PutObjectCommand({
      Bucket: process.env.ARCHIVE_BUCKET,
      Key,
      Body: content,
      ChecksumAlgorithm: 'SHA256',
      ContentType: 'application/zstd',
      Metadata: { from: '0123456789abcdef', recipients: '1' },
    }),
  );
  const detail = {
    bucket: { name: process.env.ARCHIVE_BUCKET },
    object: { key: Key, size: content.length, 'version-id': VersionId },
  };
  const body = JSON.stringify({ source: 'aws.s3', 'detail-type': 'Object Created', time: time.toISOString(), detail });
  return { key: Key, record: { messageId: id, body } };
}

type Stored = Awaited<ReturnType<typeof stored>>;

/** Runs the function on a batch. @returns ids of what goes back to the queue */
async function run(events: { record: object }[], remaining: () => number = () => 120_000): Promise<string[]> {
  const Records = events.map(({ record }) => record) as Parameters<typeof handler>[0]['Records'];
  const { batchItemFailures } = await handler({ Records }, { getRemainingTimeInMillis: remaining });
  return batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);
}

async function versions(): Promise<string[]> {
  const { Versions } = await copies.send(new ListObjectVersionsCommand({ Bucket: process.env.COPY_BUCKET }));
  return (Versions ?? []).map(({ Key }) => Key!);
}

const copyOf = ({ key }: Stored) =>
  copies.send(new HeadObjectCommand({ Bucket: process.env.COPY_BUCKET, Key: key, ChecksumMode: 'ENABLED' }));

async function expectOneCopy(event: Stored): Promise<void> {
  expect(await versions()).toEqual([event.key]);
  expect((await copyOf(event)).ChecksumSHA256).toBe(DIGEST.toString('base64'));
}

const metrics = () => JSON.parse(logged.filter((line) => line.includes('_aws')).at(-1)!);
const problems = () => logged.filter((line) => line.includes('problem')).join('');

test('copies each object once with its metadata, however often its event comes', async () => {
  const events = [await stored('a'), await stored('b')];
  expect(await run(events)).toEqual([]);
  expect(metrics()).toMatchObject({ ArchiveCopied: 2, ArchiveCopyFailed: 0 });
  expect(await run([...events, events[0]])).toEqual([]);
  expect(metrics()).toMatchObject({ ArchiveCopied: 0, thereAlready: 2 });
  expect((await versions()).sort()).toEqual(events.map(({ key }) => key));
  expect(await copyOf(events[0])).toMatchObject({
    ChecksumSHA256: DIGEST.toString('base64'),
    ContentType: 'application/zstd',
    Metadata: { from: '0123456789abcdef', recipients: '1', 'copied-sha256': DIGEST.toString('hex') },
  });
});

test('tells how far it is behind, also by what fails', async () => {
  const old = await stored('old', CONTENT, new Date(Date.now() - 400_000));
  proxies.outside.behave(() => ({ status: 403, body: '<Error><Code>AccessDenied</Code></Error>' }));
  expect(await run([old])).toEqual(['old']);
  expect(metrics()).toMatchObject({ ArchiveCopy: 'Test', ArchiveCopyFailed: 1 });
  expect(metrics().ArchiveCopyLag).toBeGreaterThan(400);
  expect(metrics().ArchiveCopyLag).toBeLessThan(460);
});

const failure = (status: number, code: string): Fate => ({ status, body: `<Error><Code>${code}</Code></Error>` });

test.each<[string, Fate]>([
  ['errors', failure(500, 'InternalError')],
  ['throttling', failure(503, 'SlowDown')],
  ['no permission', failure(403, 'AccessDenied')],
  ['no bucket', failure(404, 'NoSuchBucket')],
  ['a wrong checksum', failure(400, 'BadDigest')],
  ['success without having stored', { status: 200, body: '' }],
  ['broken connections', 'cut'],
])('gives an object back to the queue when the other side has %s, and copies it later', async (_what, fate) => {
  const event = await stored('a');
  // What is asked first, whether it is there, is answered truly: writing is what fails.
  proxies.outside.behave(({ method }) => (method === 'PUT' ? fate : 'pass'));
  expect(await run([event])).toEqual(['a']);
  expect(await versions()).toEqual([]);
  proxies.outside.behave(() => fate);
  expect(await run([event])).toEqual(['a']);
  proxies.outside.behave();
  expect(await run([event])).toEqual([]);
  await expectOneCopy(event);
});

test('one that fails holds nothing else up', async () => {
  const events = [
    await stored('a'),
    await stored('b'),
    { record: { messageId: 'odd', body: '{}' } },
    await stored('c'),
  ];
  proxies.outside.behave(({ path }) => (path.includes('/b.eml') ? failure(500, 'InternalError') : 'pass'));
  expect(await run(events)).toEqual(['b', 'odd']);
  expect(problems()).toContain('no event of S3 about a version of an object');
});

test('leaves what time does not allow for the next run', async () => {
  const events = [await stored('a'), await stored('b'), await stored('c')];
  let left = 150_000;
  expect(await run(events, () => (left -= 40_000))).toEqual(['c']);
});

test('reads a copy back where the other side tells no SHA-256, and replaces one that went wrong', async () => {
  const event = await stored('a');
  const wrong = () =>
    copies.send(
      new PutObjectCommand({
        Bucket: process.env.COPY_BUCKET,
        Key: event.key,
        Body: 'zstd of a massage',
        Metadata: { 'copied-sha256': DIGEST.toString('hex') },
      }),
    );
  proxies.outside.behave(async ({ method }) => {
    if (method !== 'PUT') return 'pass';
    await wrong();
    return { status: 200, body: '' };
  });
  expect(await run([event])).toEqual(['a']);
  expect(problems()).toContain('was not stored as it was sent');
  proxies.outside.behave();
  expect(await run([event])).toEqual([]);
  expect((await copyOf(event)).ChecksumSHA256).toBe(DIGEST.toString('base64'));
});

test('does not write over a copy when the archive is changed, and says so', async () => {
  const event = await stored('a');
  expect(await run([event])).toEqual([]);
  const changed = await stored('a', 'something else');
  expect(await run([changed])).toEqual(['a']);
  expect(problems()).toContain('a.eml.zst is there with another content, and was left alone');
  await expectOneCopy(event);
});

test('passes over what was erased meanwhile', async () => {
  const event = await stored('a');
  const VersionId = JSON.parse(event.record.body).detail.object['version-id'];
  await source.send(new DeleteObjectCommand({ Bucket: process.env.ARCHIVE_BUCKET, Key: event.key, VersionId }));
  expect(await run([event])).toEqual([]);
  expect(metrics()).toMatchObject({ gone: 1, ArchiveCopied: 0 });
  expect(await versions()).toEqual([]);
});

test('copies no other bucket than the archive', async () => {
  const event = await stored('a');
  process.env.ARCHIVE_BUCKET = 'another';
  expect(await run([event])).toEqual(['a']);
  expect(proxies.outside.seen).toEqual([]);
});

test('uses new credentials at once, and never tells what is in the secret', async () => {
  const event = await stored('a');
  await secrets.send(new PutSecretValueCommand({ SecretId: secret, SecretString: 'hunter2 {' }));
  await expect(run([event])).rejects.toThrow(/^the secret must be JSON with accessKeyId and secretAccessKey$/);
  const SecretString = JSON.stringify({ accessKeyId: 'NEWKEY', secretAccessKey: 'other' });
  await secrets.send(new PutSecretValueCommand({ SecretId: secret, SecretString }));
  expect(await run([event])).toEqual([]);
  expect(logged.join('')).not.toMatch(/hunter2|other"/);
});

describe('killed at any request, it loses nothing and writes nothing twice', () => {
  // Secret, object; whether it is there, the copy.
  const requests = [
    ['aws', 1],
    ['aws', 2],
    ['outside', 1],
    ['outside', 2],
  ] as const;

  test.each(requests.flatMap((at) => (['before', 'after'] as const).map((when) => [...at, when] as const)))(
    '%s request %d, %s it arrives',
    async (where, request, when) => {
      const event = await stored('a');
      const child = runInProcess([event]);
      proxies[where].behave(({ number }) => {
        if (number < request) return 'pass';
        child.kill('SIGKILL');
        return when === 'before' ? 'cut' : 'lose answer';
      });
      await once(child, 'exit');
      expect(child.signalCode).toBe('SIGKILL');
      proxies[where].behave();
      expect(await run([event])).toEqual([]);
      await expectOneCopy(event);
    },
  );
});

function runInProcess(events: Stored[]) {
  const root = join(__dirname, '..', '..');
  const code =
    `require(${JSON.stringify(join(root, 'handlers', 'archive-copy'))})` +
    `.handler(${JSON.stringify({ Records: events.map(({ record }) => record) })}, { getRemainingTimeInMillis: () => 120000 })`;
  return spawn(process.execPath, ['--import', 'tsx', '-e', code], { cwd: root, env: process.env, stdio: 'ignore' });
}
