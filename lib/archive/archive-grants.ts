import { Grant, IGrantable, ManagedPolicy } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { acknowledge, findingId } from '../compliance';
import { throughS3 } from '../private/through-s3';

/** Allows actions on the objects of a folder, such as `journal/*`. */
export function readFolder(grantee: IGrantable, bucket: IBucket, folder: string, actions: string[]): Grant {
  const arn = bucket.arnForObjects(folder);
  if (grantee instanceof ManagedPolicy) {
    acknowledge(grantee, {
      id: findingId(grantee, 'AwsSolutions-IAM5', 'Resource', arn),
      reason:
        'Messages and batches get names that are not known before. The folder is the scope, the actions are listed one by ' +
        'one (test/operations/mail-operators.test.ts).',
    });
  }
  return Grant.addToPrincipal({ grantee, actions, resourceArns: [arn] });
}

/** Allows S3 to decrypt what the principal may read there. */
export function decryptByS3(grantee: IGrantable, key?: IKey): Grant {
  return useByS3(grantee, key, 'kms:Decrypt');
}

/** Allows S3 to use the key for the principal. */
export function useByS3(grantee: IGrantable, key: IKey | undefined, ...actions: string[]): Grant {
  if (!key) {
    return Grant.drop(grantee, 'the bucket tells of no key');
  }
  return Grant.addToPrincipal({
    grantee,
    actions,
    resourceArns: [key.keyArn],
    conditions: throughS3(key),
  });
}
