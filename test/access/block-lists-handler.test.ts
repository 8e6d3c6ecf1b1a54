import { once } from 'node:events';
import { createServer, Server } from 'node:http';
import { AddressInfo } from 'node:net';
import { CreateKeyCommand, GetPublicKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { handler } from '../../handlers/block-lists';
import { BlockDocument, openDocument } from '../../handlers/block-lists/document';
import { handler as publicKeyHandler } from '../../handlers/public-key';
import { FaultyProxy, startFaultyProxy } from '../support/faulty-proxy';
import { MotoServer, startMotoServer } from '../support/moto-server';

jest.setTimeout(60_000);

const saved = { ...process.env };
/** What the server of the lists answers, by path. */
let answers: { [path: string]: { body: string; status?: number; location?: string } };
let server: Server;
let moto: MotoServer;
let aws: FaultyProxy;
let s3: S3Client;
let kms: KMSClient;
let buckets = 0;
let logged: string[];

beforeAll(async () => {
  server = createServer((request, response) => {
    const { body, status = 200, location } = answers[request.url!] ?? { body: 'not found', status: 404 };
    response.writeHead(status, location ? { location } : {}).end(body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  moto = await startMotoServer();
  aws = await startFaultyProxy(moto.url);
  s3 = new S3Client({ ...moto.clientOptions, forcePathStyle: true });
  kms = new KMSClient(moto.clientOptions);
});

afterAll(async () => {
  process.env = saved;
  s3?.destroy();
  kms?.destroy();
  await aws?.stop();
  await moto?.stop();
  server?.closeAllConnections();
  server?.close();
});

const newKey = async () => {
  const { KeyMetadata } = await kms.send(new CreateKeyCommand({ KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }));
  const { PublicKey } = await kms.send(new GetPublicKeyCommand({ KeyId: KeyMetadata!.KeyId }));
  return { id: KeyMetadata!.KeyId!, publicKey: Buffer.from(PublicKey!).toString('base64') };
};

/** Where the server answers. */
const at = (path: string) => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;

/** As many networks of a size as asked for, none of them private. */
const networks = (count: number, prefix = 32) =>
  Array.from({ length: count }, (_, index) => `${20 + (index >> 16)}.${(index >> 8) % 256}.${index % 256}.1/${prefix}`);

const drop = (cidrs: string[], records = cidrs.length) =>
  [
    ...cidrs.map((cidr, index) => ({ cidr, sblid: `SBL${index}`, rir: 'ripencc' })),
    { type: 'metadata', timestamp: 1_790_000_000, size: 1, records, copyright: '(c) The Spamhaus Project SLU' },
  ]
    .map((line) => `${JSON.stringify(line)}\n`)
    .join('');

beforeEach(async () => {
  logged = [];
  jest.spyOn(process.stdout, 'write').mockImplementation((line) => logged.push(`${line}`) > 0);
  aws.behave();
  const key = await newKey();
  const bucket = `lists-${++buckets}`;
  await s3.send(
    new CreateBucketCommand({ Bucket: bucket, CreateBucketConfiguration: { LocationConstraint: 'eu-central-1' } }),
  );
  await s3.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: 'Enabled' } }));
  answers = {
    '/tor': { body: '# exits\n192.0.2.7\n198.51.100.9 ; one\n\n2001:db8:1::7\n'.replace('2001:db8:1::7', '2a0a::7') },
    '/drop': { body: drop(networks(300)) },
  };
  Object.assign(process.env, {
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL: aws.url,
    BUCKET: bucket,
    OBJECT_KEY: 'block-lists',
    SIGNING_KEY: key.id,
    PUBLIC_KEY: key.publicKey,
    LISTS: JSON.stringify([
      { name: 'tor', url: at('/tor'), format: 'lines', least: 2 },
      { name: 'drop', url: at('/drop'), format: 'spamhaus', least: 200 },
      { name: 'ours', networks: ['203.0.113.0/24'] },
    ]),
    PROTECTED: '10.0.0.0/16 198.51.100.128/25',
    GROWTH_MAX: '50',
    BLOCK_LISTS: 'Test',
  });
});

afterEach(() => jest.restoreAllMocks());

async function stored(): Promise<string> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: process.env.BUCKET, Key: 'block-lists' }));
  return Body!.transformToString();
}

/** The lists in use, after their signature was verified. */
async function inUse(): Promise<BlockDocument> {
  return openDocument(await stored(), process.env.PUBLIC_KEY!);
}

async function networksOf(name: string): Promise<string[] | undefined> {
  return (await inUse()).lists.find((list) => list.name === name)?.networks;
}

const metrics = () => JSON.parse(logged.filter((line) => line.includes('_aws')).at(-1)!) as { [name: string]: number };
const reasonFor = (list: string) =>
  logged
    .map((line) => JSON.parse(line) as { list?: string; reason?: string })
    .filter((line) => line.list === list)
    .at(-1)!.reason;

