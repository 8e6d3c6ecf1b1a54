import { checkGreeting, GreetingOptions } from '../../src/health/greeting';
import { selfSigned } from '../support/certificate';
import { RunningServer, socketServer } from '../support/servers';
import { eventually } from '../support/wait';

const never = new AbortController().signal;
const smtp = (server: RunningServer): GreetingOptions => ({
  port: server.port,
  implicitTls: false,
  expected: /^220[ -]/,
  goodbye: 'QUIT',
});

let server: RunningServer;
afterEach(() => server.stop());

test('takes a greeting, also one in pieces, and says goodbye', async () => {
  let heard = '';
  server = await socketServer((socket) => {
    socket.on('data', (chunk) => (heard += chunk));
    socket.write('22');
    setTimeout(() => socket.write('0 mail.example.com ESMTP\r\n'), 10);
  });
  await checkGreeting(smtp(server), never);
  await eventually(() => heard === 'QUIT\r\n');
});

test('speaks TLS from the first byte, whoever signed the certificate', async () => {
  let heard = '';
  server = await socketServer((socket) => {
    socket.on('data', (chunk) => (heard += chunk));
    socket.write('* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n');
  }, selfSigned(30));
  const imap = { port: server.port, implicitTls: true, expected: /^\* OK/, goodbye: 'a LOGOUT' };
  await checkGreeting(imap, never);
  await eventually(() => heard === 'a LOGOUT\r\n');
});

test.each([
  ['refuses', (reply: (text: string) => void) => reply('421 4.3.2 Too many\r\n'), 'greeted with "421 4.3.2 Too many"'],
  ['never ends its line', (reply: (text: string) => void) => reply('2'.repeat(4096)), 'greeted with "222'],
])('fails when the server %s', async (_, act, message) => {
  server = await socketServer((socket) => act((text) => socket.write(text)));
  await expect(checkGreeting(smtp(server), never)).rejects.toThrow(message);
});

test('fails when the server closes without a word', async () => {
  server = await socketServer((socket) => socket.end());
  await expect(checkGreeting(smtp(server), never)).rejects.toThrow('closed the connection without a greeting');
});

test('fails when nobody listens', async () => {
  server = await socketServer(() => {});
  await server.stop();
  await expect(checkGreeting(smtp(server), never)).rejects.toThrow(`port ${server.port}: connect ECONNREFUSED`);
});

test('closes the connection to a silent server when its time is over', async () => {
  let closed = false;
  server = await socketServer((socket) => socket.resume().on('close', () => (closed = true)));
  const controller = new AbortController();
  const check = checkGreeting(smtp(server), controller.signal);
  setTimeout(() => controller.abort(), 20);
  await expect(check).rejects.toThrow('aborted');
  await eventually(() => closed);
});
