import { createServer } from 'node:net';
import { join } from 'node:path';
import { deafSockets } from '../../src/metrics/filter';
import { temporaryFolder } from '../support/temporary-folder';

test('tells sockets that a daemon listens at from those that one left behind, or never made', async () => {
  const folder = temporaryFolder();
  const [heard, left, missing] = ['heard', 'left', 'missing'].map((name) => join(folder, name));
  const listen = (socket: string) =>
    new Promise<ReturnType<typeof createServer>>((resolve) => {
      const server = createServer().listen(socket, () => resolve(server));
    });
  const servers = [await listen(heard), await listen(left)];
  expect(await deafSockets([heard, left, missing])).toEqual([missing]);
  await new Promise((resolve) => servers[1].close(resolve));
  expect(await deafSockets([heard, left, missing])).toEqual([left, missing]);
  servers[0].close();
});
