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
  await control.kick('alice@example.com');
  await control.kickAll();
  await control.fence();
  await control.unfence();
  await control.alive(1234.5);
  await control.adopt('i-0');
  expect(asked).toEqual([
    'kick alice@example.com\n',
    'kick-all\n',
    'fence\n',
    'unfence\n',
    'alive 1235\n',
    'adopt i-0\n',
  ]);
});

test.each([
  ['no one', 'ok\n', []],
  ['two', 'ok alice@example.com bob@example.com\n', ['alice@example.com', 'bob@example.com']],
])('reads who has a session: %s', async (_, text, users) => {
  // In pieces, as a long answer comes.
  answer = (_line, socket) => {
    socket.write(text.slice(0, 4));
    setTimeout(() => socket.end(text.slice(4)), 20);
  };
  expect(await control.who()).toEqual(users);
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
  await expect(new ControlClient('/nowhere/control.sock').who()).rejects.toThrow('control who: connect ENOENT');
});

test('fails when a user has a blank, which would be another request', async () => {
  await expect(control.kick('a b')).rejects.toThrow('user with a blank');
  expect(asked).toEqual([]);
});