test('stores all lists in one signed document, and tells how many networks there are', async () => {
  expect(await handler()).toEqual({ networks: 304, refused: 0, missed: 0 });
  const document = await inUse();
  expect(document.lists.map(({ name }) => name)).toEqual(['tor', 'drop', 'ours']);
  expect(await networksOf('tor')).toEqual(['192.0.2.7/32', '198.51.100.9/32', '2a0a::7/128']);
  expect(await networksOf('ours')).toEqual(['203.0.113.0/24']);
  expect(Math.abs(document.lists[0].fetched - Date.now() / 1000)).toBeLessThan(10);
  expect(metrics()).toMatchObject({
    BlockLists: 'Test',
    BlockListNetworks: 304,
    BlockListsRefused: 0,
    BlockListsMissed: 0,
  });
  expect(metrics().BlockListAge).toBeLessThan(10);
});

test('nobody can change the document, or have another key sign it', async () => {
  await handler();
  const text = await stored();
  expect(() => openDocument(text.replace('192.0.2.7', '192.0.2.8'), process.env.PUBLIC_KEY!)).toThrow('signature');
  const other = await newKey();
  expect(() => openDocument(text, other.publicKey)).toThrow('its signature is not by our key');
});

describe('a list that comes again', () => {
  beforeEach(async () => {
    await handler();
  });

  test('replaces the one of before, in a version of its own', async () => {
    const { made } = await inUse();
    answers['/tor'].body = '192.0.2.9\n192.0.2.10\n';
    await handler();
    expect(await networksOf('tor')).toEqual(['192.0.2.9/32', '192.0.2.10/32']);
    expect((await inUse()).made).toBeGreaterThan(made);
    const { Versions } = await s3.send(new ListObjectVersionsCommand({ Bucket: process.env.BUCKET }));
    expect(Versions).toHaveLength(2);
  });

  const PAGE = '<!DOCTYPE html><html><body>Please sign in</body></html>';
  test.each<[string, string, string, string]>([
    ['an empty answer', '/tor', '', 'it has 0 networks, fewer than 2'],
    ['comments alone', '/tor', '# nothing today\n', 'it has 0 networks, fewer than 2'],
    ['a web page', '/tor', PAGE, 'it has a line that is no network: "<!DOCTYPE html>'],
    ['a web page for JSON', '/drop', PAGE, 'it has a line that is no JSON: "<!DOCTYPE html>'],
    ['the default route', '/tor', '192.0.2.1\n0.0.0.0/0\n', '0.0.0.0/0 is larger than any network that is listed, /10'],
    ['half of the internet', '/tor', '192.0.2.1\n128.0.0.0/1\n', '128.0.0.0/1 is larger than any network that is'],
    ['all of IPv6', '/tor', '192.0.2.1\n::/0\n', '::/0 is larger than any network that is listed, /19'],
    ['a private network', '/tor', '192.0.2.1\n10.1.2.0/24\n', '10.1.2.0/24 is no address of the internet'],
    ['the loopback', '/tor', '192.0.2.1\n127.0.0.1\n', '127.0.0.1 is no address of the internet'],
    ['more than a private network', '/tor', '192.0.2.1\n192.160.0.0/11\n', 'it has a network around 192.168.0.0/16'],
    ['a local address', '/tor', '192.0.2.1\nfe80::1\n', 'fe80::1 is no address of the internet'],
    ['IPv4 in IPv6', '/tor', '192.0.2.1\n::ffff:10.0.0.1\n', '::ffff:10.0.0.1 is no address of the internet'],
    ['somebody let in', '/tor', '192.0.2.1\n198.51.100.200\n', '198.51.100.200 is ours, or let in by the owner'],
    ['more than who is let in', '/tor', '192.0.2.1\n198.51.100.0/24\n', 'it has a network around 198.51.100.128/25'],
    ['half a list', '/drop', drop(networks(250), 300), 'it has 250 networks, and says that it has 300'],
    ['a list that was cut off', '/drop', drop(networks(300)).slice(0, 9000), 'it has a line that is no JSON'],
    ['fewer than it can have', '/drop', drop(networks(150)), 'it has 150 networks, fewer than 200'],
    ['many more than before', '/drop', drop(networks(551)), 'it grew from 300 to 551 networks, by more than 50 %'],
    ['too many', '/drop', drop(networks(50_001)), 'it has 50001 networks, more than 50000'],
    ['too much', '/drop', drop(networks(300, 12)), 'it covers 7.3 % of all IPv4 addresses, more than 2 %'],
    ['too long an answer', '/tor', `192.0.2.1\n${'#'.repeat(9 << 20)}`, 'it has more than 8388608 bytes'],
  ])('is refused as a whole with %s; the others are renewed', async (_what, path, body, reason) => {
    const [name, other] = path === '/tor' ? ['tor', 'drop'] : ['drop', 'tor'];
    const before = await inUse();
    answers[path].body = body;
    expect(await handler()).toMatchObject({ refused: 1, missed: 0 });
    expect(reasonFor(name)).toContain(reason);
    const after = await inUse();
    const find = (document: BlockDocument, list: string) => document.lists.find((each) => each.name === list)!;
    expect(find(after, name)).toEqual(find(before, name));
    expect(find(after, other).fetched).toBeGreaterThanOrEqual(find(before, other).fetched);
    expect(after.made).toBeGreaterThan(before.made);
    expect(metrics()).toMatchObject({ BlockListsRefused: 1 });
  });

  test('may grow by half and by a hundred', async () => {
    answers['/drop'].body = drop(networks(550));
    expect(await handler()).toMatchObject({ refused: 0 });
  });

  test.each<[string, { status: number; body: string; location?: string }, string]>([
    ['its server has a fault', { status: 503, body: '' }, 'answers 503'],
    ['its server sends elsewhere', { status: 302, body: '', location: '/drop' }, 'fetch failed'],
  ])('stays as it was when %s, and ages', async (_what, answer, reason) => {
    answers['/tor'] = answer;
    const old = Math.floor(Date.now() / 1000) + 7200;
    jest.spyOn(Date, 'now').mockReturnValue(old * 1000);
    expect(await handler()).toMatchObject({ refused: 0, missed: 1, networks: 304 });
    expect(reasonFor('tor')).toContain(reason);
    expect(metrics().BlockListAge).toBeGreaterThanOrEqual(7190);
  });

  test('goes when it is asked for no more', async () => {
    process.env.LISTS = JSON.stringify([{ name: 'ours', networks: ['203.0.113.0/24'] }]);
    await handler();
    expect((await inUse()).lists.map(({ name }) => name)).toEqual(['ours']);
  });

  test('takes nothing from a document that somebody else wrote', async () => {
    const forged = (await stored()).replace('192.0.2.7/32', '192.0.2.0/24');
    await s3.send(new PutObjectCommand({ Bucket: process.env.BUCKET, Key: 'block-lists', Body: forged }));
    answers['/tor'] = { status: 503, body: '' };
    await handler();
    expect(await networksOf('tor')).toEqual([]);
  });
});

