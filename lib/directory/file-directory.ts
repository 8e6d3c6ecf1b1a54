import { Token } from 'aws-cdk-lib';
import { Grant, IGrantable, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Bucket, IBucket } from 'aws-cdk-lib/aws-s3';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { NodeConfiguration } from '../node/node-configuration';
import { tellMissing } from '../private/list-bucket';
import { pinFlags } from '../private/pin-flags';
import {
  acknowledgeOneRegion,
  createBucketKey,
  encryptedWith,
  loggedIn,
  OLD_VERSIONS,
  PRIVATE_BUCKET,
} from '../private/private-bucket';
import { throughS3 } from '../private/through-s3';
import { IMailDirectory } from './mail-directory';

/** Properties of `FileDirectory`. */
export interface FileDirectoryProps {
  /**
   * A bucket to use.
   * @default - a new one, kept when the stack is deleted
   */
  readonly bucket?: IBucket;

  /**
   * Name of the object: letters, digits and `! - _ . ' ( ) /`.
   * @default 'users'
   */
  readonly objectKey?: string;

  /**
   * Key for the object at rest; with `bucket`, the key that bucket uses.
   * @default - a new key with yearly rotation; with `bucket`, `bucket.encryptionKey`
   */
  readonly encryptionKey?: IKey;

  /**
   * Bucket for S3 server access logs. Not used with an imported bucket.
   * @default - access is not logged
   */
  readonly accessLogsBucket?: IBucket;
}

/**
 * Users in one S3 object, in the format of Dovecot's passwd-file with SCRAM-SHA-256 verifiers: no password and nothing
 * that can be used as one is stored. Old versions are kept for 90 days, so that a wrong edit can be undone.
 *
 * @throws when `objectKey` is empty or holds a character that would need quoting on a node
 * @see https://doc.dovecot.org/2.4.1/core/config/auth/databases/passwd_file.html
 */
export class FileDirectory extends Construct implements IMailDirectory {
  /** Bucket of the users file. */
  public readonly bucket: IBucket;
  /** Key of the object; nothing when an imported bucket does not tell. */
  public readonly encryptionKey?: IKey;
  /** For `mail-users --directory`. */
  public readonly location: string;
  /** What nodes need to read it. */
  public readonly configuration: NodeConfiguration;

  private readonly objectArn: string;

  constructor(scope: Construct, id: string, props: FileDirectoryProps = {}) {
    super(scope, id);
    pinFlags(this, '@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy');
    const objectKey = props.objectKey ?? 'users';
    if (!Token.isUnresolved(objectKey) && !/^[A-Za-z0-9!_.'()/-]+$/.test(objectKey)) {
      throw new Error(
        `objectKey must be letters, digits and !-_.'()/, got ${JSON.stringify(objectKey)}; choose another name`,
      );
    }
    if (props.bucket) {
      this.bucket = props.bucket;
      this.encryptionKey = props.encryptionKey ?? props.bucket.encryptionKey;
    } else {
      this.encryptionKey = props.encryptionKey ?? createBucketKey(this, 'Key', 'Mail users');
      this.bucket = this.createBucket(this.encryptionKey, props.accessLogsBucket);
    }
    this.objectArn = this.bucket.arnForObjects(objectKey);
    this.location = `s3://${this.bucket.bucketName}/${objectKey}`;
    this.configuration = {
      environment: { MAIL_DIRECTORY: 'file', MAIL_DIRECTORY_OBJECT: this.location },
      statements: this.readStatements(),
    };
  }

  /** Lets a principal read and write the users file, and nothing else. Old versions stay out of its reach. */
  public grantEdit(grantee: IGrantable): Grant {
    const grant = Grant.addToPrincipal({
      grantee,
      actions: ['s3:GetObject', 's3:PutObject'],
      resourceArns: [this.objectArn],
    }).combine(
      // Without it S3 answers 403 for a file that is not there yet, which looks like a broken permission.
      Grant.addToPrincipal({ grantee, actions: ['s3:ListBucket'], resourceArns: [this.bucket.bucketArn] }),
    );
    return this.encryptionKey
      ? grant.combine(
          Grant.addToPrincipal({
            grantee,
            actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
            resourceArns: [this.encryptionKey.keyArn],
            conditions: throughS3(this),
          }),
        )
      : grant;
  }

  /** Adds none: S3 is watched by AWS, and `DirectoryOld` of `MailAlarms` tells of a node that can't read it. */
  public addAlarms(_topic: ITopic): void {}

  private createBucket(key: IKey, accessLogsBucket?: IBucket): Bucket {
    const bucket = new Bucket(this, 'Bucket', {
      ...PRIVATE_BUCKET,
      ...encryptedWith(key),
      ...loggedIn(accessLogsBucket, 'directory'),
      lifecycleRules: [OLD_VERSIONS],
    });
    acknowledgeOneRegion(bucket, 'The users file has 90 days of versions (test/directory/file-directory.test.ts).');
    return bucket;
  }

  private readStatements(): PolicyStatement[] {
    const statements = [
      new PolicyStatement({
        sid: 'ReadUsers',
        actions: ['s3:GetObject'],
        resources: [this.objectArn],
      }),
      tellMissing('SeeThatThereAreNoUsersYet', this.bucket),
    ];
    if (this.encryptionKey) {
      statements.push(
        new PolicyStatement({
          sid: 'DecryptUsers',
          actions: ['kms:Decrypt'],
          resources: [this.encryptionKey.keyArn],
          conditions: throughS3(this),
        }),
      );
    }
    return statements;
  }
}
