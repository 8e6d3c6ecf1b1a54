import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateAccessKeyCommand, CreateUserCommand, IAMClient, PutUserPolicyCommand } from '@aws-sdk/client-iam';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { buildSync } from 'esbuild';
import { Budget } from '../../bin/restore/budget';
import { arrivalOf, hourFolder, identityOf, parseKey, queueIdOf, tagOf } from '../../bin/restore/journal-key';
import { messageIdOf, readMessage, StoredObject } from '../../bin/restore/journal-message';
import { JournalReader } from '../../bin/restore/journal-reader';
import { QuickGet } from '../../bin/restore/quick-get';
import { notThere } from '../../bin/restore/restore-store';
import { CopiedMessage } from '../../bin/restore/store-copy';
import { Fate, FaultyProxy, startFaultyProxy } from '../support/faulty-proxy';
import { JournalBench, queueIdAt } from '../support/journal';
import { MotoServer, startMotoServer } from '../support/moto-server';

// What needs mailboxes is tested against the real ones of nodes: test/system/restore.suite.ts.

const AT = Date.parse('2026-11-22T09:19:32.345Z');
const QUEUE_ID = queueIdAt(AT);
const MESSAGE =
  'Received: by x (Postfix)\r\n\tid y; z\r\nMessage-Id: <a@b>\r\nSubject: s\r\n\r\nX-Journal-To: none\r\n';
const ENVELOPE =
  `X-Journal-Queue-Id: ${QUEUE_ID}\r\nX-Journal-Arrival: 2026-11-22T09:19:32Z\r\n` +
  'X-Journal-From: <>\r\nX-Journal-To: <bob@example.com>\r\nX-Journal-To: <"a b"@example.com>\r\n';

/** An object with this content, and its key. */
function stored(content: string, digestOf = content) {
  const digest = createHash('sha256').update(digestOf).digest('hex').slice(0, 16);
  const body = execFileSync('zstd', ['--compress', '--stdout', '--quiet'], { input: content });
  const checksum = createHash('sha256').update(body).digest('base64');
  const object: StoredObject = { body, checksum, metadata: { 'message-size': `${MESSAGE.length}` } };
  return { object, key: parseKey(`${hourFolder(new Date(AT))}${QUEUE_ID}-${digest}.eml.zst`)! };
}

describe('a key', () => {
  test('says when and under which queue id the message was accepted', () => {
    const key = 'journal/2026/11/22/09/4jXNnJ0Jz2z5h-4eeeac3f8263b2e3.eml.zst';
    expect(parseKey(key)).toEqual({
      ...{ key, queueId: '4jXNnJ0Jz2z5h', digest: '4eeeac3f8263b2e3' },
      arrival: arrivalOf('4jXNnJ0Jz2z5h'),
    });
    expect(arrivalOf(QUEUE_ID)).toBe(Date.parse('2026-11-22T09:19:32Z'));
  });

  test.each([
    'journal/2026/11/22/09/',
    'evidence/batches/000/000/001.jsonl',
    'journal/2026/11/22/09/4jXNnJ0Jz2z5h-4eeeac3f8263b2e3.eml',
    'journal/2026/11/22/09/4jXNnJ0Jz2z5h-4eeeac3f8263b2e.eml.zst',
    'journal/2026/11/22/09/aeiou-4eeeac3f8263b2e3.eml.zst',
    'x/journal/2026/11/22/09/4jXNnJ0Jz2z5h-4eeeac3f8263b2e3.eml.zst',
  ])('%s is none', (key) => expect(parseKey(key)).toBeUndefined());

  test('is listed in the folder of its hour, UTC', () => {
    expect(hourFolder(new Date('2026-01-02T03:04:05+06:00'))).toBe('journal/2026/01/01/21/');
  });
});

