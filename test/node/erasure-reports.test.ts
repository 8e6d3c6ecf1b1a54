import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy';
import { type MotoServer, startMotoServer } from '../support/moto-server';

// What they say is tested on nodes: test/system/erasure.suite.ts.

const LIBEXEC = join(__dirname, '..', '..', 'assets', 'node', 'libexec');
const TELL = `
import json, sys
sys.path.insert(0, sys.argv[1])
from erasure_reports import Reports
print(Reports(sys.argv[2], sys.argv[3]).tell(json.loads(sys.argv[4])))
`;
const BOB = createHash('sha256').update('bob@example.com').digest('hex');
const CAROL = createHash('sha256').update('carol@example.com').digest('hex');

let moto: MotoServer;
let proxy: FaultyProxy;
let s3: S3Client;
let folder: string;
let bucket: string;
let buckets = 0;

beforeAll(async () => {
  moto = await startMotoServer();
  proxy = await startFaultyProxy(moto.url);
  s3 = new S3Client({ ...moto.clientOptions, forcePathStyle: true });
}, 30_000);
afterAll(async () => {
  s3?.destroy();
  await proxy?.stop();
  await moto?.stop();
});
beforeEach(async () => {
  proxy.behave();
  folder = mkdtempSync(join(tmpdir(), 'erasure-reports-'));
  bucket = `reports-${++buckets}`;
  const CreateBucketConfiguration = { LocationConstraint: 'eu-central-1' } as const;
  await s3.send(new CreateBucketCommand({ Bucket: bucket, CreateBucketConfiguration }));
  await s3.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: 'Enabled' } }));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const report = (at: string, facts: object = {}) => ({ subject: BOB, at, queue: 'i-1', clean: true, ...facts });

/** Says how many were stored. @throws what the script says when it fails */
const tell = (...reports: object[]): Promise<number> =>
  new Promise((resolve, reject) => {
    const env = {
      ...{ PATH: process.env.PATH, HOME: folder, AWS_ENDPOINT_URL: proxy.url, AWS_DEFAULT_REGION: 'eu-central-1' },
      ...{ AWS_ACCESS_KEY_ID: 'testing', AWS_SECRET_ACCESS_KEY: 'testing' },
    };
    const argv = ['-B', '-c', TELL, LIBEXEC, bucket, folder, JSON.stringify(reports)];
    execFile('python3', argv, { env }, (error, stdout, stderr) =>
      error ? reject(new Error(stderr)) : resolve(Number(stdout)),
    );
  });

/** All versions of all objects. */
const stored = async () => {
  const { Versions = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket }));
  const all = Versions.map(async ({ Key, VersionId }) => {
    const { Body, ChecksumSHA256 } = await s3.send(
      new GetObjectCommand({ Bucket: bucket, Key, VersionId, ChecksumMode: 'ENABLED' }),
    );
    return { key: Key!, text: await Body!.transformToString(), checksum: ChecksumSHA256 };
  });
  return Promise.all(all);
};

test('a report is an object of its own with its checksum, and there is another one when there is news', async () => {
  const [first, second] = [report('2026-11-22T09:00:00.250Z', { clean: false }), report('2026-11-22T09:30:00.250Z')];
  expect(await tell(first)).toBe(1);
  proxy.behave();
  expect(await tell({ ...first, at: '2026-11-22T09:15:00.250Z' })).toBe(0);
  expect(proxy.seen).toEqual([]);
  expect(await tell(second)).toBe(1);
  const objects = await stored();
  expect(objects.map(({ key }) => key)).toEqual([
    `erasure/${BOB}/i-1/20261122T090000.250Z.json`,
    `erasure/${BOB}/i-1/20261122T093000.250Z.json`,
  ]);
  expect(objects.map(({ text }) => JSON.parse(text))).toEqual([first, second]);
  for (const { text, checksum } of objects) {
    expect(checksum).toBe(createHash('sha256').update(text).digest('base64'));
  }
}, 60_000);

test('what S3 did not take is told again, and what it took is not', async () => {
  const reports = [report('2026-11-22T09:00:00.250Z'), report('2026-11-22T09:00:00.250Z', { subject: CAROL })];
  proxy.behave(({ path }) =>
    path.includes(CAROL) ? { status: 403, body: '<Error><Code>AccessDenied</Code></Error>' } : 'pass',
  );
  await expect(tell(...reports)).rejects.toThrow('AccessDenied');
  proxy.behave();
  expect(await tell(...reports)).toBe(1);
  expect((await stored()).map(({ key }) => key.split('/')[1]).sort()).toEqual([BOB, CAROL].sort());
}, 60_000);

test('a lost answer makes no second version', async () => {
  proxy.behave(({ number }) => (number === 1 ? 'lose answer' : 'pass'));
  expect(await tell(report('2026-11-22T09:00:00.250Z'))).toBe(1);
  expect(proxy.seen).toHaveLength(2);
  expect(await stored()).toHaveLength(1);
}, 60_000);

test('forgets whom it tells of no more', async () => {
  await tell(report('2026-11-22T09:00:00.250Z'));
  expect(readdirSync(folder)).toEqual([BOB]);
  expect(await tell()).toBe(0);
  expect(readdirSync(folder)).toEqual([]);
}, 60_000);
