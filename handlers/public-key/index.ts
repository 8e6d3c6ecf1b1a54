import { GetPublicKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { answer } from '../support/custom-resource';

/**
 * Custom resource: the public half of a KMS key that signs, which CloudFormation has no attribute for, so that it can be part of
 * a deployment.
 *
 * Property: `KeyArn`, which is the physical id too. Attribute: `PublicKey`, SubjectPublicKeyInfo in DER, base64. On deletion
 * nothing is done.
 */
export async function handler(event: CloudFormationCustomResourceEvent): Promise<void> {
  await answer(event, async () => {
    if (event.RequestType === 'Delete') {
      return { physicalResourceId: event.PhysicalResourceId };
    }
    const keyArn: unknown = event.ResourceProperties.KeyArn;
    if (typeof keyArn !== 'string' || keyArn === '') {
      throw new Error(`KeyArn must be an ARN, got ${JSON.stringify(keyArn)}`);
    }
    const { PublicKey } = await new KMSClient({}).send(new GetPublicKeyCommand({ KeyId: keyArn }));
    return { physicalResourceId: keyArn, data: { PublicKey: Buffer.from(PublicKey!).toString('base64') } };
  });
}
