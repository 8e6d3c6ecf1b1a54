import {
  GetRandomPasswordCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { makeCurrent, RotationEvent, versionWith } from '../support/secret-versions';

/** Letters and digits. */
const LENGTH = 48;

/**
 * Rotates a secret `{"password"}` that nobody has to be told of: whoever needs it reads the secret. No password is ever logged.
 *
 * @throws when a step can't be done; Secrets Manager repeats it, and the password in use stays
 * @see https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
 */
export async function handler({ Step, SecretId, ClientRequestToken }: RotationEvent): Promise<void> {
  const client = new SecretsManagerClient({});
  const current = await versionWith(client, SecretId, 'AWSCURRENT');
  if (current === ClientRequestToken) {
    return;
  }
  switch (Step) {
    case 'createSecret':
      return addPending(client, SecretId, ClientRequestToken);
    case 'setSecret':
    case 'testSecret':
      // Nodes take it when it is the current one.
      return;
    case 'finishSecret':
      return makeCurrent(client, SecretId, ClientRequestToken, current);
    default:
      throw new Error(`Step must be one of a rotation, got ${JSON.stringify(Step)}`);
  }
}

async function addPending(client: SecretsManagerClient, SecretId: string, version: string): Promise<void> {
  const pending = { SecretId, VersionId: version, VersionStage: 'AWSPENDING' };
  try {
    await client.send(new GetSecretValueCommand(pending));
    return; // made by an earlier attempt
  } catch (error) {
    if (!(error instanceof ResourceNotFoundException)) throw error;
  }
  const { RandomPassword } = await client.send(
    new GetRandomPasswordCommand({ PasswordLength: LENGTH, ExcludePunctuation: true }),
  );
  await client.send(
    new PutSecretValueCommand({
      ...{ SecretId, ClientRequestToken: version, VersionStages: ['AWSPENDING'] },
      SecretString: JSON.stringify({ password: RandomPassword }),
    }),
  );
}
