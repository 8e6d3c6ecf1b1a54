import { createServer, IncomingMessage, Server } from 'node:http';
import { AddressInfo } from 'node:net';
import {
  CreateSecretCommand,
  GetSecretValueCommand,
  ListSecretVersionIdsCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { handler } from '../../handlers/acme-credentials';
import { CloudFormationEnd, startCloudFormationEnd } from '../support/cloudformation';
import { MotoServer, startMotoServer } from '../support/moto-server';

const BINDING = 'arn:aws:acm:eu-central-1:111122223333:acme-endpoint/e1/acme-external-account-binding/b';
const MAC_KEY = 'c2VjcmV0LW1hYy1rZXktdGhhdC1uby1vbmUtbWF5LXNlZQ';

let moto: MotoServer;
let acm: Server;
let cloudFormation: CloudFormationEnd;
let secretArn: string;
let acmCalls: { target?: string; binding: string }[];
let logged: string;
let secrets = 0;
const saved = { ...process.env };

beforeAll(async () => {
  moto = await startMotoServer();
  // moto has no ACME API: this answers one call in its wire format, AWS JSON 1.1.
  acm = await listen(async (request) => {
    const { AcmeExternalAccountBindingArn: binding } = JSON.parse(await read(request));
    acmCalls.push({ target: request.headers['x-amz-target'] as string, binding });
    return binding.startsWith(BINDING)
      ? [200, { KeyId: `key-of-${binding.slice(-1)}`, MacKey: MAC_KEY }]
      : [400, { __type: 'ResourceNotFoundException', message: 'no such binding' }];
  });
  cloudFormation = await startCloudFormationEnd();
  Object.assign(process.env, {
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL_ACM: urlOf(acm),
    AWS_ENDPOINT_URL_SECRETS_MANAGER: moto.url,
  });
}, 90_000);

afterAll(async () => {
  process.env = saved;
  acm?.close();
  cloudFormation?.stop();
  await moto?.stop();
});

beforeEach(async () => {
  cloudFormation.reset();
  acmCalls = [];
  logged = '';
  for (const method of ['log', 'info', 'warn', 'error'] as const) {
    jest.spyOn(console, method).mockImplementation((...parts) => void (logged += parts.join(' ')));
  }
  const { ARN } = await new SecretsManagerClient({}).send(
    new CreateSecretCommand({ Name: `eab-${++secrets}`, SecretString: 'empty' }),
  );
  secretArn = ARN ?? '';
});

afterEach(() => {
  jest.restoreAllMocks();
  expect(JSON.stringify(cloudFormation.answers)).not.toContain(MAC_KEY);
  expect(logged).not.toContain(MAC_KEY);
});

test('creation puts the credentials into the secret and answers with its ARN', async () => {
  await handler(event('Create', { binding: `${BINDING}1` }));
  expect(await secretValue()).toEqual({ keyId: 'key-of-1', macKey: MAC_KEY });
  expect(acmCalls).toEqual([
    { target: 'CertificateManager.GetAcmeExternalAccountBindingCredentials', binding: `${BINDING}1` },
  ]);
  expect(cloudFormation.answers).toEqual([
    {
      Status: 'SUCCESS',
      PhysicalResourceId: secretArn,
      StackId: 'stack',
      RequestId: expect.any(String),
      LogicalResourceId: 'Credentials',
      Data: {},
      // The signature of the URL does not cover one.
      contentType: '',
    },
  ]);
});

test('a request that CloudFormation repeats makes no second version', async () => {
  const request = event('Create', { binding: `${BINDING}1` });
  await handler(request);
  const before = await versions();
  await handler(request);
  expect(await versions()).toEqual(before);
  expect(cloudFormation.answers.map(({ Status }) => Status)).toEqual(['SUCCESS', 'SUCCESS']);
});

test('an update to a new binding replaces the credentials and keeps the physical id', async () => {
  await handler(event('Create', { binding: `${BINDING}1` }));
  await handler(event('Update', { binding: `${BINDING}2` }));
  expect(await secretValue()).toEqual({ keyId: 'key-of-2', macKey: MAC_KEY });
  expect(cloudFormation.answers.map(({ PhysicalResourceId }) => PhysicalResourceId)).toEqual([secretArn, secretArn]);
});

test.each(['whole', 'of a creation that failed'])(
  'deletion of a resource %s calls nothing and succeeds, twice',
  async () => {
    const request = event('Delete', { binding: '' });
    await handler(request);
    await handler(request);
    expect(acmCalls).toEqual([]);
    expect(cloudFormation.answers.map(({ Status, PhysicalResourceId }) => [Status, PhysicalResourceId])).toEqual([
      ['SUCCESS', secretArn],
      ['SUCCESS', secretArn],
    ]);
  },
);

test('fails when the binding is gone, and says so to CloudFormation', async () => {
  await handler(event('Create', { binding: 'arn:aws:acm:eu-central-1:111122223333:acme-endpoint/other' }));
  expect(cloudFormation.answers).toEqual([
    expect.objectContaining({
      Status: 'FAILED',
      PhysicalResourceId: 'Credentials',
      Reason: 'ResourceNotFoundException: no such binding',
    }),
  ]);
  expect(logged).toContain('no such binding');
});

test('fails when a property is missing', async () => {
  await handler(event('Create', { binding: '' }));
  expect(cloudFormation.answers).toEqual([
    expect.objectContaining({ Status: 'FAILED', Reason: 'Error: BindingArn must be an ARN, got ""' }),
  ]);
});

test('fails when the secret is gone, and keeps the physical id of an update', async () => {
  const known = secretArn;
  await handler({
    ...event('Update', { binding: `${BINDING}1` }),
    ResourceProperties: properties(`${BINDING}1`, 'gone'),
  });
  expect(cloudFormation.answers).toEqual([
    expect.objectContaining({ Status: 'FAILED', PhysicalResourceId: known, Reason: expect.stringMatching(/Resource/) }),
  ]);
});

test('fails when CloudFormation does not take the answer, so that Lambda runs it again', async () => {
  cloudFormation.status = 403;
  await expect(handler(event('Create', { binding: `${BINDING}1` }))).rejects.toThrow('HTTP 403');
});

let requests = 0;

function event(
  type: 'Create' | 'Update' | 'Delete',
  { binding }: { binding: string },
): CloudFormationCustomResourceEvent {
  return {
    RequestType: type,
    ServiceToken: 'function',
    ResponseURL: cloudFormation.url,
    StackId: 'stack',
    RequestId: `00000000-0000-4000-8000-${String(++requests).padStart(12, '0')}`,
    LogicalResourceId: 'Credentials',
    ResourceType: 'Custom::AcmeCredentials',
    ResourceProperties: properties(binding, secretArn),
    ...(type !== 'Create' && { PhysicalResourceId: secretArn }),
    ...(type === 'Update' && { OldResourceProperties: {} }),
  } as CloudFormationCustomResourceEvent;
}

function properties(binding: string, secret: string) {
  return { ServiceToken: 'function', BindingArn: binding, SecretArn: secret };
}

async function secretValue(): Promise<unknown> {
  const { SecretString } = await new SecretsManagerClient({}).send(new GetSecretValueCommand({ SecretId: secretArn }));
  return JSON.parse(SecretString ?? '');
}

async function versions(): Promise<string[]> {
  const { Versions } = await new SecretsManagerClient({}).send(
    new ListSecretVersionIdsCommand({ SecretId: secretArn, IncludeDeprecated: true }),
  );
  return (Versions ?? []).map((version) => version.VersionId ?? '').sort();
}

async function listen(answerTo: (request: IncomingMessage) => Promise<[number, unknown]>): Promise<Server> {
  const server = createServer(async (request, response) => {
    const [status, body] = await answerTo(request);
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
