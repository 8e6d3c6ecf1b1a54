import { IFileSystem, LifecyclePolicy } from 'aws-cdk-lib/aws-efs';
import { ISecurityGroup, IVpc, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import { Duration } from 'aws-cdk-lib';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { EbsMailStore, ShardSnapshot } from './ebs-mail-store';
import { EfsMailStore, StoreReplication } from './efs-mail-store';
import { IMailStore } from './mail-store';
import { ShardVolume } from './shard-volume';

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

  /**
   * A copy in another region, minutes behind (docs/backup.md). Not with `fileSystem`.
   * @default - none: law may forbid that mail leaves the region
   */
  readonly replication?: StoreReplication;
}

/** How mail is kept on EBS. */
export interface EbsStorageOptions {
  /**
   * Shards in each zone of the network; ten together at most. It can't be changed once there is mail: nodes refuse to
   * start then.
   * @default 1
   */
  readonly shardsPerZone?: number;

  /**
   * The disk of each shard.
   * @default ShardVolume.gp3() - 500 GiB, 3000 operations and 125 MiB a second
   */
  readonly volume?: ShardVolume;

  /**
   * Time between snapshots: 1, 2, 3, 4, 6, 8, 12 or 24 hours.
   * @default Duration.hours(1)
   */
  readonly snapshotEvery?: Duration;

  /**
   * Snapshots to keep of each shard, 1 to 1000.
   * @default 72
   */
  readonly snapshotsKept?: number;

  /**
   * Snapshots to make volumes from, by the name of the shard (`shard-1`). To name another one makes a new volume and
   * replaces the node; the old volume stays in the account.
   * @default - empty volumes
   */
  readonly restoreFrom?: { [shard: string]: ShardSnapshot };

  /**
   * Age at which mail moves to EFS with Infrequent Access, in the nightly window. Whole days, one or more. It stays where it is
   * in folders, and readable. Needs `MailboxFormat.SDBOX`.
   * @default - mail stays on the volume
   */
  readonly oldMailAfter?: Duration;
}

/** Kind of store for mail, indexes and queues. */
export abstract class MailStorage {
  /** One shared file system over all zones: Amazon EFS with elastic throughput. */
  public static efs(options: EfsStorageOptions = {}): MailStorage {
    return new EfsStorage(options);
  }

  /**
   * Zonal shards on fast disks: Amazon EBS, one volume and one node to a shard (docs/storage.md). Choose EFS unless its
   * latency is too much: a shard's users are without mail while its node is replaced, and while its zone is lost.
   */
  public static ebs(options: EbsStorageOptions = {}): MailStorage {
    return new EbsStorage(options);
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
      replication: this.options.replication,
    });
  }
}

class EbsStorage extends MailStorage {
  constructor(private readonly options: EbsStorageOptions) {
    super();
  }

  public bind(scope: Construct, options: MailStorageBindOptions): IMailStore {
    const { oldMailAfter, ...shards } = this.options;
    return new EbsMailStore(scope, 'Ebs', {
      ...shards,
      oldMail: oldMailAfter && {
        after: oldMailAfter,
        // It is old when it comes.
        store: new EfsMailStore(scope, 'OldMail', {
          vpc: options.vpc,
          vpcSubnets: options.subnets,
          securityGroup: options.securityGroup,
          nodeSecurityGroup: options.nodeSecurityGroup,
          encryptionKey: options.encryptionKey,
          infrequentAccessAfter: LifecyclePolicy.AFTER_1_DAY,
        }),
      },
      availabilityZones: [...new Set(options.vpc.selectSubnets(options.subnets).availabilityZones)],
      encryptionKey: options.encryptionKey,
    });
  }
}
