import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { buildSync } from 'esbuild';
import { type CloudFormationEnd, startCloudFormationEnd } from '../support/cloudformation';
import { type MotoServer, startMotoServer } from '../support/moto-server';
import { MIGRATIONS, postgresPrograms } from '../../local/postgres';
import { PostgresServer } from '../support/postgres';

const installed = postgresPrograms() && spawnSync('moto_server', ['--version']).error === undefined;
const describeWithBoth = installed ? describe : describe.skip;
if (!installed) {
  console.warn('PostgreSQL or moto_server is not installed: the handler that makes the schema was not tested');
}

describeWithBoth('the custom resource that makes the schema', () => {
  let folder: string;
  let database: PostgresServer;
  let moto: MotoServer;
  let cloudFormation: CloudFormationEnd;
  let handler: (event: CloudFormationCustomResourceEvent) => Promise<void>;

  beforeAll(async () => {
    // As the package ships it: one file, and the migrations beside it.
    folder = mkdtempSync(join(tmpdir(), 'directory-schema-'));
    buildSync({
      entryPoints: [join(__dirname, '../../handlers/directory-schema/index.ts')],
      outfile: join(folder, 'index.js'),
      bundle: true,
      platform: 'node',
    });
    cpSync(MIGRATIONS, join(folder, 'migrations'), { recursive: true });
    [database, moto, cloudFormation] = await Promise.all([
      PostgresServer.start(),
      startMotoServer(),
      startCloudFormationEnd(),
    ]);
    const { endpoint, region, credentials } = moto.clientOptions;
    Object.assign(process.env, {
      AWS_ENDPOINT_URL: endpoint,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      NODE_EXTRA_CA_CERTS: database.certificate,
    });
    const SecretString = JSON.stringify({ username: 'owner', password: 'of-the-owner' });
    await new SecretsManagerClient(moto.clientOptions).send(new CreateSecretCommand({ Name: 'owner', SecretString }));
    await database.asOwner((client) => client.query('CREATE DATABASE mail'), 'postgres');
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    handler = require(join(folder, 'index.js')).handler;
  }, 60_000);

  afterAll(async () => {
    cloudFormation?.stop();
    await Promise.all([database?.stop(), moto?.stop()]);
    rmSync(folder, { recursive: true });
  });

  const send = async (RequestType: 'Create' | 'Update' | 'Delete', properties: object = {}) => {
    cloudFormation.reset();
    await handler({
      RequestType,
      ResponseURL: cloudFormation.url,
      StackId: 'stack',
      RequestId: 'request',
      LogicalResourceId: 'Schema',
      ...(RequestType === 'Create' ? {} : { PhysicalResourceId: 'localhost/mail' }),
      ResourceProperties: {
        ServiceToken: 'function',
        Host: 'localhost',
        Port: `${database.port}`,
        Database: 'mail',
        SecretArn: 'owner',
        Domains: ['example.com'],
        ...properties,
      },
    } as unknown as CloudFormationCustomResourceEvent);
    return cloudFormation.answers[0];
  };
  const domains = () =>
    database.asOwner(
      async (client) => (await client.query('SELECT name, enabled FROM mail.domains ORDER BY name')).rows,
      'mail',
    );

  test('makes it, adds domains later, leaves what is there, and stays when the stack goes', async () => {
    expect(await send('Create')).toMatchObject({ Status: 'SUCCESS', PhysicalResourceId: 'localhost/mail' });
    expect(await domains()).toEqual([{ name: 'example.com', enabled: true }]);
    await database.asOwner((client) => client.query('UPDATE mail.domains SET enabled = false'), 'mail');
    const more = { Domains: ['example.com', 'example.org'] };
    expect(await send('Update', more)).toMatchObject({ Status: 'SUCCESS', PhysicalResourceId: 'localhost/mail' });
    expect(await send('Delete')).toMatchObject({ Status: 'SUCCESS' });
    expect(await domains()).toEqual([
      { name: 'example.com', enabled: false },
      { name: 'example.org', enabled: true },
    ]);
  });

  test('fails when the certificate is not that of the host, and tells no password', async () => {
    const answer = await send('Create', { Host: '127.0.0.1' });
    // Its reason is lost on the way out of jest, where errors of TLS are of another kind.
    expect(answer).toMatchObject({ Status: 'FAILED' });
    expect(JSON.stringify(answer)).not.toContain('of-the-owner');
  });

  test('fails when there is no such database', async () => {
    expect(await send('Create', { Database: 'other' })).toMatchObject({
      Status: 'FAILED',
      Reason: expect.stringContaining('database "other" does not exist'),
    });
  });
});
