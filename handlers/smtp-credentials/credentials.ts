import {
  CreateAccessKeyCommand,
  DeleteAccessKeyCommand,
  IAMClient,
  ListAccessKeysCommand,
  NoSuchEntityException,
} from '@aws-sdk/client-iam';
import {
  GetSecretValueCommand,
  PutSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { smtpPassword } from './smtp-password';

/** What the secret holds: the id of an access key, and the SMTP password made from the key. */
export interface SmtpLogin {
  readonly username: string;
  readonly password: string;
}

/** Version of the secret, by its stage or its id. */
export type Version = { readonly VersionStage: string } | { readonly VersionId: string };

/** The SMTP login of one IAM user, kept in one secret. */
export class SmtpCredentials {
  private readonly iam = new IAMClient({});
  private readonly secrets = new SecretsManagerClient({});

  constructor(
    private readonly userName: string,
    private readonly secretArn: string,
    private readonly region: string,
  ) {}

  /** @returns the login in a version of the secret; nothing when there is no such version, or no login in it */
  public async read(version: Version): Promise<SmtpLogin | undefined> {
    try {
      const { SecretString } = await this.secrets.send(
        new GetSecretValueCommand({ SecretId: this.secretArn, ...version }),
      );
      return parseLogin(SecretString ?? '');
    } catch (error) {
      if (error instanceof ResourceNotFoundException) {
        return undefined;
      }
      throw error;
    }
  }

  /**
   * Makes a new access key and stores its login. Every other key but that of `keep` is deleted before: a user can have
   * two, and one that a run left behind when it was interrupted is known to nobody.
   */
  public async renew(
    keep: SmtpLogin | undefined,
    versionId: string,
    stage: 'AWSCURRENT' | 'AWSPENDING',
  ): Promise<void> {
    for (const keyId of await this.keyIds()) {
      if (keyId !== keep?.username) {
        await this.deleteKey(keyId);
      }
    }
    const { AccessKey: key } = await this.iam.send(new CreateAccessKeyCommand({ UserName: this.userName }));
    if (!key?.AccessKeyId || !key.SecretAccessKey) {
      throw new Error(`IAM gave no access key for ${this.userName}`);
    }
    const login: SmtpLogin = { username: key.AccessKeyId, password: smtpPassword(key.SecretAccessKey, this.region) };
    await this.secrets.send(
      new PutSecretValueCommand({
        SecretId: this.secretArn,
        SecretString: JSON.stringify(login),
        ClientRequestToken: versionId,
        VersionStages: [stage],
      }),
    );
  }

  /** @returns whether the login's access key is still there */
  public async isAlive({ username }: SmtpLogin): Promise<boolean> {
    return (await this.keyIds()).includes(username);
  }

  /** Deletes all keys: a user that has one can't be deleted. */
  public async deleteKeys(): Promise<void> {
    for (const keyId of await this.keyIds()) {
      await this.deleteKey(keyId);
    }
  }

  private async keyIds(): Promise<string[]> {
    try {
      // A user has two at most: one page.
      const { AccessKeyMetadata = [] } = await this.iam.send(new ListAccessKeysCommand({ UserName: this.userName }));
      return AccessKeyMetadata.map(({ AccessKeyId }) => AccessKeyId!);
    } catch (error) {
      if (error instanceof NoSuchEntityException) {
        return [];
      }
      throw error;
    }
  }

  private async deleteKey(keyId: string): Promise<void> {
    try {
      await this.iam.send(new DeleteAccessKeyCommand({ UserName: this.userName, AccessKeyId: keyId }));
    } catch (error) {
      // A repeated request: it is gone.
      if (!(error instanceof NoSuchEntityException)) {
        throw error;
      }
    }
  }
}

/** A new secret holds something random. */
function parseLogin(text: string): SmtpLogin | undefined {
  try {
    const { username, password } = JSON.parse(text);
    return typeof username === 'string' && typeof password === 'string' ? { username, password } : undefined;
  } catch {
    return undefined;
  }
}
