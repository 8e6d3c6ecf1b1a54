import { CreateUserCommand, DeleteUserCommand, IAMClient, ListAccessKeysCommand } from '@aws-sdk/client-iam';
import {
  CreateSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import type { CloudFormationCustomResourceEvent, SecretsManagerRotationEvent } from 'aws-lambda';
import { handler } from '../../handlers/smtp-credentials';
import { smtpPassword } from '../../handlers/smtp-credentials/smtp-password';
import { CloudFormationEnd, startCloudFormationEnd } from '../support/cloudformation';
import { FaultyProxy, startFaultyProxy } from '../support/faulty-proxy';
import { MotoServer, startMotoServer } from '../support/moto-server';

// The login at a real SMTP server is tested on a node: test/system/relay.suite.ts.

let moto: MotoServer;
let proxy: FaultyProxy;
let iam: IAMClient;
let secrets: SecretsManagerClient;
let cloudFormation: CloudFormationEnd;
let logged: string;
let user: string;
let secretArn: string;
let count = 0;
const saved = { ...process.env };

beforeAll(async () => {
  moto = await startMotoServer();
  proxy = await startFaultyProxy(moto.url);
  iam = new IAMClient(moto.clientOptions);
  secrets = new SecretsManagerClient(moto.clientOptions);
  cloudFormation = await startCloudFormationEnd();
}, 90_000);

afterAll(async () => {
  process.env = saved;
  iam?.destroy();
  secrets?.destroy();
  cloudFormation?.stop();
  await proxy?.stop();
  await moto?.stop();
});

beforeEach(async () => {
  cloudFormation.reset();
  logged = '';
  for (const method of ['log', 'info', 'warn', 'error'] as const) {
    jest.spyOn(console, method).mockImplementation((...parts) => void (logged += parts.join(' ')));
  }
  user = `sender-${++count}`;
  await iam.send(new CreateUserCommand({ UserName: user }));
  const { ARN } = await secrets.send(
    new CreateSecretCommand({ Name: `smtp-${count}`, SecretString: 'random at first' }),
  );
  secretArn = ARN!;
  Object.assign(process.env, {
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'testing',
    AWS_SECRET_ACCESS_KEY: 'testing',
    AWS_ENDPOINT_URL: proxy.url,
    SMTP_USER: user,
    SMTP_SECRET: secretArn,
    SMTP_HOST: 'localhost',
  });
  proxy.behave();
});

afterEach(async () => {
  jest.restoreAllMocks();
  const { password } = (await login().catch(() => undefined)) ?? {};
  if (password !== undefined) {
    expect(logged + JSON.stringify(cloudFormation.answers)).not.toContain(password);
  }
});

// Passwords that SES is known to take, from the tests of Terraform's AWS provider.
test.each([
  ['eu-central-1', 'some+secret+key', 'BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2'],
  ['us-west-1', 'another+secret+key', 'BKVmjjMDFk/qqw8EROW99bjCS65PF8WKvK5bSr4Y6EqF'],
])('the SMTP password of a key in %s', (region, secretAccessKey, expected) => {
  expect(smtpPassword(secretAccessKey, region)).toBe(expected);
});

describe('the stack', () => {
  test('is given a login of a new key', async () => {
    await handler(event('Create'));
    expect(cloudFormation.answers).toEqual([
      expect.objectContaining({ Status: 'SUCCESS', PhysicalResourceId: secretArn }),
    ]);
    const { username, password } = await login();
    expect(await keys()).toEqual([username]);
    expect(password).toMatch(/^B[A-Za-z0-9+/]{43}$/);
  });

  test('that repeats its request keeps the login', async () => {
    const request = event('Create');
    await handler(request);
    const before = await login();
    await handler(request);
    await handler(event('Update'));
    expect(await login()).toEqual(before);
    expect(await keys()).toEqual([before.username]);
  });

  test('gets another login on an update after somebody deleted the key', async () => {
    await handler(event('Create'));
    const before = await login();
    await handler(event('Delete'));
    await handler(event('Update'));
    const { username } = await login();
    expect(username).not.toBe(before.username);
    expect(await keys()).toEqual([username]);
  });

  test('does not collect keys when it is interrupted before the login is stored', async () => {
    for (let run = 0; run < 3; run++) {
      proxy.behave(({ target }) => (target.endsWith('PutSecretValue') ? broken : 'pass'));
      await handler(event('Create'));
    }
    expect(cloudFormation.answers.map(({ Status }) => Status)).toEqual(['FAILED', 'FAILED', 'FAILED']);
    // The rollback.
    proxy.behave();
    await handler({ ...event('Delete'), PhysicalResourceId: 'Credentials' } as CloudFormationCustomResourceEvent);
    expect(await keys()).toEqual([]);
    await iam.send(new DeleteUserCommand({ UserName: user }));
  });

  test('that goes takes the keys along, also when it asks twice or the user is gone', async () => {
    await handler(event('Create'));
    await handler(event('Delete'));
    await handler(event('Delete'));
    expect(await keys()).toEqual([]);
    await iam.send(new DeleteUserCommand({ UserName: user }));
    await handler(event('Delete'));
    expect(cloudFormation.answers.map(({ Status }) => Status)).toEqual(['SUCCESS', 'SUCCESS', 'SUCCESS', 'SUCCESS']);
  });

  test('fails when IAM refuses', async () => {
    await iam.send(new DeleteUserCommand({ UserName: user }));
    await handler(event('Create'));
    expect(cloudFormation.answers).toEqual([
      expect.objectContaining({ Status: 'FAILED', Reason: expect.stringMatching(/^NoSuchEntity/) }),
    ]);
  });
});

describe('rotation', () => {
  const first = 'aaaaaaaa-0000-4000-8000-000000000001';
  const second = 'aaaaaaaa-0000-4000-8000-000000000002';

  /** As Secrets Manager makes the version before it calls. */
  async function pending(version: string): Promise<void> {
    await secrets.send(
      new PutSecretValueCommand({
        SecretId: secretArn,
        ClientRequestToken: version,
        SecretString: 'not a login yet',
        VersionStages: ['AWSPENDING'],
      }),
    );
  }

  beforeEach(() => handler(event('Create')));

  test('makes a second key, and gives its login out at the end only', async () => {
    const before = await login();
    await start(first);
    const after = await login({ VersionId: first });
    expect(after.username).not.toBe(before.username);
    expect((await keys()).sort()).toEqual([before.username, after.username].sort());
    expect(await login()).toEqual(before);

    await handler(step('setSecret', first));
    await handler(step('finishSecret', first));
    expect(await login()).toEqual(after);
    // Nodes that have not fetched the new one yet go on with the former.
    expect(await keys()).toContain(before.username);
  });

  test('deletes the key before the last one', async () => {
    const oldest = await login();
    await start(first);
    await handler(step('finishSecret', first));
    const previous = await login();
    await start(second);
    await handler(step('finishSecret', second));
    expect((await keys()).sort()).toEqual([previous.username, (await login()).username].sort());
    expect(await keys()).not.toContain(oldest.username);
  });

  test('repeated steps change nothing', async () => {
    await start(first);
    const made = await login({ VersionId: first });
    await handler(step('createSecret', first));
    expect(await login({ VersionId: first })).toEqual(made);
    await handler(step('finishSecret', first));
    await handler(step('finishSecret', first));
    expect(await login()).toEqual(made);
    expect(await keys()).toHaveLength(2);
  });

  test('that is interrupted before the login is stored keeps the one in use and leaves no key behind', async () => {
    const before = await login();
    proxy.behave(({ target }) => (target.endsWith('PutSecretValue') ? broken : 'pass'));
    await pending(first);
    await expect(handler(step('createSecret', first))).rejects.toThrow();
    proxy.behave();
    await handler(step('createSecret', first));
    expect((await keys()).sort()).toEqual([before.username, (await login({ VersionId: first })).username].sort());
    expect(await login()).toEqual(before);
  });

  test('fails when the version is not pending', async () => {
    await expect(handler(step('createSecret', second))).rejects.toThrow(`version ${second} is not pending`);
    expect(await keys()).toHaveLength(1);
  });

  async function start(version: string): Promise<void> {
    await pending(version);
    await handler(step('createSecret', version));
  }
});

const broken = { status: 500, body: '{"__type":"InternalServiceError","message":"broken"}' };

/** The one in use, or that of a version. moto has no idea of the first unless it is named. */
async function login(
  version: { VersionId?: string } | { VersionStage: string } = { VersionStage: 'AWSCURRENT' },
): Promise<{
  username: string;
  password: string;
}> {
  const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: secretArn, ...version }));
  return JSON.parse(SecretString!);
}

async function keys(): Promise<string[]> {
  const { AccessKeyMetadata = [] } = await iam.send(new ListAccessKeysCommand({ UserName: user }));
  return AccessKeyMetadata.map(({ AccessKeyId }) => AccessKeyId!);
}

function step(name: SecretsManagerRotationEvent['Step'], version: string): SecretsManagerRotationEvent {
  return { Step: name, SecretId: secretArn, ClientRequestToken: version };
}

let requests = 0;

function event(type: 'Create' | 'Update' | 'Delete'): CloudFormationCustomResourceEvent {
  return {
    RequestType: type,
    ServiceToken: 'function',
    ResponseURL: cloudFormation.url,
    StackId: 'stack',
    RequestId: `00000000-0000-4000-8000-${String(++requests).padStart(12, '0')}`,
    LogicalResourceId: 'Credentials',
    ResourceType: 'Custom::SmtpCredentials',
    ResourceProperties: { ServiceToken: 'function', UserName: user, SecretArn: secretArn },
    ...(type !== 'Create' && { PhysicalResourceId: secretArn }),
    ...(type === 'Update' && { OldResourceProperties: {} }),
  } as CloudFormationCustomResourceEvent;
}
