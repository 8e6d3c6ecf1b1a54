import { ConfigurationError, readConfiguration } from '../src/configuration';

const ENVIRONMENT = {
  MAIL_CLUSTER: 'MailStack',
  AWS_REGION: 'eu-central-1',
  MAIL_SERVICES: 'imaps submission',
  MAIL_CONNECTIONS_MAX: '4000',
  MAIL_LEASE_TABLE: 'Leases',
  MAIL_DRAIN_HOOK: 'drain',
  MAIL_DRAIN_SECONDS: '300',
};

test('reads what the environment file says', () => {
  const configuration = readConfiguration(ENVIRONMENT);
  expect(configuration).toMatchObject({
    cluster: 'MailStack',
    region: 'eu-central-1',
    connectionsMax: 4000,
    leaseTable: 'Leases',
    drainHook: 'drain',
    drainSeconds: 300,
  });
  expect(configuration.services.map((service) => service.port)).toEqual([993, 587]);
});

test('takes AWS_DEFAULT_REGION when AWS_REGION is not there', () => {
  const { AWS_REGION, ...rest } = ENVIRONMENT;
  expect(readConfiguration({ ...rest, AWS_DEFAULT_REGION: AWS_REGION }).region).toBe('eu-central-1');
});

test.each([
  ['MAIL_CLUSTER', '', 'MAIL_CLUSTER is missing'],
  ['AWS_REGION', '', 'AWS_REGION or AWS_DEFAULT_REGION is missing'],
  ['MAIL_SERVICES', ' ', 'MAIL_SERVICES is missing'],
  ['MAIL_SERVICES', 'imaps imap', 'MAIL_SERVICES: unknown mail service "imap"; expected one of imaps, '],
  ['MAIL_CONNECTIONS_MAX', '0', 'MAIL_CONNECTIONS_MAX must be a whole number >= 1, got "0"'],
  ['MAIL_DRAIN_SECONDS', '5 min', 'MAIL_DRAIN_SECONDS must be a whole number >= 0, got "5 min"'],
])('fails when %s is %j', (key, value, message) => {
  expect(() => readConfiguration({ ...ENVIRONMENT, [key]: value })).toThrow(message);
});

test('knows what nodes fetch besides', () => {
  expect(readConfiguration(ENVIRONMENT)).toMatchObject({ blockLists: false, tokens: false, clientCertificates: false });
  const more = { MAIL_BLOCK_LISTS_OBJECT: 's3://lists/block-lists', MAIL_TOKEN_ISSUER: 'https://login.example.com' };
  expect(readConfiguration({ ...ENVIRONMENT, ...more })).toMatchObject({ blockLists: true, tokens: true });
  expect(readConfiguration({ ...ENVIRONMENT, MAIL_CLIENT_CA: 'MIIB' })).toMatchObject({
    clientCertificates: true,
    clientRevocations: false,
  });
  const lists = { MAIL_CLIENT_REVOCATIONS_OBJECT: 's3://lists/client-revocations' };
  expect(readConfiguration({ ...ENVIRONMENT, ...lists })).toMatchObject({ clientRevocations: true });
});

test('knows its shard and all shards where mail is on volumes', () => {
  const sharded = { ...ENVIRONMENT, MAIL_STORE: 'ebs', MAIL_SHARD: 'shard-2', MAIL_SHARDS: 'shard-1 shard-2' };
  expect(readConfiguration(sharded)).toMatchObject({ shard: 'shard-2', shards: ['shard-1', 'shard-2'] });
  expect(readConfiguration({ ...sharded, MAIL_STORE: 'efs' }).shards).toBeUndefined();
  expect(() => readConfiguration({ ...ENVIRONMENT, MAIL_STORE: 'ebs' })).toThrow(
    'MAIL_SHARD is missing; MAIL_SHARDS is missing',
  );
});

test('knows what filters mail', () => {
  const filtering = { ...ENVIRONMENT, MAIL_FILTERING: 'yes', MAIL_VIRUS_SCAN: 'no' };
  expect(readConfiguration(ENVIRONMENT).filter).toBeUndefined();
  expect(readConfiguration(filtering).filter).toEqual({ virusScan: false });
  expect(readConfiguration({ ...filtering, MAIL_VIRUS_SCAN: 'yes' }).filter).toEqual({ virusScan: true });
});

test('fails with every wrong key at once', () => {
  expect(() => readConfiguration({})).toThrow(ConfigurationError);
  expect(() => readConfiguration({})).toThrow(
    /MAIL_CLUSTER.*AWS_REGION.*MAIL_SERVICES.*CONNECTIONS_MAX.*LEASE_TABLE.*HOOK.*SECONDS/,
  );
});
