import { createHash } from 'node:crypto';
import { Fate } from '../support/faulty-proxy';
import { Copy, JournalBench, lines, queueIdAt, stuffed } from '../support/journal';

// A daemon starts in a second or two.
jest.setTimeout(120_000);

const bench = new JournalBench();
beforeAll(() => bench.start());
afterAll(() => bench.stop());
beforeEach(() => bench.begin());

const ARRIVAL = Date.UTC(2026, 10, 22, 5, 13, 22, 250);
const sha256 = (text: string | Buffer) => createHash('sha256').update(text).digest();
const tag = (address: string) => sha256(address).toString('hex').slice(0, 16);

let messages = 0;

function copy(changes: Partial<Copy> = {}): Copy {
  const number = ++messages;
  return {
    queueId: queueIdAt(ARRIVAL, number + 100),
    sender: 'alice@example.com',
    copies: ['bob@example.com.journal.invalid'],
    data: `Received: by mail.example.com (Postfix) with ESMTP\r\nSubject: ${number}\r\n\r\nhello ${number}\r\n`,
    ...changes,
  };
}

/** Fails unless the bucket has exactly these messages, each once, whole, and with the checksum that S3 was given. */
async function expectEachOnce(copies: Copy[]): Promise<void> {
  const objects = await bench.objects();
  for (const { packed, checksum } of objects) expect(checksum).toBe(sha256(packed).toString('base64'));
  const found = objects.map(({ text }) => text.slice(text.indexOf('Received: ')));
  expect(found.sort()).toEqual(copies.map(({ data }) => data).sort());
}

const failure = (status: number, code: string): Fate => ({ status, body: `<Error><Code>${code}</Code></Error>` });

test('stores the message with its envelope, under a name that says when it came and whose it is to nobody', async () => {
  const message = copy({
    client: '192.0.2.7',
    copies: ['team@example.com.journal.invalid', 'Bob+x@example.org.journal.invalid'],
    data: 'Received: by us\r\nSubject: x\r\n\r\n.dot\r\n..two dots\r\nüñ\r\n',
  });
  expect(await bench.deliver(message)).toEqual([250, 250]);
  const [object] = await bench.objects();
  expect(object.text).toBe(
    [
      `X-Journal-Queue-Id: ${message.queueId}`,
      'X-Journal-Arrival: 2026-11-22T05:13:22Z',
      'X-Journal-Client: 192.0.2.7',
      'X-Journal-From: <alice@example.com>',
      'X-Journal-To: <Bob+x@example.org>',
      'X-Journal-To: <team@example.com>',
      message.data,
    ].join('\r\n'),
  );
  const digest = sha256(object.text).toString('hex').slice(0, 16);
  expect(object.key).toBe(`journal/2026/11/22/05/${message.queueId}-${digest}.eml.zst`);
  expect(object.metadata).toEqual({
    from: tag('alice@example.com'),
    to: `${tag('bob+x@example.org')},${tag('team@example.com')}`,
    recipients: '2',
    'message-size': `${Buffer.byteLength(message.data)}`,
  });
  expect(object.checksum).toBe(sha256(object.packed).toString('base64'));
});

test.each([
  ['a quoted name', '"\\"a b\\""@example.org.journal.invalid', '"a b"@example.org'],
  ['an address for a machine', '"x@[192.0.2.1]"@journal.invalid', 'x@[192.0.2.1]'],
  ['letters beyond ASCII', 'ü@exämple.org.journal.invalid', 'ü@exämple.org'],
])('reads the recipient of the copy again: %s', async (_which, name, recipient) => {
  expect(await bench.deliver(copy({ copies: [name] }))).toEqual([250]);
  const [{ text }] = await bench.objects();
  expect(text).toContain(`\r\nX-Journal-To: <${recipient}>\r\n`);
});

