import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { CreateHostedZoneCommand, ListResourceRecordSetsCommand, Route53Client } from '@aws-sdk/client-route-53';
import { CreateSecretCommand, GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { handler } from '../../handlers/dkim-rotation';
import { publicKeyOf } from '../../lib/dns/dkim-text';
import { textOf } from '../../lib/dns/dns-record';
import { FaultyProxy, startFaultyProxy } from '../support/faulty-proxy';
import { MotoServer, startMotoServer } from '../support/moto-server';

const STEPS = ['createSecret', 'setSecret', 'testSecret', 'finishSecret'];
const REVOKED = 'v=DKIM1; p=';

let moto: MotoServer;
let proxy: FaultyProxy;
let route53: Route53Client;
let secrets: SecretsManagerClient;
let secretArn: string;
let zoneId: string;
let logged: string;
let names = 0;
const saved = { ...process.env };

beforeAll(async () => {
  moto = await startMotoServer();
  proxy = await startFaultyProxy(moto.url);
  Object.assign(process.env, {
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL: proxy.url,
    AWS_MAX_ATTEMPTS: '1', // Secrets Manager repeats steps
    OVERLAP_DAYS: '7',
    PROPAGATION_SECONDS: '0',
    HOSTNAME: 'mail.example.com',
  });
  route53 = new Route53Client({ endpoint: moto.url });
  secrets = new SecretsManagerClient({ endpoint: moto.url });
}, 90_000);

afterAll(async () => {
  process.env = saved;
  route53?.destroy();
  secrets?.destroy();
  await proxy?.stop();
  await moto?.stop();
});

beforeEach(async () => {
  proxy.behave();
  logged = '';
  jest.spyOn(console, 'log').mockImplementation((line) => void (logged += line));
  const { HostedZone } = await route53.send(
    new CreateHostedZoneCommand({ Name: 'example.com', CallerReference: `zone-${++names}` }),
  );
  zoneId = HostedZone!.Id!.replace('/hostedzone/', '');
  // As CloudFormation makes it: with a placeholder.
  const { ARN } = await secrets.send(
    new CreateSecretCommand({ Name: `dkim-${names}`, SecretString: '{"placeholder":"x"}' }),
  );
  secretArn = ARN!;
  Object.assign(process.env, { SECRET_ARN: secretArn, HOSTED_ZONE_ID: zoneId });
});

afterEach(() => {
  jest.restoreAllMocks();
  expect(logged).not.toContain('PRIVATE KEY');
});

let tokens = 0;

function token(): string {
  return `00000000-0000-4000-8000-${String(++tokens).padStart(12, '0')}`;
}

/** The steps of one rotation, as Secrets Manager calls them. */
async function rotate(version = token(), steps = STEPS): Promise<string> {
  for (const Step of steps) {
    await handler({ Step, SecretId: secretArn, ClientRequestToken: version });
  }
  return version;
}

interface Key {
  readonly selector: string;
  readonly privateKey: string;
  readonly createdAt: string;
}

async function key(stage = 'AWSCURRENT'): Promise<Key> {
  const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: secretArn, VersionStage: stage }));
  return JSON.parse(SecretString!);
}

/** Texts of both selectors in the zone. */
async function published(): Promise<{ [selector: string]: string }> {
  const { ResourceRecordSets } = await route53.send(new ListResourceRecordSetsCommand({ HostedZoneId: zoneId }));
  const texts = (ResourceRecordSets ?? []).filter(({ Type }) => Type === 'TXT');
  return Object.fromEntries(
    texts.map(({ Name, ResourceRecords }) => [
      Name!.replace('._domainkey.mail.example.com.', ''),
      textOf(ResourceRecords![0].Value!),
    ]),
  );
}

/** The daily call, so many days from now. */
async function retire(daysFromNow: number, when: 'after-overlap' | 'now' = 'after-overlap'): Promise<void> {
  const now = Date.now() + daysFromNow * 24 * 3600 * 1000;
  const clock = jest.spyOn(Date, 'now').mockReturnValue(now);
  await handler({ retire: when });
  clock.mockRestore();
}

test('the first rotation makes a key of 2048 bits and publishes its public half', async () => {
  await rotate();
  const { selector, privateKey } = await key();
  expect(selector).toBe('mail1');
  expect(createPrivateKey(privateKey).asymmetricKeyDetails).toMatchObject({ modulusLength: 2048 });
  const texts = await published();
  expect(Object.keys(texts)).toEqual(['mail1']);
  const signature = sign('sha256', Buffer.from('mail'), privateKey);
  expect(verify('sha256', Buffer.from('mail'), publicKeyOf(texts.mail1)!, signature)).toBe(true);
  const { ResourceRecordSets } = await route53.send(new ListResourceRecordSetsCommand({ HostedZoneId: zoneId }));
  const record = ResourceRecordSets!.find(({ Type }) => Type === 'TXT')!;
  expect(record.TTL).toBe(300);
  // Strings of 255 bytes at most, or Route 53 refuses it.
  for (const string of record.ResourceRecords![0].Value!.match(/"[^"]*"/g)!) {
    expect(string.length - 2).toBeLessThanOrEqual(255);
  }
});

