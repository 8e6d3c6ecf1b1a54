import { Duration } from 'aws-cdk-lib';
import { Grant, IGrantable } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Bucket, IBucket, LifecycleRule, StorageClass, Transition } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import {
  acknowledgeOneRegion,
  createBucketKey,
  encryptedWith,
  loggedIn,
  PRIVATE_BUCKET,
} from '../private/private-bucket';
import { pinFlags } from '../private/pin-flags';
import { readFolder } from './archive-grants';
import { ArchiveLock } from './archive-lock';

/** Shortest times that a class bills, days. */
const GLACIER_DAYS = 90;
const DEEP_ARCHIVE_DAYS = 180;

/** When archived objects move to colder classes. S3 moves objects of 128 KB and more; smaller ones cost less where they are. */
export interface ArchiveTiers {
  /**
   * When objects move to Glacier Instant Retrieval (read in milliseconds). Whole days.
   * @default Duration.days(90), never when the journal is deleted less than 90 days later
   */
  readonly glacierAfter?: Duration;

  /**
   * When objects move on to Glacier Deep Archive (restored within 12 to 48 hours). Whole days, at least 90 more than
   * `glacierAfter`, the shortest time that Glacier bills.
   * @default Duration.days(365), never when the journal is deleted less than 180 days later
   */
  readonly deepArchiveAfter?: Duration;
}

/** Properties of `MailArchive`. */
export interface MailArchiveProps extends ArchiveTiers {
  /**
   * A bucket to use; the settings below then do not apply.
   * @default - a new one, kept when the stack is deleted
   */
  readonly bucket?: IBucket;

  /**
   * Name of a new bucket. One that an archive in another region is copied to needs a name that is known before.
   * @default - CloudFormation's
   */
  readonly bucketName?: string;

  /**
   * Key for objects at rest.
   * @default - a new key with yearly rotation, kept when the stack is deleted
   */
  readonly encryptionKey?: IKey;

  /**
   * Whether archived objects can be deleted. Can be made stricter later; locked objects stay locked.
   * @default ArchiveLock.none()
   */
  readonly objectLock?: ArchiveLock;

  /**
   * When mail below `journal/` and `packs/` is deleted, with all its versions. Whole days.
   * @default - never
   */
  readonly journalExpireAfter?: Duration;

  /**
   * Bucket for S3 server access logs; see `AccessLogBucket`.
   * @default - access is not logged
   */
  readonly accessLogsBucket?: IBucket;
}

/**
 * Long-term copies of mail: an S3 bucket that is versioned, encrypted with a customer key, reached by TLS only, locked
 * if asked, and moved to Glacier classes by age. It never holds the only copy of live mail.
 *
 * @throws when `deepArchiveAfter` is less than 90 days later than `glacierAfter`, or `journalExpireAfter` is earlier than
 *   the class that mail was asked to move to bills
 */
export class MailArchive extends Construct {
  /** Bucket of archived mail. */
  public readonly bucket: IBucket;

  /** Key of the bucket; nothing when an imported bucket does not tell. */
  public readonly encryptionKey?: IKey;

  constructor(scope: Construct, id: string, props: MailArchiveProps = {}) {
    super(scope, id);
    pinFlags(this, '@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy');
    if (props.bucket) {
      this.bucket = props.bucket;
      this.encryptionKey = props.bucket.encryptionKey;
    } else {
      this.encryptionKey = props.encryptionKey ?? createBucketKey(this, 'Key', 'Mail archive');
      this.bucket = this.createBucket(this.encryptionKey, transitions(props), props);
    }
  }

  /** Lets a principal add objects; not read, overwrite by name, or delete. */
  public grantPut(grantee: IGrantable): Grant {
    return this.bucket.grantPut(grantee);
  }

  /** Lets a principal read objects. */
  public grantRead(grantee: IGrantable): Grant {
    return this.bucket.grantRead(grantee);
  }

