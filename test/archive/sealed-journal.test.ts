import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { parseIdentity, unseal } from '../../bin/restore/age';
import { parseKey, tagOf } from '../../bin/restore/journal-key';
import { JournalKeys } from '../../bin/restore/journal-keys';
import { readMessage } from '../../bin/restore/journal-message';
import type { Fate, ProxiedRequest } from '../support/faulty-proxy';
import { Copy, JournalBench, Journalled, queueIdAt } from '../support/journal';
import { describeWithAge } from '../support/with-age';

jest.setTimeout(120_000);

const BOB = 'bob@example.com';
const CAROL = 'carol@example.org';
const OUTSIDE = 'someone@example.net';
const ARRIVAL = Date.UTC(2026, 10, 22, 5, 13, 22, 250);
const failure = (status: number, code: string): Fate => ({ status, body: `<Error><Code>${code}</Code></Error>` });

let messages = 0;

function copy(sender: string, ...to: string[]): Copy {
  const number = ++messages;
  return {
    queueId: queueIdAt(ARRIVAL, number + 100),
    sender,
    copies: to.map((address) => `${address}.journal.invalid`),
    data: `Received: by mail.example.com (Postfix) with ESMTP\r\nSubject: ${number}\r\n\r\nhello ${number}\r\n`,
  };
}

describeWithAge('what the program age sealed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'age-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  const pair = (name: string) => {
    const file = join(folder, name);
    execFileSync('age-keygen', ['--output', file], { stdio: 'ignore' });
    const text = readFileSync(file, 'utf8');
    return { file, text, recipient: /public key: (\S+)/.exec(text)![1] };
  };
  const seal = (content: Buffer, ...recipients: string[]) =>
    execFileSync('age', ['--encrypt', ...recipients.map((one) => `--recipient=${one}`)], {
      input: content,
      maxBuffer: 1 << 24,
    });
  let [bob, carol, dave]: ReturnType<typeof pair>[] = [];
  beforeAll(() => ([bob, carol, dave] = ['bob', 'carol', 'dave'].map(pair)));

  test.each([0, 1, 65_535, 65_536, 65_537, 131_072, 400_000])('%i bytes, by each of its keys', (size) => {
    const content = randomBytes(size);
    const sealed = seal(content, bob.recipient, carol.recipient);
    for (const { text } of [bob, carol]) expect(unseal(sealed, parseIdentity(text))?.equals(content)).toBe(true);
    expect(unseal(sealed, parseIdentity(dave.text))).toBeUndefined();
  });

  test('is refused when a byte of it is another, or missing, wherever', () => {
    const sealed = seal(randomBytes(70_000), bob.recipient);
    const identity = parseIdentity(bob.text);
    const program = (body: Buffer) => spawnSync('age', ['--decrypt', '--identity', bob.file], { input: body }).status;
    const payload = sealed.indexOf('\n', sealed.indexOf('\n--- ') + 1) + 1;
    const refused = (body: Buffer) => {
      try {
        return unseal(body, identity) === undefined;
      } catch {
        return true;
      }
    };
    const places = [2, 25, 40, 100, payload - 10, payload + 3, payload + 20, payload + 65_560, sealed.length - 1];
    for (const place of places) {
      const changed = Buffer.from(sealed);
      changed[place] ^= 1;
      expect([place, refused(changed), program(changed)]).toEqual([place, true, 1]);
    }
    // The second of two chunks left out: the first does not say that it is the last.
    for (const end of [sealed.length - 1, payload + 16 + 65_536 + 16, payload + 16, payload, payload - 20, 30, 0]) {
      expect([end, refused(sealed.subarray(0, end))]).toEqual([end, true]);
    }
    expect(refused(Buffer.concat([sealed, Buffer.from('x')]))).toBe(true);
    expect(() => parseIdentity('AGE-SECRET-KEY-1XYZ')).toThrow('it is no identity of age');
  });
});

