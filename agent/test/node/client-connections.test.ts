import { mkdirSync, writeFileSync } from 'node:fs';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ClientConnections, parseTcpTable } from '../../src/node/client-connections';
import { socketServer } from '../support/servers';
import { temporaryFolder } from '../support/temporary-folder';

const HEADER = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
const row = (local: string, remote: string, state: string) =>
  `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 52349 1 0000000000000000 100 0 0 10 0`;

const tables = (tcp: string[], tcp6?: string[]): string => {
  const folder = join(temporaryFolder(), 'net');
  mkdirSync(folder);
  writeFileSync(join(folder, 'tcp'), [HEADER, ...tcp, ''].join('\n'));
  if (tcp6) writeFileSync(join(folder, 'tcp6'), [HEADER, ...tcp6, ''].join('\n'));
  return folder;
};

// 993 is 03E1, 587 is 024B; 10.0.1.10 is 0A01000A.
test('counts established connections on the local service ports, of IPv4 and IPv6', async () => {
  const folder = tables(
    [
      row('00000000:03E1', '00000000:0000', '0A'), // listening
      row('0A01000A:03E1', '057100CB:C001', '01'),
      row('0A01000A:024B', '057100CB:C002', '01'),
      row('0A01000A:03E1', '057100CB:C003', '06'), // TIME_WAIT
      row('0A01000A:C004', '057100CB:0019', '01'), // we are the client
      row('0100007F:03E1', '0100007F:C005', '01'), // the agent's own check
    ],
    [
      row('0000000000000000FFFF00000A01000A:03E1', '0000000000000000FFFF0000057100CB:C006', '01'),
      row('0000000000000000FFFF00000100007F:03E1', '0000000000000000FFFF00000100007F:C007', '01'),
      row('00000000000000000000000001000000:03E1', '00000000000000000000000001000000:C008', '01'),
    ],
  );
  expect(await new ClientConnections([993, 587], folder).count()).toBe(3);
});

test('does without an IPv6 table, but not without an IPv4 one', async () => {
  expect(await new ClientConnections([993], tables([row('0A01000A:03E1', '057100CB:C001', '01')])).count()).toBe(1);
  await expect(new ClientConnections([993], temporaryFolder()).count()).rejects.toThrow('ENOENT');
});

test('reads this kernel’s own table', async () => {
  const accepted = jest.fn();
  const server = await socketServer(accepted);
  const client = connect(server.port, '127.0.0.1');
  await new Promise((resolve) => client.once('connect', resolve));
  const rows = parseTcpTable(readFileSync('/proc/net/tcp', 'latin1'));
  expect(rows).toContainEqual({ localPort: server.port, loopback: true });
  client.destroy();
  await server.stop();
});