  /** Lets a principal see names, sizes, times, versions and locks of objects, and how the bucket is set; no content. */
  public grantReadMetadata(grantee: IGrantable): Grant {
    const locks = ['s3:GetObjectLegalHold', 's3:GetObjectRetention'];
    return Grant.addToPrincipal({
      grantee,
      actions: [
        's3:GetBucketLogging',
        's3:GetBucketObjectLockConfiguration',
        's3:GetBucketPolicy',
        's3:GetBucketVersioning',
        's3:GetEncryptionConfiguration',
        's3:GetLifecycleConfiguration',
        's3:ListBucket',
        's3:ListBucketVersions',
      ],
      resourceArns: [this.bucket.bucketArn],
    })
      .combine(readFolder(grantee, this.bucket, 'journal/*', locks))
      .combine(readFolder(grantee, this.bucket, 'packs/*', locks))
      .combine(readFolder(grantee, this.bucket, 'evidence/*', locks));
  }

  private createBucket(key: IKey, colder: Transition[], props: MailArchiveProps): Bucket {
    const bucket = new Bucket(this, 'Bucket', {
      ...PRIVATE_BUCKET,
      ...encryptedWith(key),
      bucketName: props.bucketName,
      // On from the start, so that a retention can be set later on the same bucket.
      objectLockEnabled: true,
      objectLockDefaultRetention: props.objectLock?.defaultRetention,
      ...loggedIn(props.accessLogsBucket, 'archive'),
      lifecycleRules: [
        {
          id: 'to-glacier',
          transitions: colder,
          abortIncompleteMultipartUploadAfter: Duration.days(7),
        },
        ...(props.journalExpireAfter ? expireJournal(props.journalExpireAfter) : []),
        {
          // What nodes told of people who were erased stands in the proofs.
          id: 'expire-erasure-reports',
          prefix: 'erasure/',
          expiration: Duration.days(90),
          noncurrentVersionExpiration: Duration.days(1),
        },
      ],
    });
    acknowledgeOneRegion(bucket, 'Archived mail is versioned (test/archive/mail-archive.test.ts).');
    return bucket;
  }
}

/** Classes that objects move to, without those that mail would leave before the shortest time that they bill. */
function transitions(props: MailArchiveProps): Transition[] {
  const glacierAfter = props.glacierAfter ?? Duration.days(90);
  const deepArchiveAfter = props.deepArchiveAfter ?? Duration.days(365);
  if (deepArchiveAfter.toDays() < glacierAfter.toDays() + GLACIER_DAYS) {
    throw new Error(
      `deepArchiveAfter must be >= glacierAfter + 90 days (${glacierAfter.toDays() + GLACIER_DAYS}), ` +
        `got ${deepArchiveAfter.toDays()} days; raise deepArchiveAfter`,
    );
  }
  return [
    ...transition('glacierAfter', StorageClass.GLACIER_INSTANT_RETRIEVAL, glacierAfter, GLACIER_DAYS, props),
    ...transition('deepArchiveAfter', StorageClass.DEEP_ARCHIVE, deepArchiveAfter, DEEP_ARCHIVE_DAYS, props),
  ];
}

function transition(
  name: 'glacierAfter' | 'deepArchiveAfter',
  storageClass: StorageClass,
  transitionAfter: Duration,
  billedDays: number,
  props: MailArchiveProps,
): Transition[] {
  const kept = props.journalExpireAfter?.toDays() ?? Infinity;
  if (transitionAfter.toDays() + billedDays <= kept) {
    return [{ storageClass, transitionAfter }];
  }
  if (props[name]) {
    throw new Error(
      `${name} must be ${billedDays} days or more, which the class bills, before mail is deleted (${kept} days), ` +
        `got ${transitionAfter.toDays()} days; lower ${name} or leave it out`,
    );
  }
  return [];
}

/** Evidence of the journal, in the same bucket, stays. What is in a pack is a day older than the pack. */
function expireJournal(after: Duration): LifecycleRule[] {
  const noncurrentVersionExpiration = Duration.days(1);
  const expiration = Duration.days(Math.max(1, after.toDays() - 1));
  return [
    { id: 'expire-journal', prefix: 'journal/', expiration: after, noncurrentVersionExpiration },
    { id: 'expire-packs', prefix: 'packs/', expiration, noncurrentVersionExpiration },
  ];
}
