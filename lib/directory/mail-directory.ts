import { ISecurityGroup, IVpc, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import { Grant, IGrantable } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Endpoint } from 'aws-cdk-lib/aws-rds';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { NodeConfiguration } from '../node/node-configuration';
import { AuroraDirectory, AuroraDirectoryOptions } from './aurora-directory';
import { FileDirectory } from './file-directory';

/** Who may log in, once it is part of a stack. */
export interface IMailDirectory {
  /** What nodes need to read the directory: `MAIL_DIRECTORY` and its companions. */
  readonly configuration: NodeConfiguration;

  /** Where an operator edits users, such as `s3://bucket/users` or `postgres://mail_editor@host:5433/mail`. */
  readonly location: string;

  /** Where a database of users answers, in the network of the nodes; nothing where users are in a file. */
  readonly databaseEndpoint?: Endpoint;

  /** Lets a principal read and change users with `mail-users`, and nothing else. */
  grantEdit(grantee: IGrantable): Grant;

  /** Adds alarms of the directory itself, if it has any. */
  addAlarms(topic: ITopic): void;
}

/** What a directory is created with. */
export interface MailDirectoryBindOptions {
  /**
   * Key for data at rest.
   * @default - a key of the directory's own
   */
  readonly encryptionKey?: IKey;

  /**
   * Bucket for S3 server access logs.
   * @default - access is not logged
   */
  readonly accessLogsBucket?: IBucket;

  /**
   * Network of the nodes; a database is in it.
   * @default - none: `aurora()` needs it, and what follows
   */
  readonly vpc?: IVpc;

  /**
   * Subnets of the nodes, with a way out.
   * @default - none
   */
  readonly nodeSubnets?: SubnetSelection;

  /**
   * Subnets for what holds data.
   * @default - none
   */
  readonly storageSubnets?: SubnetSelection;

  /**
   * Security group of the nodes.
   * @default - none
   */
  readonly nodeSecurityGroup?: ISecurityGroup;

  /**
   * Mail domains.
   * @default - none
   */
  readonly domains?: string[];
}

/** Users in a file. */
export interface FileDirectoryOptions {
  /**
   * Bucket of the users file. With a customer key that the bucket does not tell (an imported one), pass
   * `bucketEncryptionKey` as well.
   * @default - a new one, kept when the stack is deleted
   */
  readonly bucket?: IBucket;

  /**
   * Key of an imported bucket.
   * @default - `bucket.encryptionKey`
   */
  readonly bucketEncryptionKey?: IKey;

  /**
   * Key (name) of the object.
   * @default 'users'
   */
  readonly objectKey?: string;
}

/** Kind of user directory. */
export abstract class MailDirectory {
  /**
   * Users in one S3 object, edited with the `mail-users` command: up to some thousands of users, no database to run.
   */
  public static file(options: FileDirectoryOptions = {}): MailDirectory {
    return new FileMailDirectory(options);
  }

  /**
   * Users in a new Aurora PostgreSQL cluster (Serverless v2) over two zones: tens of thousands of users, each change audited. 88 USD a
   * month at rest. docs/directory.md.
   */
  public static aurora(options: AuroraDirectoryOptions = {}): MailDirectory {
    return new AuroraMailDirectory(options);
  }

  /** Creates or takes over the directory. */
  public abstract bind(scope: Construct, options?: MailDirectoryBindOptions): IMailDirectory;
}

class FileMailDirectory extends MailDirectory {
  constructor(private readonly options: FileDirectoryOptions) {
    super();
  }

  public bind(scope: Construct, options: MailDirectoryBindOptions = {}): IMailDirectory {
    return new FileDirectory(scope, 'File', {
      bucket: this.options.bucket,
      objectKey: this.options.objectKey,
      encryptionKey: this.options.bucket ? this.options.bucketEncryptionKey : options.encryptionKey,
      accessLogsBucket: options.accessLogsBucket,
    });
  }
}

class AuroraMailDirectory extends MailDirectory {
  constructor(private readonly options: AuroraDirectoryOptions) {
    super();
  }

  public bind(scope: Construct, options: MailDirectoryBindOptions = {}): IMailDirectory {
    const { vpc, nodeSubnets, storageSubnets, nodeSecurityGroup, domains, encryptionKey } = options;
    if (!vpc || !nodeSubnets || !storageSubnets || !nodeSecurityGroup || !domains) {
      throw new Error(
        'MailDirectory.aurora() needs vpc, nodeSubnets, storageSubnets, nodeSecurityGroup and domains to bind; pass them, as MailStack does',
      );
    }
    return new AuroraDirectory(scope, 'Aurora', {
      ...this.options,
      vpc,
      nodeSubnets,
      databaseSubnets: storageSubnets,
      nodeSecurityGroup,
      domains,
      encryptionKey,
    });
  }
}