describe('the queue id of a message in a mailbox', () => {
  const ours = `Received: from a (b [192.0.2.1])\r\n\t(using TLSv1.3)\r\n\tby mx.example.com (Postfix) with ESMTPS id ${QUEUE_ID}\r\n\tfor <bob@example.com>; Sun, 22 Nov 2026 09:19:32 +0000 (UTC)\r\n`;
  const delivered = `Return-Path: <x@example.net>\r\nReceived: from mx.example.com\r\n\tby mx.example.com with LMTP\r\n\tid ABCD\r\n\t(envelope-from <x@example.net>)\r\n\tfor <bob@example.com>\r\n`;
  const forged = `Received: by evil (Postfix) id ${queueIdAt(AT - 5000)}; x\r\n`;

  test.each([
    ['as it was accepted', ours],
    ['as Dovecot delivered it', delivered + ours],
    ['with one below that a sender wrote', delivered + ours + forged],
    ['of a program on the node', `Received: by n (Postfix, from userid 0)\r\n\tid ${QUEUE_ID}; Sun, 22 Nov 2026\r\n`],
    ['with other ends of lines', (delivered + ours).replaceAll('\r\n', '\n')],
  ])('%s', (_name, header) => expect(queueIdOf(header)).toBe(QUEUE_ID));

  test.each([
    ['of another server', 'Received: by mx.example.net with SMTP id 4jXNnJ0Jz2z5h; x\r\n'],
    ['without', 'Message-ID: <a@b>\r\n'],
    ['with a short one of some Postfix, whatever is below', `Received: by x (Postfix) id 4F1A2B3C4D; x\r\n${ours}`],
  ])('%s there is none', (_name, header) => expect(queueIdOf(header)).toBeUndefined());
});

describe('a message of a copy', () => {
  const size = 5000;
  const accepted = Buffer.from(`Received: by mx (Postfix) id ${QUEUE_ID}; Sun\r\nSubject: a\r\n`);
  const added = 'Return-Path: <x@example.net>\r\n';
  const delivered = Buffer.concat([Buffer.from(added), accepted]);

  test('is the same whatever delivery put on top, and another when it is cut off', () => {
    expect(identityOf(delivered, size + added.length)).toBe(identityOf(accepted, size));
    expect(identityOf(delivered, size)).not.toBe(identityOf(accepted, size));
  });

  test('that came in by IMAP is told by its whole header and its size', () => {
    const own = Buffer.from('Subject: a\r\n');
    expect(identityOf(own, size)).toBe(identityOf(Buffer.from(own), size));
    expect(identityOf(own, size)).not.toBe(identityOf(own, size + 1));
    expect(identityOf(own, size)).not.toBe(identityOf(Buffer.from('subject: a\r\n'), size));
  });

  const one = (identity: string, folder: string): CopiedMessage => ({
    ...{ identity, folder, uid: 1, size, flags: [], date: new Date(AT) },
  });
  const missing = (copies: CopiedMessage[], live: [string, ...string[]][], below = '') => {
    const places = new Map(live.map(([identity, ...paths]) => [identity, paths]));
    const target = (folder: string) => below + folder;
    return notThere(copies, { places, target, trash: 'Trash' }).map(({ identity, folder }) => `${identity} ${folder}`);
  };

  test.each<[string, CopiedMessage[], [string, ...string[]][], string[]]>([
    ['is missing', [one('a', 'INBOX')], [], ['a INBOX']],
    ['is there', [one('a', 'INBOX')], [['a', 'INBOX']], []],
    ['was moved', [one('a', 'INBOX')], [['a', 'Archive']], []],
    ['is in Trash', [one('a', 'INBOX')], [['a', 'Trash']], ['a INBOX']],
    ['is in Trash, as in the copy', [one('a', 'Trash')], [['a', 'Trash']], []],
    ['of two one is there', [one('a', 'INBOX'), one('a', 'Archive')], [['a', 'Archive']], ['a INBOX']],
    ['twice in a folder, once there', [one('a', 'INBOX'), one('a', 'INBOX')], [['a', 'INBOX']], ['a INBOX']],
    ['of two one was moved', [one('a', 'INBOX'), one('a', 'Sent')], [['a', 'Sent', 'Work']], []],
  ])('%s', (_name, copies, live, expected) => expect(missing(copies, live)).toEqual(expected));

  test('is looked for where it is put, too', () => {
    expect(missing([one('a', 'INBOX'), one('a', 'Work')], [['a', 'Back/Work']], 'Back/')).toEqual(['a INBOX']);
  });
});

