import { Duration } from 'aws-cdk-lib';
import { ObjectLockRetention } from 'aws-cdk-lib/aws-s3';
import { checkWholeDays } from '../private/check-whole';

/** Whether and for how long nobody can delete or overwrite what was archived (S3 Object Lock). */
export class ArchiveLock {
  /** Versioned, but whoever has the permission may delete versions. */
  public static none(): ArchiveLock {
    return new ArchiveLock();
  }

  /**
   * Kept for this long, except from principals with `s3:BypassGovernanceRetention`.
   *
   * @param duration whole days, 1 day to 100 years
   */
  public static governance(duration: Duration): ArchiveLock {
    return new ArchiveLock(ObjectLockRetention.governance(wholeDays(duration)));
  }

  /**
   * Kept for this long from everyone, the account's root user and AWS support included. What is archived by mistake
   * stays, and is paid for, until then.
   *
   * @param duration whole days, 1 day to 100 years
   */
  public static compliance(duration: Duration): ArchiveLock {
    return new ArchiveLock(ObjectLockRetention.compliance(wholeDays(duration)));
  }

  private constructor(
    /**
     * Retention that new objects get.
     * @default - none
     */
    public readonly defaultRetention?: ObjectLockRetention,
  ) {}
}

function wholeDays(duration: Duration): Duration {
  checkWholeDays('lock duration', duration, 1, 36_500);
  return duration;
}