test('the next rotation signs with the other selector, and the one before stays until its mail has arrived', async () => {
  await rotate();
  const first = await published();
  await rotate();
  expect((await key()).selector).toBe('mail2');
  expect((await key('AWSPREVIOUS')).selector).toBe('mail1');
  const both = await published();
  expect(both.mail1).toBe(first.mail1);
  expect(publicKeyOf(both.mail2)!.equals(createPublicKey((await key()).privateKey))).toBe(true);

  await retire(6.9);
  expect(await published()).toEqual(both);
  await retire(7.1);
  expect(await published()).toEqual({ mail1: REVOKED, mail2: both.mail2 });
  await retire(8);
  expect(await published()).toEqual({ mail1: REVOKED, mail2: both.mail2 });

  await rotate();
  expect((await key()).selector).toBe('mail1');
  const third = await published();
  expect(third.mail2).toBe(both.mail2);
  expect([first.mail1, REVOKED]).not.toContain(third.mail1);
});

test('steps that Secrets Manager repeats make one key', async () => {
  await rotate();
  const version = token();
  await rotate(
    version,
    STEPS.flatMap((step) => [step, step]),
  );
  const texts = await published();
  await rotate(version);
  expect(await published()).toEqual(texts);
  expect((await key()).selector).toBe('mail2');
});

test('a key is not overwritten while mail that it signed may be on its way', async () => {
  await rotate();
  await rotate();
  const before = await published();
  await expect(rotate()).rejects.toThrow(
    /^mail1 still stands for mail in transit; rotate 7 days after the last rotation/,
  );
  expect(await published()).toEqual(before);
  expect((await key()).selector).toBe('mail2');

  // The key leaked: it is revoked by hand, and the rotation goes through.
  await retire(0, 'now');
  expect((await published()).mail1).toBe(REVOKED);
  await rotate();
  expect((await key()).selector).toBe('mail1');
});

test('the daily call leaves the key of an unfinished rotation alone', async () => {
  await rotate();
  await rotate();
  await retire(8);
  const version = await rotate(token(), ['createSecret', 'setSecret']);
  const unfinished = await published();
  expect(unfinished.mail1).not.toBe(REVOKED);
  await retire(30);
  expect(await published()).toEqual(unfinished);
  await rotate(version, ['testSecret', 'finishSecret']);
  expect(publicKeyOf((await published()).mail1)!.equals(createPublicKey((await key()).privateKey))).toBe(true);
});

test('a rotation that was given up does not stand in the way of the next', async () => {
  await rotate();
  await rotate(token(), ['createSecret', 'setSecret']);
  const abandoned = (await published()).mail2;
  await rotate();
  expect((await key()).selector).toBe('mail2');
  expect((await published()).mail2).not.toBe(abandoned);
});

test('nobody signs with a new key before resolvers have forgotten what its selector was', async () => {
  process.env.PROPAGATION_SECONDS = '1';
  try {
    const took = async (run: () => Promise<unknown>) => {
      const begin = performance.now();
      await run();
      return performance.now() - begin;
    };
    const version = await rotate(token(), ['createSecret', 'setSecret']);
    // No mail has been signed yet that it could harm.
    expect(await took(() => rotate(version, ['testSecret']))).toBeLessThan(900);
    await rotate(version, ['finishSecret']);
    const next = await rotate(token(), ['createSecret', 'setSecret']);
    expect(await took(() => rotate(next, ['testSecret']))).toBeGreaterThan(990);
    expect((await key()).selector).toBe('mail1');
  } finally {
    process.env.PROPAGATION_SECONDS = '0';
  }
});

test('a rotation that dies at any of its requests leaves a key that verifies, and is made up for', async () => {
  await rotate();
  // As many requests as a whole rotation makes.
  proxy.behave();
  await rotate();
  const requests = proxy.seen.length;
  await retire(8);
  let died = 0;
  for (let dies = 1; dies <= requests; dies++) {
    const before = await key();
    const version = token();
    proxy.behave(({ number }) => (number === dies ? 'lose answer' : 'pass'));
    await rotate(version).catch(() => died++);
    proxy.behave();
    const used = await key();
    expect(publicKeyOf((await published())[used.selector])!.equals(createPublicKey(used.privateKey))).toBe(true);
    await rotate(version);
    const after = await key();
    expect(after.selector).not.toBe(before.selector);
    expect(publicKeyOf((await published())[after.selector])!.equals(createPublicKey(after.privateKey))).toBe(true);
    await retire(8);
    expect((await published())[before.selector]).toBe(REVOKED);
  }
  // The SDK itself asks again whether a change is done.
  expect(died).toBe(requests - 1);
}, 120_000);

test('before the first rotation the daily call does nothing', async () => {
  await retire(100);
  expect(await published()).toEqual({});
});

test.each<[string, () => void, RegExp]>([
  ['the zone is gone', () => (process.env.HOSTED_ZONE_ID = 'Z0GONE'), /NoSuchHostedZone|No hosted zone|not found/i],
  [
    'the secret is gone',
    () => (secretArn = 'arn:aws:secretsmanager:eu-central-1:1:secret:gone'),
    /can't find|not exist/i,
  ],
])('fails when %s', async (_name, breakIt, message) => {
  breakIt();
  await expect(rotate()).rejects.toThrow(message);
});

test('fails when the step is none of a rotation', async () => {
  await expect(rotate(token(), ['deleteSecret'])).rejects.toThrow('Step must be one of a rotation, got "deleteSecret"');
});