describe('memory', () => {
  test('is given up to its limit, in the order of asking, and what is larger than all of it alone', async () => {
    const memory = new Budget(10);
    const order: string[] = [];
    const take = async (name: string, bytes: number) => {
      const release = await memory.take(bytes);
      order.push(name);
      return release;
    };
    const settled = () => new Promise((resolve) => setImmediate(resolve));
    const six = await take('six', 6);
    const large = take('large', 50);
    const small = take('small', 1); // would fit, but the large one would wait for ever
    await settled();
    expect(order).toEqual(['six']);
    six();
    six(); // twice is once
    await settled();
    expect(order).toEqual(['six', 'large']);
    (await large)();
    await small;
    expect(order).toEqual(['six', 'large', 'small']);
  });
});

describe('an object', () => {
  test('is unpacked to its envelope and the message byte for byte', async () => {
    const { key, object } = stored(ENVELOPE + MESSAGE);
    const { message, ...envelope } = await readMessage(key, object);
    expect(message.toString()).toBe(MESSAGE);
    expect(envelope).toEqual({
      arrival: new Date('2026-11-22T09:19:32Z'),
      from: '',
      to: ['bob@example.com', '"a b"@example.com'],
      header: MESSAGE.slice(0, MESSAGE.indexOf('\r\n\r\n') + 2),
    });
    expect(messageIdOf(envelope.header)).toBe('<a@b>');
  });

  const whole = stored(ENVELOPE + MESSAGE);
  const turned = Buffer.from(whole.object.body);
  turned[turned.length - 6] ^= 1;
  const sizeless = stored(ENVELOPE);
  const foreign = stored(ENVELOPE.replace(QUEUE_ID, queueIdAt(AT + 1)) + MESSAGE);

  test.each([
    ['is not what S3 has the checksum of', whole.key, { ...whole.object, body: turned }, /^its SHA-256 is .* S3 has /],
    [
      'is cut off',
      whole.key,
      { ...whole.object, body: whole.object.body.subarray(0, 50), checksum: undefined },
      /^it can't be unpacked/,
    ],
    [
      'is not zstd',
      whole.key,
      { ...whole.object, body: Buffer.from(MESSAGE), checksum: undefined },
      /^it can't be unp/,
    ],
    [
      'holds another message',
      whole.key,
      stored(ENVELOPE + MESSAGE.replace('none', 'some')).object,
      /^the SHA-256 of its content begins with [0-9a-f]{16}, its name says/,
    ],
    ['holds the envelope of another message', foreign.key, foreign.object, /^its envelope is not that of its name/],
    ['holds no message', sizeless.key, sizeless.object, /^the message has 0 bytes, its metadata say/],
    [
      'is shorter than its metadata say',
      whole.key,
      { ...whole.object, metadata: { 'message-size': '4711' } },
      /its metadata say 4711$/,
    ],
  ])('fails when it %s', async (_name, key, object, message) => {
    await expect(readMessage(key, object)).rejects.toThrow(message);
  });
});

