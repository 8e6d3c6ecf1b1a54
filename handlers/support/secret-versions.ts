import {
  DescribeSecretCommand,
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

/** The version of a secret that has a label, such as `AWSCURRENT`; nothing when none has. */
export async function versionWith(
  client: SecretsManagerClient,
  secretId: string,
  stage: string,
): Promise<string | undefined> {
  const { VersionIdsToStages } = await client.send(new DescribeSecretCommand({ SecretId: secretId }));
  return Object.entries(VersionIdsToStages ?? {}).find(([, stages]) => stages.includes(stage))?.[0];
}

/** Makes a version the one in use, in place of `former`, which becomes `AWSPREVIOUS` by this. */
export async function makeCurrent(
  client: SecretsManagerClient,
  secretId: string,
  version: string,
  former: string | undefined,
): Promise<void> {
  await client.send(
    new UpdateSecretVersionStageCommand({
      SecretId: secretId,
      VersionStage: 'AWSCURRENT',
      MoveToVersionId: version,
      RemoveFromVersionId: former,
    }),
  );
}
