import { InstanceMetadata } from '../../src/node/instance-metadata';
import { MetadataServer, metadataServer } from '../support/metadata-server';
import { httpServer } from '../support/servers';

let server: MetadataServer;

beforeEach(async () => {
  server = await metadataServer({ 'instance-id': 'i-0123456789abcdef0' });
});
afterEach(() => server.stop());

test('reads values with one token for all', async () => {
  const metadata = new InstanceMetadata(`${server.url}/`);
  const absent = ['spot/instance-action', 'autoscaling/target-lifecycle-state'].map((path) => metadata.get(path));
  expect(await Promise.all(absent)).toEqual([undefined, undefined]);
  expect(await metadata.instanceId()).toBe('i-0123456789abcdef0');
  expect(server.tokens).toHaveLength(1);
});

test('gets a new token when the service refuses the old one', async () => {
  const metadata = new InstanceMetadata(server.url);
  await metadata.get('instance-id');
  server.revokeTokens();
  expect(await metadata.get('instance-id')).toBe('i-0123456789abcdef0');
  expect(server.tokens).toHaveLength(2);
});

test('recovers when the service was away at first', async () => {
  const { port } = new URL(server.url);
  await server.stop();
  const metadata = new InstanceMetadata(`http://127.0.0.1:${port}`);
  await expect(metadata.get('instance-id')).rejects.toThrow('fetch failed');
  await expect(metadata.get('instance-id')).rejects.toThrow('fetch failed');
});

test('fails when the service answers with an error', async () => {
  const broken = await httpServer((_, response) => response.writeHead(500).end());
  await expect(new InstanceMetadata(broken.url).get('instance-id')).rejects.toThrow('/latest/api/token: HTTP 500');
  await broken.stop();
});