describe('the journal', () => {
  const bench = new JournalBench();
  let moto: MotoServer;
  let s3: S3Client;

  beforeAll(async () => {
    moto = await startMotoServer();
    s3 = new S3Client({ ...moto.clientOptions, forcePathStyle: true });
    const CreateBucketConfiguration = { LocationConstraint: 'eu-central-1' } as const;
    await s3.send(new CreateBucketCommand({ Bucket: 'restore', CreateBucketConfiguration }));
    await bench.start();
  }, 60_000);
  afterAll(async () => {
    s3?.destroy();
    await bench.stop();
    await moto?.stop();
  });

  test('is read from one time to another, exactly, over hours and other things in the bucket', async () => {
    const times = ['08:59:59', '09:00:00', '09:30:00', '09:59:59', '10:00:00', '11:00:00'];
    const keys = times.map((time) => {
      const at = new Date(`2026-11-22T${time}Z`);
      return `${hourFolder(at)}${queueIdAt(at.getTime())}-0123456789abcdef.eml.zst`;
    });
    for (const Key of [...keys, 'journal/2026/11/22/09/note.txt', 'evidence/x', 'logs/y']) {
      await s3.send(new PutObjectCommand({ Bucket: 'restore', Key, Body: 'x' }));
    }
    const reader = new JournalReader('s3://restore', s3);
    const between = async (from: string, to: string) => {
      const found: string[] = [];
      for await (const { key } of reader.keys(new Date(`2026-11-22T${from}Z`), new Date(`2026-11-22T${to}Z`))) {
        found.push(key);
      }
      return found;
    };
    expect(await between('09:00:00', '10:00:00')).toEqual(keys.slice(1, 4));
    expect(await between('09:00:01', '10:00:01')).toEqual(keys.slice(2, 5));
    expect(await between('00:00:00', '23:59:59')).toEqual(keys);
    expect(await between('12:00:00', '13:00:00')).toEqual([]);
  }, 30_000);

  test('as the daemon on nodes writes it is understood: key, tags, content', async () => {
    await bench.begin();
    const [to, sender] = ['Bob@example.com', 'x@example.net'];
    const data = `Received: from a\r\n\tby mx (Postfix) with ESMTP id ${QUEUE_ID}; x\r\n\r\n.\r\nhello\r\n`;
    await bench.deliverUntilStored({ queueId: QUEUE_ID, sender, copies: [`${to}.journal.invalid`], data });
    const [{ key, metadata, packed, checksum }] = await bench.objects();
    expect([metadata.from, metadata.to]).toEqual([tagOf(sender), tagOf(to)]);
    const parsed = parseKey(key)!;
    expect(parsed.arrival).toBe(1000 * Math.floor(AT / 1000));
    const read = await readMessage(parsed, { body: packed, checksum, metadata });
    expect(read).toMatchObject({ from: sender, to: [to], arrival: new Date(parsed.arrival) });
    expect(read.message.toString()).toBe(data);
    expect(queueIdOf(read.header)).toBe(QUEUE_ID);
  }, 60_000);
});