test('a list that has never come is as old as the first attempt, and comes in any size then', async () => {
  answers['/drop'].status = 503;
  expect(await handler()).toEqual({ networks: 4, refused: 0, missed: 1 });
  expect(reasonFor('drop')).toContain('answers 503');
  const later = Math.floor(Date.now() / 1000) + 7200;
  jest.spyOn(Date, 'now').mockReturnValue(later * 1000);
  await handler();
  expect(metrics().BlockListAge).toBeGreaterThanOrEqual(7190);
  delete answers['/drop'].status;
  expect(await handler()).toEqual({ networks: 304, refused: 0, missed: 0 });
  expect(metrics().BlockListAge).toBe(0);
});

test('changes nothing when it may not sign', async () => {
  await handler();
  const before = await stored();
  const body = JSON.stringify({ __type: 'AccessDeniedException', message: 'not authorized' });
  aws.behave(({ target }) => (target.endsWith('.Sign') ? { status: 400, body } : 'pass'));
  await expect(handler()).rejects.toThrow('not authorized');
  expect(await stored()).toBe(before);
});

test('the public key comes with the deployment', async () => {
  const { id, publicKey } = await newKey();
  const told: { [name: string]: unknown }[] = [];
  const cloudFormation = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => (body += part));
    request.on('end', () => response.end(void told.push(JSON.parse(body))));
  }).listen(0, '127.0.0.1');
  await once(cloudFormation, 'listening');
  const event = (RequestType: string, KeyArn?: string) =>
    ({
      ...{ RequestType, StackId: 'stack', RequestId: 'request', LogicalResourceId: 'PublicKey' },
      ResponseURL: `http://127.0.0.1:${(cloudFormation.address() as AddressInfo).port}/`,
      ResourceProperties: { KeyArn },
    }) as unknown as CloudFormationCustomResourceEvent;
  jest.spyOn(console, 'error').mockImplementation();
  await publicKeyHandler(event('Create', id));
  await publicKeyHandler(event('Create'));
  await publicKeyHandler(event('Delete', id));
  cloudFormation.close();
  expect(told).toMatchObject([
    { Status: 'SUCCESS', PhysicalResourceId: id, Data: { PublicKey: publicKey } },
    { Status: 'FAILED', Reason: 'Error: KeyArn must be an ARN, got undefined' },
    { Status: 'SUCCESS' },
  ]);
});
