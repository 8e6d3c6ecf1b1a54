import { ACMClient, GetAcmeExternalAccountBindingCredentialsCommand } from '@aws-sdk/client-acm';
import { PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { answer } from '../support/custom-resource';

/**
 * Custom resource: copies the credentials of an external account binding (RFC 8555, 7.3.4) of an ACM ACME endpoint to a
 * secret, as `{"keyId": …, "macKey": …}`. CloudFormation has no attribute for them, and rightly so.
 *
 * Properties: `BindingArn`, `SecretArn`. The physical id is the secret's ARN. On deletion nothing is done: the secret
 * and the binding are resources of the stack and go by themselves.
 */
export async function handler(event: CloudFormationCustomResourceEvent): Promise<void> {
  await answer(event, async () => {
    if (event.RequestType === 'Delete') {
      return { physicalResourceId: event.PhysicalResourceId };
    }
    const secretArn = property(event, 'SecretArn');
    await copyCredentials(property(event, 'BindingArn'), secretArn, event.RequestId);
    return { physicalResourceId: secretArn };
  });
}

async function copyCredentials(bindingArn: string, secretArn: string, requestId: string): Promise<void> {
  const { KeyId: keyId, MacKey: macKey } = await new ACMClient({}).send(
    new GetAcmeExternalAccountBindingCredentialsCommand({ AcmeExternalAccountBindingArn: bindingArn }),
  );
  if (!keyId || !macKey) {
    throw new Error(`ACM gave no credentials for ${bindingArn}`);
  }
  await new SecretsManagerClient({}).send(
    new PutSecretValueCommand({
      SecretId: secretArn,
      SecretString: JSON.stringify({ keyId, macKey }),
      // The same token makes the same version: a request that CloudFormation repeats adds none.
      ClientRequestToken: requestId,
    }),
  );
}

function property(event: CloudFormationCustomResourceEvent, name: string): string {
  const value: unknown = event.ResourceProperties[name];
  if (typeof value !== 'string' || value === '') {
    throw new Error(`${name} must be an ARN, got ${JSON.stringify(value)}`);
  }
  return value;
}
