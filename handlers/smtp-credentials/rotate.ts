import { DescribeSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { SecretsManagerRotationEvent } from 'aws-lambda';
import { createTransport } from 'nodemailer';
import { makeCurrent } from '../support/secret-versions';
import { SmtpCredentials, SmtpLogin } from './credentials';

/** IAM takes some seconds to tell all of AWS about a new key. */
const LOGIN_ATTEMPTS = 10;
const LOGIN_PAUSE_MILLISECONDS = 5000;

/**
 * One of the four steps of a rotation. A new key is made beside the one in use, tried at the SMTP endpoint, and only then
 * given out. The former one goes with the next rotation, so nodes have that long to fetch the new one.
 *
 * @throws when the secret has no such version, or the new login is not accepted; the one in use stays
 * @see https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotating-secrets-lambda-function-overview.html
 */
export async function rotate(
  { Step: step, SecretId: secretId, ClientRequestToken: version }: SecretsManagerRotationEvent,
  credentials: SmtpCredentials,
  smtpHost: string,
  pause = LOGIN_PAUSE_MILLISECONDS,
): Promise<void> {
  const secrets = new SecretsManagerClient({});
  const { VersionIdsToStages: stages = {} } = await secrets.send(new DescribeSecretCommand({ SecretId: secretId }));
  if (stages[version]?.includes('AWSCURRENT')) {
    return;
  }
  if (!stages[version]?.includes('AWSPENDING')) {
    throw new Error(`version ${version} is not pending in ${secretId}`);
  }
  switch (step) {
    case 'createSecret':
      if (!(await credentials.read({ VersionId: version }))) {
        await credentials.renew(await credentials.read({ VersionStage: 'AWSCURRENT' }), version, 'AWSPENDING');
      }
      return;
    case 'setSecret':
      // IAM knows the key since it made it.
      return;
    case 'testSecret':
      return tryLogin(smtpHost, await credentials.read({ VersionId: version }), pause);
    case 'finishSecret': {
      const current = Object.keys(stages).find((id) => stages[id].includes('AWSCURRENT'));
      return makeCurrent(secrets, secretId, version, current);
    }
    default:
      throw new Error(`unknown step ${step}`);
  }
}

async function tryLogin(host: string, login: SmtpLogin | undefined, pause: number): Promise<void> {
  if (!login) {
    throw new Error('the pending version of the secret has no login');
  }
  for (let attempt = 1; ; attempt++) {
    const transport = createTransport({
      host,
      port: 587,
      requireTLS: true,
      connectionTimeout: 10_000,
      auth: { user: login.username, pass: login.password },
    });
    try {
      await transport.verify();
      return;
    } catch (error) {
      if (attempt === LOGIN_ATTEMPTS) {
        throw new Error(`${host} does not accept the new login: ${(error as Error).message}`);
      }
    } finally {
      transport.close();
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
