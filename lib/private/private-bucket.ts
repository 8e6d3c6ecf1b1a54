import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import { IKey, Key } from 'aws-cdk-lib/aws-kms';
import {
  BlockPublicAccess,
  Bucket,
  BucketEncryption,
  BucketProps,
  IBucket,
  LifecycleRule,
  ObjectOwnership,
} from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { inRegulatoryPacks } from './rule-packs';

/** What every bucket of the mail system has: nothing public, TLS only, each version kept, and the bucket itself too. */
export const PRIVATE_BUCKET: BucketProps = {
  blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
  objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
  enforceSSL: true,
  minimumTLSVersion: 1.2,
  versioned: true,
  removalPolicy: RemovalPolicy.RETAIN,
};

/** For a bucket whose objects are written anew: what was before can be had for 90 days. */
export const OLD_VERSIONS: LifecycleRule = {
  id: 'expire-old-versions',
  noncurrentVersionExpiration: Duration.days(90),
  abortIncompleteMultipartUploadAfter: Duration.days(7),
};

/** Server access logs in a folder of that bucket; none without one. */
export function loggedIn(accessLogsBucket: IBucket | undefined, folder: string): BucketProps {
  return accessLogsBucket ? { serverAccessLogsBucket: accessLogsBucket, serverAccessLogsPrefix: `${folder}/` } : {};
}

/** A key for a bucket that has none from its owner: it turns each year, and stays as the bucket does. */
export function createBucketKey(scope: Construct, id: string, description: string): Key {
  return new Key(scope, id, { description, enableKeyRotation: true, removalPolicy: RemovalPolicy.RETAIN });
}

/** Encryption with a customer key, which S3 asks for once in a while and not for each object. */
export function encryptedWith(encryptionKey: IKey): BucketProps {
  return { encryption: BucketEncryption.KMS, encryptionKey, bucketKeyEnabled: true };
}

/**
 * Acknowledges that a bucket has no copy in a second region.
 *
 * @param what is in the bucket, why one region is enough for it, and where that is tested
 */
export function acknowledgeOneRegion(bucket: Bucket, what: string): void {
  acknowledge(
    bucket,
    ...inRegulatoryPacks('S3BucketReplicationEnabled').map((id) => ({
      id,
      reason:
        `S3 stores this bucket in three or more zones of the region. ${what} A copy in a second region is the owner's ` +
        'choice of disaster recovery, not a default: law may forbid that mail leaves the region.',
    })),
  );
}
