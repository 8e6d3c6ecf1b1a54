import { IFileSystem, LifecyclePolicy } from 'aws-cdk-lib/aws-efs';
import { ISecurityGroup, IVpc, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { EfsMailStore } from './efs-mail-store';
import { IMailStore } from './mail-store';

/** What a store is placed into. */
export interface MailStorageBindOptions {
  /** Network of the nodes. */
  readonly vpc: IVpc;
  /** Subnets of the store, one per zone. */
  readonly subnets: SubnetSelection;
  /** Security group of the store; lets the nodes in on TCP 2049. */
  readonly securityGroup: ISecurityGroup;

  /**
   * Security group of the nodes. An imported file system has a security group of its own, which then gets a rule.
   * @default - an imported file system already lets the nodes in
   */
  readonly nodeSecurityGroup?: ISecurityGroup;

  /**
   * Key for data at rest.
   * @default - the account's AWS managed key for the service
   */
  readonly encryptionKey?: IKey;

  /**
   * Whether the service's own daily backups are on.
   * @default true
   */
  readonly automaticBackups?: boolean;
}

/** How mail is kept on EFS. */
export interface EfsStorageOptions {
  /**
   * A file system to use. It must have a mount target in each zone of the nodes, and its policy must let clients mount
   * it without IAM (DESIGN: nodes mount by TLS without the EFS helper, which Debian does not have).
   * @default - a new one, kept when the stack is deleted
   */
  readonly fileSystem?: IFileSystem;

  /**
   * When files that nobody reads leave the standard class. They stay readable in place.
   * @default LifecyclePolicy.AFTER_30_DAYS
   */
  readonly infrequentAccessAfter?: LifecyclePolicy;

  /**
   * When they go on to the Archive class; later than `infrequentAccessAfter`.
   * @default LifecyclePolicy.AFTER_90_DAYS
   */
  readonly archiveAfter?: LifecyclePolicy;
}

/** Kind of store for mail, indexes and queues. */
export abstract class MailStorage {
  /** One shared file system over all zones: Amazon EFS with elastic throughput. */
  public static efs(options: EfsStorageOptions = {}): MailStorage {
    return new EfsStorage(options);
  }

  /** Creates or takes over the store. */
  public abstract bind(scope: Construct, options: MailStorageBindOptions): IMailStore;
}

class EfsStorage extends MailStorage {
  constructor(private readonly options: EfsStorageOptions) {
    super();
  }

  public bind(scope: Construct, options: MailStorageBindOptions): IMailStore {
    return new EfsMailStore(scope, 'Efs', {
      vpc: options.vpc,
      vpcSubnets: options.subnets,
      securityGroup: options.securityGroup,
      nodeSecurityGroup: options.nodeSecurityGroup,
      encryptionKey: options.encryptionKey,
      automaticBackups: options.automaticBackups,
      fileSystem: this.options.fileSystem,
      infrequentAccessAfter: this.options.infrequentAccessAfter,
      archiveAfter: this.options.archiveAfter,
    });
  }
}
