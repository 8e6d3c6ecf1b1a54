import type { CloudFormationCustomResourceEvent, SecretsManagerRotationEvent } from 'aws-lambda';
import { answer } from '../support/custom-resource';
import { text } from '../support/environment';
import { SmtpCredentials } from './credentials';
import { rotate } from './rotate';

/**
 * Keeps the SMTP login of an IAM user in a secret, as `{"username": …, "password": …}`: fills it when the stack is made,
 * renews it when Secrets Manager rotates, and deletes the user's keys when the stack goes.
 *
 * Environment: `SMTP_USER` (IAM user), `SMTP_SECRET` (ARN), `SMTP_HOST`, `AWS_REGION`.
 */
export async function handler(event: CloudFormationCustomResourceEvent | SecretsManagerRotationEvent): Promise<void> {
  const secretArn = text('SMTP_SECRET');
  const credentials = new SmtpCredentials(text('SMTP_USER'), secretArn, text('AWS_REGION'));
  if ('Step' in event) {
    await rotate(event, credentials, text('SMTP_HOST'));
    return;
  }
  await answer(event, async () => {
    if (event.RequestType === 'Delete') {
      await credentials.deleteKeys();
      return { physicalResourceId: event.PhysicalResourceId };
    }
    const current = await credentials.read({ VersionStage: 'AWSCURRENT' });
    if (!current || !(await credentials.isAlive(current))) {
      await credentials.renew(undefined, event.RequestId, 'AWSCURRENT');
    }
    return { physicalResourceId: secretArn };
  });
}
