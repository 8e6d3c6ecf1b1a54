import { Duration } from 'aws-cdk-lib';
import { Bucket, BucketEncryption, IBucket, StorageClass } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { pinFlags } from '../private/pin-flags';
import { acknowledgeOneRegion, PRIVATE_BUCKET } from '../private/private-bucket';
import { inRegulatoryPacks } from '../private/rule-packs';

/** Properties of `AccessLogBucket`. */
export interface AccessLogBucketProps {
  /**
   * A bucket to use. It must be encrypted by S3's own keys (SSE-S3) and have no Object Lock default retention, or the
   * services that write logs are refused.
   * @default - a new one, kept when the stack is deleted
   */
  readonly bucket?: IBucket;

  /**
   * When logs move to Glacier Instant Retrieval; they are still read at once from there. Whole days.
   * @default Duration.days(180)
   */
  readonly archiveAfter?: Duration;

  /**
   * When logs are deleted. The default serves the longest of the retention profiles (ISO 27001 audits, 2 years).
   * Whole days, at least 90 more than `archiveAfter`, which is the shortest time that Glacier bills.
   * @default Duration.days(731)
   */
  readonly expireAfter?: Duration;
}

/**
 * The bucket that S3 server access logs and the balancer's access logs go to.
 *
 * Its objects are encrypted by S3's own keys: S3 server access logs can't be delivered to a bucket with a customer key
 * (https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html).
 *
 * @throws when `expireAfter` is less than 90 days later than `archiveAfter`
 */
export class AccessLogBucket extends Construct {
  /** Bucket of the logs. */
  public readonly bucket: IBucket;

  constructor(scope: Construct, id: string, props: AccessLogBucketProps = {}) {
    super(scope, id);
    // Without the flag S3 would be let in by an ACL, which this bucket does not have.
    pinFlags(this, '@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy');
    const archiveAfter = props.archiveAfter ?? Duration.days(180);
    const expireAfter = props.expireAfter ?? Duration.days(731);
    if (expireAfter.toDays() < archiveAfter.toDays() + 90) {
      throw new Error(
        `expireAfter must be >= archiveAfter + 90 days (${archiveAfter.toDays() + 90}), ` +
          `got ${expireAfter.toDays()} days; raise expireAfter`,
      );
    }
    this.bucket = props.bucket ?? this.createBucket(archiveAfter, expireAfter);
  }

  private createBucket(archiveAfter: Duration, expireAfter: Duration): Bucket {
    const bucket = new Bucket(this, 'Bucket', {
      ...PRIVATE_BUCKET,
      encryption: BucketEncryption.S3_MANAGED,
      lifecycleRules: [
        {
          id: 'expire-logs',
          transitions: [{ storageClass: StorageClass.GLACIER_INSTANT_RETRIEVAL, transitionAfter: archiveAfter }],
          expiration: expireAfter,
          noncurrentVersionExpiration: Duration.days(30),
          abortIncompleteMultipartUploadAfter: Duration.days(7),
        },
      ],
    });
    acknowledge(
      bucket,
      ...['AwsSolutions-S1', ...inRegulatoryPacks('S3BucketLoggingEnabled')].map((id) => ({
        id,
        reason:
          'This is the bucket that logs go to. Logging its own access into itself would log each log entry again ' +
          'without end, which the S3 user guide advises against.',
      })),
      ...inRegulatoryPacks('S3DefaultEncryptionKMS').map((id) => ({
        id,
        reason:
          'S3 server access logs can be delivered only to a bucket with SSE-S3. Objects are encrypted with AES-256, ' +
          'public access is blocked and TLS enforced (test/archive/access-log-bucket.test.ts).',
      })),
    );
    acknowledgeOneRegion(bucket, 'Access logs hold no mail (test/archive/access-log-bucket.test.ts).');
    return bucket;
  }
}
