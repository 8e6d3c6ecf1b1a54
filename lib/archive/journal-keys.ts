import { Grant, IGrantable, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Bucket, IBucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { Acknowledgement, findingId } from '../compliance';
import { tellMissing } from '../private/list-bucket';
import { pinFlags } from '../private/pin-flags';
import {
  acknowledgeOneRegion,
  createBucketKey,
  encryptedWith,
  loggedIn,
  PRIVATE_BUCKET,
} from '../private/private-bucket';
import { throughS3 } from '../private/through-s3';
import { decryptByS3, readFolder } from './archive-grants';

/** Public halves, which are no secret, and private ones. */
const FOLDERS = ['public/*', 'private/*'];

/** Properties of `JournalKeys`. */
export interface JournalKeysProps {
  /**
   * Key of the private halves at rest. Nodes need no right to decrypt with it.
   * @default - a new key with yearly rotation, kept when the stack is deleted; 1 USD a month
   */
  readonly encryptionKey?: IKey;

  /**
   * Bucket for S3 server access logs; see `AccessLogBucket`.
   * @default - access is not logged
   */
  readonly accessLogsBucket?: IBucket;
}

/**
 * Keys that open a sealed journal, a pair for each address of ours that mail came from or went to, in a bucket of their own
 * (docs/journal.md, "A sealed journal").
 *
 * Nodes make pairs, and read public halves. They can't read a private half, replace a pair or delete one. Deleting all versions of a pair
 * is for good: keep the bucket out of backups, replication and Object Lock.
 */
export class JournalKeys extends Construct {
  public readonly bucket: Bucket;

  /** Key of the private halves at rest. */
  public readonly encryptionKey: IKey;

  constructor(scope: Construct, id: string, props: JournalKeysProps = {}) {
    super(scope, id);
    pinFlags(this, '@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy');
    this.encryptionKey = props.encryptionKey ?? createBucketKey(this, 'Key', 'Keys of the sealed mail journal');
    this.bucket = new Bucket(this, 'Bucket', {
      ...PRIVATE_BUCKET,
      ...encryptedWith(this.encryptionKey),
      ...loggedIn(props.accessLogsBucket, 'journal-keys'),
    });
    acknowledgeOneRegion(
      this.bucket,
      'Replication does not copy the deletion of versions, so a copy would open what was erased (test/archive/journal-keys.test.ts).',
    );
  }

  /** What nodes need to seal. */
  public get nodeStatements(): PolicyStatement[] {
    return [
      new PolicyStatement({
        sid: 'MakeJournalKeys',
        actions: ['s3:PutObject'],
        resources: FOLDERS.map((folder) => this.bucket.arnForObjects(folder)),
        // Never over what is there, whatever a node does.
        conditions: { Null: { 's3:if-none-match': 'false' } },
      }),
      new PolicyStatement({
        sid: 'ReadPublicHalves',
        actions: ['s3:GetObject'],
        resources: [this.bucket.arnForObjects('public/*')],
      }),
      tellMissing('SeeThatThereIsNoKey', this.bucket),
      new PolicyStatement({
        sid: 'EncryptPrivateHalves',
        actions: ['kms:GenerateDataKey'],
        resources: [this.encryptionKey.keyArn],
        conditions: throughS3(this),
      }),
    ];
  }

  /** Findings that `nodeStatements` cause. */
  public get nodeAcknowledgements(): Acknowledgement[] {
    return FOLDERS.map((folder) => ({
      id: findingId(this, 'AwsSolutions-IAM5', 'Resource', this.bucket.arnForObjects(folder)),
      reason:
        'Keys have the names of addresses that are not known before. The folder is the scope; nodes may add to both, and read public ' +
        'halves (test/archive/journal-keys.test.ts).',
    }));
  }

  /** Lets a principal open sealed messages. */
  public grantOpen(grantee: IGrantable): Grant {
    return Grant.addToPrincipal({ grantee, actions: ['s3:ListBucket'], resourceArns: [this.bucket.bucketArn] })
      .combine(readFolder(grantee, this.bucket, 'private/*', ['s3:GetObject']))
      .combine(decryptByS3(grantee, this.encryptionKey));
  }

  /** Lets a principal destroy keys, with `mail-erase`; not open anything. */
  public grantDestroy(grantee: IGrantable): Grant {
    return Grant.addToPrincipal({ grantee, actions: ['s3:ListBucketVersions'], resourceArns: [this.bucket.bucketArn] })
      .combine(readFolder(grantee, this.bucket, 'public/*', ['s3:DeleteObjectVersion']))
      .combine(readFolder(grantee, this.bucket, 'private/*', ['s3:DeleteObjectVersion']));
  }
}