describe('objects, many of them', () => {
  const KEYS = ['a', 'b', 'c', 'd'].map((name) => `journal/2026/11/22/09/${name}.eml.zst`);
  const CONTENT = Buffer.from('0123456789'.repeat(2000));
  const SHA256 = createHash('sha256').update(CONTENT).digest('base64');
  const ALL = { metadata: { from: 'x' }, size: CONTENT.length, checksum: SHA256 };
  let moto: MotoServer;
  let proxy: FaultyProxy;
  let client: S3Client;
  /** How often the SDK was used. */
  let commands: number;

  beforeAll(async () => {
    moto = await startMotoServer();
    proxy = await startFaultyProxy(moto.url);
    const s3 = new S3Client({ ...moto.clientOptions, forcePathStyle: true });
    const CreateBucketConfiguration = { LocationConstraint: 'eu-central-1' } as const;
    await s3.send(new CreateBucketCommand({ Bucket: 'many', CreateBucketConfiguration }));
    for (const Key of KEYS) {
      const object = { Body: CONTENT, ChecksumAlgorithm: 'SHA256', Metadata: { from: 'x' } } as const;
      await s3.send(new PutObjectCommand({ Bucket: 'many', Key, ...object }));
    }
    s3.destroy();
  }, 60_000);
  afterEach(() => client.destroy());
  afterAll(async () => {
    await proxy?.stop();
    await moto?.stop();
  });

  const start = (credentials: { accessKeyId: string; secretAccessKey: string } = moto.clientOptions.credentials) => {
    proxy.behave();
    commands = 0;
    client = new S3Client({ ...moto.clientOptions, credentials, endpoint: proxy.url, forcePathStyle: true });
    const count = (next: (args: object) => Promise<object>) => (args: object) => {
      commands++;
      return next(args);
    };
    client.middlewareStack.add(count as never, { step: 'initialize' });
    return new QuickGet(client, 'many');
  };
  const read = async (quick: QuickGet, key: string, range?: string) => {
    const { body, ...said } = await quick.open(key, range);
    return { said, content: await body() };
  };

  test('are read past the SDK from the second on, all of one or a part', async () => {
    const quick = start();
    for (const key of KEYS) {
      const { said, content } = await read(quick, key);
      expect(said).toEqual(ALL);
      expect(content.equals(CONTENT)).toBe(true);
    }
    const { said, content } = await read(quick, KEYS[0], 'bytes=5-12');
    expect([said.size, content.toString()]).toEqual([8, '56789012']);
    expect([commands, proxy.seen.length]).toEqual([1, 5]);
  });

  test.each<[string, Fate]>([
    ['errors', { status: 500, body: '' }],
    ['throttling', { status: 503, body: '' }],
    ['a refusal', { status: 403, body: '' }],
    ['an answer to something else', { status: 206, body: '' }],
    ['a broken connection', 'cut'],
    ['an answer that breaks off', 'break off'],
  ])('are read by the SDK after %s', async (_what, fate) => {
    const quick = start();
    await read(quick, KEYS[0]);
    proxy.behave(({ number }) => (number === 1 ? fate : 'pass'));
    const { said, content } = await read(quick, KEYS[1]);
    expect(said).toEqual(ALL);
    expect(content.equals(CONTENT)).toBe(true);
    expect([commands, proxy.seen.length]).toEqual([2, 2]);
  });

  test('that are not there are what the SDK says', async () => {
    const quick = start();
    await read(quick, KEYS[0]);
    await expect(quick.open('journal/none')).rejects.toMatchObject({ name: 'NoSuchKey' });
  });

  test('are asked for with a signature', async () => {
    const iam = new IAMClient(moto.clientOptions);
    await iam.send(new CreateUserCommand({ UserName: 'reader' }));
    const Statement = [{ Effect: 'Allow', Action: 's3:GetObject', Resource: '*' }];
    const PolicyDocument = JSON.stringify({ Version: '2012-10-17', Statement });
    await iam.send(new PutUserPolicyCommand({ UserName: 'reader', PolicyName: 'reader', PolicyDocument }));
    const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName: 'reader' }));
    iam.destroy();
    // From now on moto looks at signatures and rights.
    const checkAll = (after: string) => fetch(`${moto.url}/moto-api/reset-auth`, { method: 'POST', body: after });
    await checkAll('0');
    try {
      const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey } = AccessKey!;
      const quick = start({ accessKeyId: accessKeyId!, secretAccessKey: secretAccessKey! });
      for (const key of KEYS) expect((await read(quick, key)).said).toEqual(ALL);
      expect(commands).toBe(1);
      const forged = start({ accessKeyId: accessKeyId!, secretAccessKey: 'another' });
      await expect(forged.open(KEYS[0])).rejects.toMatchObject({ name: 'SignatureDoesNotMatch' });
    } finally {
      await checkAll('Infinity');
    }
  });
});

