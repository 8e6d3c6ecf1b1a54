import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IBucket } from 'aws-cdk-lib/aws-s3';

/** For whoever reads objects: without it S3 answers 403 for one that is not there yet, which looks like a broken permission. */
export function tellMissing(sid: string, bucket: IBucket): PolicyStatement {
  return new PolicyStatement({ sid, actions: ['s3:ListBucket'], resources: [bucket.bucketArn] });
}

/** Lists what is below these prefixes, such as `journal/*`, with its versions; for whoever reads there, as `tellMissing`. */
export function listFolders(sid: string, bucket: IBucket, prefixes: string[]): PolicyStatement {
  return new PolicyStatement({
    sid,
    actions: ['s3:ListBucket', 's3:ListBucketVersions'],
    resources: [bucket.bucketArn],
    // IfExists: a read names no prefix.
    conditions: { StringLikeIfExists: { 's3:prefix': prefixes } },
  });
}
