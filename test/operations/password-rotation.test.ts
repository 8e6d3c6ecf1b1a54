import { randomUUID } from 'node:crypto';
import { CreateSecretCommand, GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { handler } from '../../handlers/password-rotation';
import { FaultyProxy, startFaultyProxy } from '../support/faulty-proxy';
import { MotoServer, startMotoServer } from '../support/moto-server';

const STEPS = ['createSecret', 'setSecret', 'testSecret', 'finishSecret'];

let moto: MotoServer;
let proxy: FaultyProxy;
let secrets: SecretsManagerClient;
let secretId: string;
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
  });
  secrets = new SecretsManagerClient({ endpoint: moto.url });
}, 90_000);

afterAll(async () => {
  process.env = saved;
  secrets?.destroy();
  await proxy?.stop();
  await moto?.stop();
});

beforeEach(async () => {
  proxy.behave();
  const created = { Name: randomUUID(), SecretString: '{"password":"first"}' };
  secretId = (await secrets.send(new CreateSecretCommand(created))).ARN!;
});

async function rotate(version: string = randomUUID(), steps = STEPS): Promise<string> {
  for (const Step of steps) await handler({ Step, SecretId: secretId, ClientRequestToken: version });
  return version;
}

async function password(stage = 'AWSCURRENT'): Promise<string> {
  const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: secretId, VersionStage: stage }));
  return JSON.parse(SecretString!).password;
}

test('makes a new password that nodes take, and keeps the one before as the previous one', async () => {
  await rotate();
  const second = await password();
  expect(second).toMatch(/^[A-Za-z0-9]{48}$/);
  expect(await password('AWSPREVIOUS')).toBe('first');
  await rotate();
  expect(await password()).not.toBe(second);
});

test('is in use at the last step only, and a step that comes again changes nothing', async () => {
  const version = await rotate(undefined, ['createSecret']);
  expect(await password()).toBe('first');
  const pending = await password('AWSPENDING');
  await rotate(version, ['createSecret', 'setSecret', 'testSecret', 'finishSecret', 'finishSecret', 'createSecret']);
  expect(await password()).toBe(pending);
});

test.each(['cut', 'lose answer'] as const)(
  'with any request that fails (%s), the rotation ends whole when it is repeated',
  async (fate) => {
    await rotate();
    const count = proxy.seen.length;
    expect(count).toBeGreaterThan(5);
    for (let failing = 1; failing <= count; failing++) {
      const [before, version] = [await password(), randomUUID()];
      proxy.behave(({ number }) => (number === failing ? fate : 'pass'));
      await expect(rotate(version)).rejects.toThrow();
      await rotate(version);
      expect(await password()).toMatch(/^[A-Za-z0-9]{48}$/);
      expect(await password()).not.toBe(before);
      expect(await password('AWSPREVIOUS')).toBe(before);
    }
  },
);

test('fails when the step is unknown', async () => {
  await expect(rotate(undefined, ['leap'])).rejects.toThrow('Step must be one of a rotation, got "leap"');
});