test('stores what has no sender, or a recipient whose name fits into no address', async () => {
  expect(await bench.deliver(copy({ sender: '', copies: ['unnamed@journal.invalid'] }))).toEqual([250]);
  const [{ text, metadata }] = await bench.objects();
  expect(text).toContain('\r\nX-Journal-From: <>\r\nReceived:');
  expect(metadata).toMatchObject({ recipients: '0', to: '' });
});

test('a thousand recipients fit: all in the object, a hundred in its metadata', async () => {
  const copies = Array.from({ length: 1000 }, (_unused, index) => `user${index}@example.org.journal.invalid`);
  expect(new Set(await bench.deliver(copy({ copies })))).toEqual(new Set([250]));
  const [{ text, metadata }] = await bench.objects();
  expect(text.match(/^X-Journal-To: /gm)).toHaveLength(1000);
  expect(metadata.recipients).toBe('1000');
  expect(metadata.to.split(',')).toHaveLength(100);
});

test('takes the queue id of mail that came by the command sendmail from its first line, and of no other', async () => {
  const client = await bench.connect();
  const message = copy();
  const local = `Received: by mail.example.com (Postfix, from userid 5000)\r\n\tid ${message.queueId}; today\r\n\r\nx\r\n`;
  const [, , ...commands] = lines({ ...message, queueId: '' });
  const send = async (data: string) => {
    for (const line of commands) await client.ask(line);
    client.socket.write(stuffed(data));
    return client.answer();
  };
  await client.answer();
  await client.ask('LHLO node.example.com');
  expect(await send(local)).toBe(250);
  expect(await send(local.replace('(Postfix, from userid 5000)', '(Postfix)'))).toBe(451);
  client.close();
  expect(await bench.objects()).toHaveLength(1);
});

test('several messages on one connection do not mix, and large ones pass', async () => {
  const large = copy({ data: `Received: large\r\n\r\n${`${'x'.repeat(76)}\r\n`.repeat(600_000)}` });
  const small = [copy(), copy()];
  const client = await bench.connect();
  await client.answer();
  for (const message of [small[0], large, small[1]]) {
    for (const line of lines(message)) await client.ask(line);
    client.socket.write(stuffed(message.data));
    expect(await client.answer()).toBe(250);
  }
  client.close();
  await expectEachOnce([...small, large]);
});

test('a message that comes again, in whatever order of its recipients, makes no second object', async () => {
  const copies = ['a@example.com.journal.invalid', 'b@example.com.journal.invalid'];
  const message = copy({ copies });
  for (const again of [message, message, { ...message, copies: [...copies].reverse() }]) {
    expect(await bench.deliver(again)).toEqual([250, 250]);
  }
  await bench.kill();
  await bench.launch();
  expect(await bench.deliver(message)).toEqual([250, 250]);
  await expectEachOnce([message]);
});

describe('does not say 250, nor ever 5xx, before S3 has confirmed it', () => {
  test.each<[string, Fate]>([
    ['errors', failure(500, 'InternalError')],
    ['throttling', failure(503, 'SlowDown')],
    ['no permission', failure(403, 'AccessDenied')],
    ['no bucket', failure(404, 'NoSuchBucket')],
    ['wrong checksum', failure(400, 'BadDigest')],
    ['success without the checksum', { status: 200, body: '' }],
    ['broken connections', 'cut'],
  ])('S3 with %s', async (_what, fate) => {
    const message = copy();
    bench.proxy.behave(() => fate);
    expect(await bench.deliver(message)).toEqual([451]);
    expect(await bench.objects()).toEqual([]);
    expect(bench.said.join('\n')).toContain(`${message.queueId}: not stored`);
    bench.proxy.behave();
    // It would rest for seconds.
    await bench.kill();
    await bench.launch();
    await bench.deliverUntilStored(message);
    await expectEachOnce([message]);
  });

  test('S3 whose answer is lost, twice', async () => {
    const message = copy();
    bench.proxy.behave(({ number }) => (number <= 2 ? 'lose answer' : 'pass'));
    await bench.deliverUntilStored(message);
    await expectEachOnce([message]);
  });

  test('S3 that is slow', async () => {
    const message = copy();
    let answered = false;
    bench.proxy.behave(async (): Promise<Fate> => {
      await new Promise((resolve) => setTimeout(resolve, 3000));
      answered = true;
      return 'pass';
    });
    expect(await bench.deliver(message)).toEqual([250]);
    expect(answered).toBe(true);
  });
});

