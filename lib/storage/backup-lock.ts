import { Duration } from 'aws-cdk-lib';
import { LockConfiguration } from 'aws-cdk-lib/aws-backup';

/** Whether backups can be deleted before their time (AWS Backup Vault Lock). */
export class BackupLock {
  /** They can, by whoever has the permission and first changes the vault's policy. */
  public static none(): BackupLock {
    return new BackupLock();
  }

  /**
   * They can't, until somebody with the permission takes the lock off.
   *
   * @param minRetention the vault refuses backups that would be kept shorter
   */
  public static governance(minRetention: Duration): BackupLock {
    return new BackupLock({ minRetention });
  }

  /**
   * They can't, by anyone, AWS included, once the time to change it is over; nor can the vault be deleted.
   *
   * @param minRetention the vault refuses backups that would be kept shorter
   * @param changeableFor time to take the lock off again, at least 3 days
   */
  public static compliance(minRetention: Duration, changeableFor: Duration = Duration.days(3)): BackupLock {
    return new BackupLock({ minRetention, changeableFor });
  }

  private constructor(
    /**
     * The vault's lock.
     * @default - none
     */
    public readonly configuration?: LockConfiguration,
  ) {}
}
