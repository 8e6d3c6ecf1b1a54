import { createServer, Server, Socket } from 'node:net';
import { join } from 'node:path';
import { ControlClient } from '../../src/control/control-client';
import { temporaryFolder } from '../support/temporary-folder';

let server: Server;
let asked: string[];
let answer: (line: string, socket: Socket) => void;
let control: ControlClient;
beforeEach(async () => {
  asked = [];
  const path = join(temporaryFolder(), 'control.sock');
  server = createServer((socket) =>
    socket.setEncoding('utf8').on('data', (line: string) => {
      asked.push(line);
      answer(line, socket);
    }),
  );
  await new Promise<void>((resolve) => server.listen(path, resolve));
  control = new ControlClient(path);
});
afterEach(() => void server.close());

test('asks by one line and resolves when it is done', async () => {
  answer = (_line, socket) => socket.end('ok\n');
  await control.releaseDeliveries();
  await control.releaseSessions();
  await control.forget();
  await control.fence();
  await control.unfence();
  await control.alive(1234.5);
  await control.takeOver(['10.0.0.1', '10.0.0.2']);
  await control.takeOver([]);
  await control.adopt('i-0');
  await control.flush();
  expect(asked.map((line) => line.trimEnd())).toEqual([
    ...[
      'release-deliveries',
      'release-sessions',
      'forget',
      'fence',
      'unfence',
      'alive 1235',
      'take-over 10.0.0.1,10.0.0.2',
      'take-over -',
      'adopt i-0',
      'flush',
    ],
  ]);
});

test('reads an answer that comes in pieces', async () => {
  answer = (_line, socket) => {
    socket.write('ok 2 mess');
    setTimeout(() => socket.end('ages\n'), 20);
  };
  expect(await control.adopt('i-0')).toBe('2 messages');
});

test.each([
  ['error no such user\n', 'control fence: no such user'],
  ['', 'control fence: answered ""'],
  // Cut off: it may not be done.
  ['ok', 'control fence: answered "ok"'],
  ['okay\n', 'control fence: answered "okay\\n"'],
])('fails when the answer is %j', async (text, message) => {
  answer = (_line, socket) => socket.end(text);
  await expect(control.fence()).rejects.toThrow(message);
});

test('fails when no answer comes in time', async () => {
  answer = () => {};
  await expect(control.alive(1)).rejects.toThrow('control alive: no answer within 1000 ms');
});

test('fails when nobody listens', async () => {
  await expect(new ControlClient('/nowhere/control.sock').releaseSessions()).rejects.toThrow(
    'control release-sessions: connect ENOENT',
  );
});