describe('the command', () => {
  let folder: string;
  let command: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'mail-restore-'));
    command = join(folder, 'mail-restore.js');
    // As the package ships it: one file.
    const entryPoints = [join(__dirname, '..', '..', 'bin', 'mail-restore.ts')];
    buildSync({ entryPoints, outfile: command, bundle: true, platform: 'node', target: 'node20' });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const run = (argv: string[]) =>
    new Promise<{ status: number | null; stdout: string; stderr: string }>((resolve) => {
      const child = execFile(process.execPath, [command, ...argv], (_error, stdout, stderr) =>
        resolve({ status: child.exitCode, stdout, stderr }),
      );
      child.stdin!.end('a password\n');
    });

  const JOURNAL = ['--journal', 's3://journal'];
  const IMAP = ['--imap', 'imaps://mail.example.com'];
  const BOB = ['--user', 'bob@example.com'];
  const STORE = ['--store', 'imaps://copy.example.com', '--store-password', '/dev/null'];

  test.each([
    ['no source is given', [...IMAP, ...BOB], '--journal or --store is missing'],
    ['the journal is no bucket', ['--journal', 'x', ...IMAP, ...BOB], 'journal must be an address such as s3://bucket'],
    ['the IMAP server is missing', [...JOURNAL, ...BOB], '--imap is missing'],
    ['its URL is not one of IMAP', [...JOURNAL, '--imap', 'https://x', ...BOB], '--imap must be imaps://host'],
    ['nobody is named', [...JOURNAL, ...IMAP], 'one of --user and --domain'],
    ['a user and a domain are named', [...JOURNAL, ...IMAP, ...BOB, '--domain', 'x.com'], 'one of --user and --domain'],
    ['a domain is asked for what it sent', [...JOURNAL, ...IMAP, '--domain', 'x.com', '--sent'], 'go with --user only'],
    ['the user is no address', [...JOURNAL, ...IMAP, '--user', 'bob'], 'an address such as bob@example.com'],
    [
      'a time has no zone',
      [...JOURNAL, ...IMAP, ...BOB, '--from', '2026-11-22T09:00'],
      '--from must be a day or a time',
    ],
    ['a day does not exist', [...JOURNAL, ...IMAP, ...BOB, '--to', '2026-13-01'], '--to must be a day or a time'],
    [
      'times are the wrong way round',
      [...JOURNAL, ...IMAP, ...BOB, '--from', '2026-11-22', '--to', '2026-11-21'],
      '--from must be before --to',
    ],
    [
      'the tier is unknown',
      [...JOURNAL, ...IMAP, ...BOB, '--tier', 'fast'],
      '--tier must be Standard, Bulk, Expedited',
    ],
    [
      'an option is for the other source',
      [...JOURNAL, ...IMAP, ...BOB, '--from-folder', 'x'],
      '--from-folder goes with --store',
    ],
    ['an option is for the journal', [...STORE, ...IMAP, ...BOB, '--seen'], '--seen goes with --journal only'],
    [
      'the copy is in clear elsewhere',
      ['--store', 'imap://192.0.2.1', ...IMAP, ...BOB],
      '--store must be imaps://host',
    ],
    ['the copy has no password', ['--store', 'imaps://x', ...IMAP, ...BOB], '--store-password is missing'],
    ['a domain of a copy has no list', [...STORE, ...IMAP, '--domain', 'x.com'], '--domain needs --store-users'],
    ['both have no time of the copy', [...STORE, ...JOURNAL, ...IMAP, ...BOB], 'needs --from, when the copy was made'],
    ['a number is none', [...JOURNAL, ...IMAP, ...BOB, '--connections', '0'], '--connections must be a whole number'],
  ])(
    'fails when %s',
    async (_name, argv, message) => {
      const { status, stderr, stdout } = await run(argv);
      expect(stderr).toContain(message);
      expect(stderr).not.toMatch(/^\s+at /m);
      expect([status, stdout]).toEqual([1, '']);
    },
    20_000,
  );
});
