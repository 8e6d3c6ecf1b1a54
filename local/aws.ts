import { type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { openSync } from 'node:fs';
import * as path from 'node:path';
import { type CreateTableCommandInput, CreateTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import {
  CreateBucketCommand,
  type ObjectLockConfiguration,
  PutBucketVersioningCommand,
  PutObjectLockConfigurationCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { CreateSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { PutParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { PROJECT } from './paths';
import { bucketName, standInValue } from './plan';
import { run, start, waitFor } from './run';
import { PSEUDO, type Resource, type Template } from './template';

const PORT = 5000;

/** AWS APIs for nodes, agents and commands, served by moto. */
export class LocalAws {
  private process?: ChildProcess;

  /** File with a line of JSON for each item that was put into a table: `at`, milliseconds since 1970, and `item`. */
  public readonly tableLog: string;

  constructor(
    private readonly motoServer: string,
    private readonly folder: string,
  ) {
    this.tableLog = path.join(folder, 'tables.log');
  }

  /** URL for processes in the sandbox's own network. */
  public readonly endpoint = `http://127.0.0.1:${PORT}`;

  /** URL for nodes, given the address at which they see this machine. */
  public endpointFor(gateway: string): string {
    return `http://${gateway}:${PORT}`;
  }

  /** Environment for commands and SDK clients. */
  public get environment(): NodeJS.ProcessEnv {
    return {
      AWS_ENDPOINT_URL: this.endpoint,
      AWS_ENDPOINT_URL_S3: this.endpoint,
      AWS_ACCESS_KEY_ID: 'local',
      AWS_SECRET_ACCESS_KEY: 'local',
      AWS_REGION: PSEUDO['AWS::Region'],
      AWS_DEFAULT_REGION: PSEUDO['AWS::Region'],
      AWS_EC2_METADATA_DISABLED: 'true',
    };
  }

  /** Options for SDK clients. */
  public get client() {
    return {
      endpoint: this.endpoint,
      region: PSEUDO['AWS::Region'],
      credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
      forcePathStyle: true,
    };
  }

  public async start(): Promise<void> {
    const log = openSync(path.join(this.folder, 'moto.log'), 'a');
    this.process = start(this.motoServer, ['--host', '0.0.0.0', '--port', String(PORT)], log, {
      // See sitecustomize.py there.
      env: { ...process.env, PYTHONPATH: path.join(__dirname, 'moto'), DYNAMODB_LOG: this.tableLog },
    });
    await waitFor('moto_server', 30_000, async () => {
      if (this.process?.exitCode !== null) throw new Error(`it exited with ${this.process?.exitCode}`);
      return (await fetch(`${this.endpoint}/moto-api/`)).ok ? true : undefined;
    });
  }

  public stop(): void {
    this.process?.kill('SIGKILL');
  }

  /** Answers nobody until `resume`. */
  public stall(): void {
    this.process?.kill('SIGSTOP');
  }

  public resume(): void {
    this.process?.kill('SIGCONT');
  }

  /** Makes the buckets, tables and secrets of the template; `secrets` has values by logical id. */
  public async provide(template: Template, secrets: { readonly [logicalId: string]: string }): Promise<void> {
    const s3 = new S3Client(this.client);
    for (const [id, { Properties }] of template.ofType('AWS::S3::Bucket')) {
      const lock = Properties.ObjectLockConfiguration as ObjectLockConfiguration | undefined;
      const isLocked = lock?.Rule !== undefined;
      await s3.send(new CreateBucketCommand({ Bucket: bucketName(id), ObjectLockEnabledForBucket: isLocked }));
      if (isLocked) {
        const query = { Bucket: bucketName(id), ObjectLockConfiguration: lock };
        await s3.send(new PutObjectLockConfigurationCommand(query));
      }
      await s3.send(
        new PutBucketVersioningCommand({ Bucket: bucketName(id), VersioningConfiguration: { Status: 'Enabled' } }),
      );
    }
    const manager = new SecretsManagerClient(this.client);
    for (const [id, secret] of template.ofType('AWS::SecretsManager::Secret')) {
      await manager.send(new CreateSecretCommand({ Name: id, SecretString: secrets[id] ?? generatedSecret(secret) }));
    }
    for (const [id] of template.ofType('AWS::SQS::Queue')) {
      await this.askQueues('CreateQueue', { QueueName: id });
    }
    const dynamo = new DynamoDBClient(this.client);
    for (const [id, { Properties }] of template.ofType('AWS::DynamoDB::Table')) {
      const { AttributeDefinitions, KeySchema, BillingMode } = Properties as unknown as CreateTableCommandInput;
      await dynamo.send(
        new CreateTableCommand({
          TableName: standInValue(id, { Type: 'AWS::DynamoDB::Table', Properties }),
          AttributeDefinitions,
          KeySchema,
          BillingMode,
        }),
      );
    }
  }

  /** An action of SQS, in its query protocol, which needs no client of the SDK; moto looks at no signature. */
  public async askQueues(action: string, parameters: { readonly [name: string]: string }): Promise<string> {
    const scope = `${PSEUDO['AWS::Region']}/sqs/aws4_request`;
    const response = await fetch(this.endpoint, {
      method: 'POST',
      headers: {
        Authorization: `AWS4-HMAC-SHA256 Credential=local/20260101/${scope}, SignedHeaders=host, Signature=none`,
      },
      body: new URLSearchParams({ Action: action, Version: '2012-11-05', ...parameters }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${action}: ${text}`);
    return text;
  }

  /** Uploads the assembly's assets with the CDK's own command, to an account that counts as bootstrapped. */
  public async publish(assembly: string, stack: string): Promise<void> {
    const bucket = `cdk-hnb659fds-assets-${PSEUDO['AWS::AccountId']}-${PSEUDO['AWS::Region']}`;
    await new S3Client(this.client).send(new CreateBucketCommand({ Bucket: bucket }));
    await new SSMClient(this.client).send(
      new PutParameterCommand({ Name: '/cdk-bootstrap/hnb659fds/version', Value: '30', Type: 'String' }),
    );
    const cdk = path.join(PROJECT, 'node_modules', '.bin', 'cdk');
    await run(cdk, ['publish-assets', stack, '--unstable=publish-assets', '--app', assembly], {
      cwd: this.folder,
      env: { ...process.env, ...this.environment },
    });
  }
}

/** What CloudFormation would put into the secret; `{}` when something else fills it. */
function generatedSecret({ Properties }: Resource): string {
  const { SecretStringTemplate, GenerateStringKey, PasswordLength } = (Properties.GenerateSecretString ?? {}) as {
    SecretStringTemplate?: string;
    GenerateStringKey?: string;
    PasswordLength?: number;
  };
  if (GenerateStringKey === undefined) return '{}';
  const password = randomBytes(100)
    .toString('base64')
    .replace(/\W/g, '')
    .slice(0, PasswordLength ?? 32);
  return JSON.stringify({ ...JSON.parse(SecretStringTemplate ?? '{}'), [GenerateStringKey]: password });
}
