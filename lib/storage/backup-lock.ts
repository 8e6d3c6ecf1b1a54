import { Duration } from 'aws-cdk-lib';
import { LockConfiguration } from 'aws-cdk-lib/aws-backup';
import { checkWholeDays } from '../private/check-whole';

/** Whether backups can be deleted before their time (AWS Backup Vault Lock). */
export class BackupLock {
  /** They can, by whoever has the permission and first changes the vault's policy. */
  public static none(): BackupLock {
    return new BackupLock();
  }

  /**
   * They can't, until somebody with the permission takes the lock off.
   *
   * @param minRetention the vault refuses backups that would be kept shorter; whole days
   */
  public static governance(minRetention: Duration): BackupLock {
    checkWholeDays('minRetention', minRetention, 1);
    return new BackupLock({ minRetention });
  }

  /**
   * They can't, by anyone, AWS included, once the time to change it is over; nor can the vault be deleted.
   *
   * @param minRetention the vault refuses backups that would be kept shorter; whole days
   * @param changeableFor time to take the lock off again, at least 3 days; whole days
   */
  public static compliance(minRetention: Duration, changeableFor: Duration = Duration.days(3)): BackupLock {
    checkWholeDays('minRetention', minRetention, 1);
    checkWholeDays('changeableFor', changeableFor, 3);
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
