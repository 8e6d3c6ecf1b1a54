import {
  DescribeSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { makeCurrent, versionWith } from '../support/secret-versions';

/** What the secret holds, as JSON. */
export interface SigningKey {
  /** Selector that verifies, such as `mail1`. */
  readonly selector: string;
  /** PKCS #8 in PEM. */
  readonly privateKey: string;
  /** ISO 8601. */
  readonly createdAt: string;
}

/** Labels of versions. */
export enum Stage {
  CURRENT = 'AWSCURRENT',
  PENDING = 'AWSPENDING',
  PREVIOUS = 'AWSPREVIOUS',
}

/** The secret with the DKIM key. No value of it is ever logged. */
export class DkimSecret {
  private readonly client = new SecretsManagerClient({});

  constructor(private readonly secretId: string) {}

  /**
   * The key of a version; nothing when there is no such version, or when it is the placeholder of a new secret.
   *
   * @param version if given, the one that must have the label
   */
  public async read(stage: Stage, version?: string): Promise<SigningKey | undefined> {
    try {
      const { SecretString } = await this.client.send(
        new GetSecretValueCommand({ SecretId: this.secretId, VersionStage: stage, VersionId: version }),
      );
      const value = JSON.parse(SecretString ?? '{}') as Partial<SigningKey>;
      return value.selector && value.privateKey && value.createdAt ? (value as SigningKey) : undefined;
    } catch (error) {
      if (error instanceof ResourceNotFoundException && !(await this.isGone())) {
        return undefined;
      }
      throw error;
    }
  }

  public async isCurrent(version: string): Promise<boolean> {
    return (await this.current()) === version;
  }

  public async addPending(version: string, key: SigningKey): Promise<void> {
    await this.client.send(
      new PutSecretValueCommand({
        SecretId: this.secretId,
        ClientRequestToken: version,
        SecretString: JSON.stringify(key),
        VersionStages: [Stage.PENDING],
      }),
    );
  }

  public async makeCurrent(version: string): Promise<void> {
    await makeCurrent(this.client, this.secretId, version, await this.current());
  }

  private current(): Promise<string | undefined> {
    return versionWith(this.client, this.secretId, Stage.CURRENT);
  }

  /** The same error tells of a version and of the whole secret. */
  private async isGone(): Promise<boolean> {
    return this.client.send(new DescribeSecretCommand({ SecretId: this.secretId })).then(
      () => false,
      () => true,
    );
  }
}
