import { RemovalPolicy } from 'aws-cdk-lib';
import { BlockPublicAccess, BucketProps, ObjectOwnership } from 'aws-cdk-lib/aws-s3';

/** What every bucket of the mail system has: nothing public, TLS only, each version kept, and the bucket itself too. */
export const PRIVATE_BUCKET: BucketProps = {
  blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
  objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
  enforceSSL: true,
  minimumTLSVersion: 1.2,
  versioned: true,
  removalPolicy: RemovalPolicy.RETAIN,
};