test('while S3 is away it tries one message each few seconds and sends the others back unread', async () => {
  bench.proxy.behave(() => 'cut');
  const waiting = [copy(), copy(), copy()];
  expect(await bench.deliver(waiting[0])).toEqual([451]);
  const asked = bench.proxy.seen.length;
  const begin = Date.now();
  for (let count = 0; count < 50; count++) expect(await bench.deliver(waiting[1])).toEqual([421]);
  expect(Date.now() - begin).toBeLessThan(4000);
  expect(bench.proxy.seen).toHaveLength(asked);
  bench.proxy.behave();
  await Promise.all(waiting.map((message) => bench.deliverUntilStored(message)));
  await expectEachOnce(waiting);
});

test('a fault with one message does not hold up the others', async () => {
  bench.proxy.behave(({ number }) => (number === 1 ? failure(400, 'InvalidRequest') : 'pass'));
  const messages = [copy(), copy()];
  expect(await bench.deliver(messages[0])).toEqual([451]);
  expect(await bench.deliver(messages[1])).toEqual([250]);
});

describe('killed, it loses nothing and doubles nothing', () => {
  const message = copy();
  const commands = lines(message);

  test.each([...commands.keys()])('after command %i of a delivery', async (last) => {
    const client = await bench.connect();
    await client.answer();
    for (const line of commands.slice(0, last + 1)) await client.ask(line);
    await bench.kill();
    client.close();
    await bench.launch();
    await bench.deliverUntilStored(message);
    await expectEachOnce([message]);
  });

  test('in the middle of the message', async () => {
    const client = await bench.connect();
    await client.answer();
    for (const line of commands) await client.ask(line);
    client.socket.write(message.data.slice(0, 40));
    await bench.kill();
    await bench.launch();
    expect(await bench.objects()).toEqual([]);
    await bench.deliverUntilStored(message);
    await expectEachOnce([message]);
  });

  test.each<[string, Fate]>([
    ['before S3 has it', 'cut'],
    ['after S3 has it, before it knows', 'pass'],
  ])('%s', async (_when, fate) => {
    bench.proxy.behave(async () => {
      await bench.kill();
      return fate;
    });
    await expect(bench.deliver(message)).rejects.toThrow('the connection ended');
    bench.proxy.behave();
    await bench.launch();
    await bench.deliverUntilStored(message);
    await expectEachOnce([message]);
  });

  test('at any moment, while S3 fails now and then', async () => {
    const all = Array.from({ length: 120 }, () => copy());
    const fates: Fate[] = ['pass', 'pass', 'pass', 'lose answer', failure(400, 'InvalidRequest')];
    bench.proxy.behave(() => fates[Math.floor(Math.random() * fates.length)]);
    const waiting = [...all];
    const client = async () => {
      for (let next = waiting.pop(); next; next = waiting.pop()) await bench.deliverUntilStored(next, 100);
    };
    const clients = Promise.all([client(), client(), client(), client()]);
    for (let kills = 0; kills < 6; kills++) {
      await new Promise((resolve) => setTimeout(resolve, 700 + Math.random() * 1500));
      await bench.kill();
      await bench.launch();
    }
    await clients;
    await expectEachOnce(all);
  });
});

test('tells Postfix to let mail in', async () => {
  expect(await bench.ask()).toBe('action=DUNNO\n\n');
});
