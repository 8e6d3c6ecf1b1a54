import {
  DescribeSecretCommand,
  GetRandomPasswordCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
  UpdateSecretVersionStageCommand,
} from '@aws-sdk/client-secrets-manager';

/** What Secrets Manager sends for each step of a rotation, again after a failure, and in order. */
export interface RotationEvent {
  readonly Step: string;
  readonly SecretId: string;
  /** Id of the version that becomes the new one; the same in each step. */
  readonly ClientRequestToken: string;
}

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
  const { VersionIdsToStages = {} } = await client.send(new DescribeSecretCommand({ SecretId }));
  const current = Object.entries(VersionIdsToStages).find(([, stages]) => stages.includes('AWSCURRENT'))?.[0];
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
      await client.send(
        new UpdateSecretVersionStageCommand({
          ...{ SecretId, VersionStage: 'AWSCURRENT' },
          MoveToVersionId: ClientRequestToken,
          RemoveFromVersionId: current,
        }),
      );
      return;
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
