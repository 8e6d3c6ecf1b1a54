import { type ChildProcess } from 'node:child_process';
import { openSync } from 'node:fs';
import * as path from 'node:path';
import { CreateBucketCommand, PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3';
import { CreateSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { PutParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { PROJECT } from './paths';
import { bucketName } from './plan';
import { run, start, waitFor } from './run';
import { PSEUDO, type Template } from './template';

const PORT = 5000;

/** AWS APIs for nodes, agents and commands, served by moto. */
export class LocalAws {
  private process?: ChildProcess;

  constructor(
    private readonly motoServer: string,
    private readonly folder: string,
  ) {}

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
    this.process = start(this.motoServer, ['--host', '0.0.0.0', '--port', String(PORT)], log);
    await waitFor('moto_server', 30_000, async () => {
      if (this.process?.exitCode !== null) throw new Error(`it exited with ${this.process?.exitCode}`);
      return (await fetch(`${this.endpoint}/moto-api/`)).ok ? true : undefined;
    });
  }

  public stop(): void {
    this.process?.kill('SIGKILL');
  }

  /** Makes the buckets and secrets of the template; `secrets` has the values by logical id. */
  public async provide(template: Template, secrets: { readonly [logicalId: string]: string }): Promise<void> {
    const s3 = new S3Client(this.client);
    for (const [id] of template.ofType('AWS::S3::Bucket')) {
      await s3.send(new CreateBucketCommand({ Bucket: bucketName(id) }));
      await s3.send(
        new PutBucketVersioningCommand({ Bucket: bucketName(id), VersioningConfiguration: { Status: 'Enabled' } }),
      );
    }
    const manager = new SecretsManagerClient(this.client);
    for (const [id] of template.ofType('AWS::SecretsManager::Secret')) {
      await manager.send(new CreateSecretCommand({ Name: id, SecretString: secrets[id] ?? '{}' }));
    }
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