describeWithAge('a sealed journal', () => {
  const bench = new JournalBench();
  beforeAll(() => bench.start());
  afterAll(() => bench.stop());
  beforeEach(() => bench.begin([BOB, CAROL]));

  const tags = (...addresses: string[]) => addresses.map(tagOf).sort();
  const keysOf = ({ metadata }: Journalled) => metadata.keys.split(',').sort();
  const only = async () => {
    const objects = await bench.objects();
    expect(objects).toHaveLength(1);
    return objects[0];
  };

  const keyVersions = async (address?: string) => {
    const { Versions = [] } = await bench.s3.send(new ListObjectVersionsCommand({ Bucket: bench.keysBucket }));
    return Versions.filter(({ Key }) => !address || Key!.split('/')[1] === tagOf(address));
  };

  const destroy = async (address: string) => {
    for (const { Key, VersionId } of await keyVersions(address)) {
      await bench.s3.send(new DeleteObjectCommand({ Bucket: bench.keysBucket, Key, VersionId }));
    }
  };

  const restored = ({ key, packed, checksum, metadata }: Journalled) =>
    readMessage(parseKey(key)!, { body: packed, checksum, metadata }, new JournalKeys(bench.s3));

  test('has messages that age opens, and mail-restore, byte for byte; their names and envelopes are as ever', async () => {
    const message = copy(OUTSIDE, BOB);
    expect(await bench.deliver(message)).toEqual([250]);
    const object = await only();
    expect(object.text.endsWith(message.data)).toBe(true);
    expect(object.text).toContain(`X-Journal-To: <${BOB}>`);
    expect(object.packed.includes('hello')).toBe(false);
    expect(object.packed.toString('latin1', 0, 21)).toBe('age-encryption.org/v1');
    expect(object.checksum).toBe(createHash('sha256').update(object.packed).digest('base64'));
    expect(object.metadata).toMatchObject({
      ...{ from: tagOf(OUTSIDE), to: tagOf(BOB), recipients: '1', keys: tagOf(BOB), 'keys-bucket': bench.keysBucket },
    });
    const read = await restored(object);
    expect(read.message.toString()).toBe(message.data);
    expect(read.to).toEqual([BOB]);
  });

  test.each<[string, string, string[], string[]]>([
    ['those who got it', OUTSIDE, [BOB, CAROL], [BOB, CAROL]],
    ['who sent it', BOB, [OUTSIDE], [BOB]],
    ['both', CAROL, [BOB], [BOB, CAROL]],
    ['them whatever the case and the detail', OUTSIDE, ['BOB+lists@EXAMPLE.com'], [BOB]],
    ['the domain, if nobody has the name', OUTSIDE, ['nobody@example.org'], ['@example.org']],
    ['those who are there, beside a name that nobody has', OUTSIDE, ['nobody@example.org', BOB], [BOB]],
    ['the primary domain, if it is among others', OUTSIDE, [OUTSIDE], ['@example.com']],
    ['the primary domain, if it is a notice to others', '', ['x@[192.0.2.1]'], ['@example.com']],
  ])('is opened by keys of %s', async (_who, sender, to, expected) => {
    await bench.deliverUntilStored(copy(sender, ...to));
    const object = await only();
    expect(keysOf(object)).toEqual(tags(...expected));
    expect(object.text).toContain(`Subject: ${messages}\r\n`);
  });

  test('after the keys of one are destroyed nothing opens what was theirs alone; what others have as well they open', async () => {
    await bench.deliverUntilStored(copy(OUTSIDE, BOB));
    await bench.deliverUntilStored(copy(OUTSIDE, BOB, CAROL));
    await destroy(BOB);
    const [alone, shared] = await bench.objects();
    expect(alone.text).toBe('');
    await expect(restored(alone)).rejects.toThrow('the keys that open it were destroyed');
    expect(shared.text).toContain(`Subject: ${messages}\r\n`);
    expect((await restored(shared)).to).toEqual([BOB, CAROL]);
  });

  test('who is not there any more gets no new key; who is there anew gets another, which opens nothing of before', async () => {
    await bench.deliverUntilStored(copy(OUTSIDE, BOB));
    const [before] = await bench.objects();
    // Accepted before, journaled late: it is still his.
    bench.know([CAROL]);
    await bench.deliverUntilStored(copy(OUTSIDE, BOB));
    expect((await bench.objects()).map(keysOf)).toEqual([tags(BOB), tags(BOB)]);
    await destroy(BOB);
    await bench.deliverUntilStored(copy(OUTSIDE, BOB));
    expect(keysOf((await bench.objects())[2])).toEqual(tags('@example.com'));
    expect(await keyVersions(BOB)).toEqual([]);
    bench.know([BOB, CAROL]);
    await bench.deliverUntilStored(copy(OUTSIDE, BOB));
    const all = await bench.objects();
    expect(keysOf(all[3])).toEqual(tags(BOB));
    expect((await restored(all[3])).to).toEqual([BOB]);
    await expect(restored(before)).rejects.toThrow('were destroyed');
  });

  test('private halves are under the key of the bucket, public ones are no secret', async () => {
    await bench.deliverUntilStored(copy(OUTSIDE, BOB));
    const found = await keyVersions();
    expect(found.map(({ Key }) => Key!.replace(/age1[a-z0-9]{58}$/, 'age1…'))).toEqual([
      `private/${tagOf(BOB)}/age1…`,
      `public/${tagOf(BOB)}`,
    ]);
    const [secret, open] = await Promise.all(
      found.map(({ Key }) => bench.s3.send(new HeadObjectCommand({ Bucket: bench.keysBucket, Key }))),
    );
    expect([secret.ServerSideEncryption, open.ServerSideEncryption]).toEqual([undefined, 'AES256']);
    const { Body } = await bench.s3.send(new GetObjectCommand({ Bucket: bench.keysBucket, Key: found[1].Key }));
    expect(`private/${tagOf(BOB)}/${(await Body!.transformToString()).trim()}`).toBe(found[0].Key);
  });

  test('of two that make a key for the same address one is taken, by both', async () => {
    const theirs = execFileSync('age-keygen', { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
    const recipient = /public key: (\S+)/.exec(theirs)![1];
    const put = (Key: string, Body: string) =>
      bench.s3.send(new PutObjectCommand({ Bucket: bench.keysBucket, Key, Body }));
    bench.proxy.behave(async ({ method, path }): Promise<Fate> => {
      if (method === 'PUT' && path.includes('/private/')) {
        await put(`private/${tagOf(BOB)}/${recipient}`, theirs);
        await put(`public/${tagOf(BOB)}`, `${recipient}\n`);
      }
      return 'pass';
    });
    await bench.deliverUntilStored(copy(OUTSIDE, BOB));
    const object = await only();
    const opened = unseal(object.packed, parseIdentity(theirs));
    expect(opened).toBeDefined();
    expect((await keyVersions()).filter(({ Key }) => Key!.startsWith('public/'))).toHaveLength(1);
    expect((await restored(object)).to).toEqual([BOB]);
  });

  const ofKeys = ({ path }: ProxiedRequest) => path.startsWith(`/${bench.keysBucket}/`);

  test.each<[string, Fate]>([
    ['errors', failure(500, 'InternalError')],
    ['no permission', failure(403, 'AccessDenied')],
    ['success without the checksum', { status: 200, body: '' }],
    ['broken connections', 'cut'],
  ])('keys that meet with %s: who has one gets mail journaled, others wait', async (_what, fate) => {
    await bench.deliverUntilStored(copy(OUTSIDE, BOB));
    bench.proxy.behave((request) => (ofKeys(request) && request.method === 'PUT' ? fate : 'pass'));
    const late = copy(OUTSIDE, CAROL);
    expect(await bench.deliver(late)).toEqual([451]);
    bench.proxy.behave((request) => (ofKeys(request) ? failure(500, 'InternalError') : 'pass'));
    expect(await bench.deliver(late)).toEqual([451]);
    expect(await bench.deliver(copy(OUTSIDE, BOB))).toEqual([250]);
    bench.proxy.behave();
    await bench.deliverUntilStored(late);
    const objects = await bench.objects();
    expect(objects.map(({ text }) => /Subject: (\d+)/.exec(text)?.[1])).toHaveLength(3);
    for (const object of objects) expect((await restored(object)).to).toHaveLength(1);
  });

  test.each<[string, Fate]>([
    ['before', 'cut'],
    ['after', 'pass'],
  ])('killed %s each request: the message is there once, and a key opens it', async (_when, fate) => {
    let died = true;
    for (let at = 1; died; at++) {
      await bench.begin([BOB, CAROL]);
      const message = copy(OUTSIDE, BOB);
      died = false;
      bench.proxy.behave(async ({ number }) => {
        if (number !== at) return 'pass';
        died = true;
        await bench.kill();
        return fate;
      });
      await bench.deliver(message).catch(() => undefined);
      bench.proxy.behave();
      if (died) await bench.launch();
      await bench.deliverUntilStored(message);
      const object = await only();
      expect(keysOf(object)).toEqual(tags(BOB));
      expect((await restored(object)).message.toString()).toBe(message.data);
      expect((await keyVersions(BOB)).filter(({ Key }) => Key!.startsWith('public/'))).toHaveLength(1);
      // A look, two halves, another look, and the message: all of them were reached.
      if (!died) expect(at).toBe(6);
    }
  });

  test('answers that are lost make no second key and no second object', async () => {
    bench.proxy.behave(({ number }) => (number % 2 === 1 ? 'lose answer' : 'pass'));
    const message = copy(BOB, CAROL);
    await bench.deliverUntilStored(message);
    const object = await only();
    expect((await restored(object)).from).toBe(BOB);
    expect((await keyVersions()).filter(({ Key }) => Key!.startsWith('public/'))).toHaveLength(2);
  });

  test('has as many tags as metadata has room for, of a message to many', async () => {
    const many = Array.from({ length: 60 }, (_none, index) => `user${index}@example.com`);
    bench.know(many);
    await bench.deliverUntilStored(copy(OUTSIDE, ...many), 60);
    const { metadata, text } = await only();
    expect([metadata.to, metadata.keys].map((list) => list.split(',').length)).toEqual([50, 51]);
    const bytes = Object.entries(metadata).reduce((sum, [name, value]) => sum + name.length + value.length, 0);
    expect(bytes).toBeLessThan(2048);
    expect(text.match(/^X-Journal-To: /gm)).toHaveLength(60);
  });

  test('an unsealed journal is not touched by what seals: no keys, no age', async () => {
    await bench.begin();
    await bench.deliverUntilStored(copy(OUTSIDE, BOB));
    const { metadata } = await only();
    expect(metadata.keys).toBeUndefined();
  });
});
