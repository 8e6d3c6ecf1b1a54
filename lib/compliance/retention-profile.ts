import { Duration } from 'aws-cdk-lib';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { ObjectLockMode, ObjectLockRetention } from 'aws-cdk-lib/aws-s3';
import { checkWholeDays } from '../private/check-whole';

/** What a law, a standard or a contract says about keeping; what is left out it does not say. Whole days. */
export interface RetentionTerms {
  /**
   * Shortest time that journaled mail is kept.
   * @default - any
   */
  readonly journalMin?: Duration;

  /**
   * Longest time that journaled mail is kept.
   * @default - for ever
   */
  readonly journalMax?: Duration;

  /**
   * Shortest time that logs of logins, mailboxes and administration are kept.
   * @default - any
   */
  readonly auditLogsMin?: Duration;

  /**
   * Longest time that they are kept.
   * @default - for ever
   */
  readonly auditLogsMax?: Duration;

  /**
   * Shortest time that flow logs and access logs are kept.
   * @default - any
   */
  readonly networkLogsMin?: Duration;

  /**
   * Longest time that they are kept.
   * @default - for ever
   */
  readonly networkLogsMax?: Duration;

  /**
   * Shortest time that nobody can delete archived mail (S3 Object Lock).
   * @default - it need not be locked
   */
  readonly objectLockMin?: Duration;

  /**
   * Longest time that archived mail may be locked.
   * @default - any
   */
  readonly objectLockMax?: Duration;

  /**
   * Time within which a person's data is gone for good once that was asked for, whole hours.
   * @default - there is no right to erasure
   */
  readonly erasureWithin?: Duration;
}

/** What is kept. */
export enum RetentionSubject {
  JOURNAL = 'journal',
  AUDIT_LOGS = 'auditLogs',
  NETWORK_LOGS = 'networkLogs',
  OBJECT_LOCK = 'objectLock',
}

interface Bound {
  readonly duration: Duration;
  /** Name of the profile that it is from. */
  readonly by: string;
}

interface Bounds {
  readonly min: { readonly [subject: string]: Bound | undefined };
  readonly max: { readonly [subject: string]: Bound | undefined };
  readonly erasure?: Bound;
}

/** The longest that six months are. */
const SIX_MONTHS = Duration.days(184);
const TWO_YEARS = Duration.days(731);

/**
 * How long mail and logs must and may be kept. Sources and limits of each figure: docs/retention.md. It is no legal
 * advice: what holds for your company goes into `custom`.
 */
export class RetentionProfile {
  /**
   * European Union, GDPR: mail at most 180 days, logs at least six months, erasure within 72 hours.
   *
   * The regulation names no period but "no longer than necessary" (article 5); 180 days and 72 hours are this
   * project's figures, within the month that article 12 gives.
   */
  public static gdpr(): RetentionProfile {
    return RetentionProfile.custom('gdpr', {
      journalMax: Duration.days(180),
      auditLogsMin: SIX_MONTHS,
      networkLogsMin: SIX_MONTHS,
      erasureWithin: Duration.hours(72),
    });
  }

  /** United States, general business: mail and logs at least a year. Brokers and dealers need more: `custom`. */
  public static us(): RetentionProfile {
    const year = Duration.days(365);
    return RetentionProfile.custom('us', { journalMin: year, auditLogsMin: year, networkLogsMin: year });
  }

  /** China, Multi-Level Protection Scheme 2.0, level 3: logs at least six months (Cybersecurity Law, article 21). */
  public static mlps3(): RetentionProfile {
    return RetentionProfile.custom('mlps3', { auditLogsMin: SIX_MONTHS, networkLogsMin: SIX_MONTHS });
  }

  /** ISO/IEC 27001: logs at least two years. The standard leaves the period to the company; auditors ask for cycles. */
  public static iso27001(): RetentionProfile {
    return RetentionProfile.custom('iso27001', { auditLogsMin: TWO_YEARS, networkLogsMin: TWO_YEARS });
  }

  /**
   * Terms of your own.
   *
   * @param name how messages call it
   * @throws when a term is not whole days (erasure: hours), or the terms contradict one another
   */
  public static custom(name: string, terms: RetentionTerms): RetentionProfile {
    const bound = (duration?: Duration): Bound | undefined => duration && { duration, by: name };
    return new RetentionProfile([name], {
      min: {
        journal: bound(terms.journalMin),
        auditLogs: bound(terms.auditLogsMin),
        networkLogs: bound(terms.networkLogsMin),
        objectLock: bound(terms.objectLockMin),
      },
      max: {
        journal: bound(terms.journalMax),
        auditLogs: bound(terms.auditLogsMax),
        networkLogs: bound(terms.networkLogsMax),
        objectLock: bound(terms.objectLockMax),
      },
      erasure: bound(terms.erasureWithin),
    });
  }

  /**
   * All of them at once: the longest of what each wants at least, the shortest of what each allows.
   *
   * @throws when no period meets all of them
   */
  public static combine(...profiles: RetentionProfile[]): RetentionProfile {
    if (profiles.length === 0) {
      throw new Error('a combination must have at least one profile, got none');
    }
    const strictest = (pick: (bounds: Bounds) => Bound | undefined, sign: 1 | -1): Bound | undefined =>
      profiles
        .map(({ bounds }) => pick(bounds))
        .filter((bound) => bound !== undefined)
        .sort((a, b) => sign * (a.duration.toHours() - b.duration.toHours()))[0];
    const subjects = Object.values(RetentionSubject);
    return new RetentionProfile(
      profiles.flatMap(({ names }) => names),
      {
        min: Object.fromEntries(subjects.map((subject) => [subject, strictest(({ min }) => min[subject], -1)])),
        max: Object.fromEntries(subjects.map((subject) => [subject, strictest(({ max }) => max[subject], 1)])),
        erasure: strictest(({ erasure }) => erasure, 1),
      },
    );
  }

  private constructor(
    /** Names of the profiles that it is made of. */
    public readonly names: string[],
    private readonly bounds: Bounds,
  ) {
    for (const subject of Object.values(RetentionSubject)) {
      const [min, max] = [this.bounds.min[subject], this.bounds.max[subject]];
      [min, max].forEach((bound) => bound && checkWholeDays(`retention of ${subject}`, bound.duration, 1));
      if (min && max && min.duration.toDays() > max.duration.toDays()) {
        throw new Error(
          `${subject} must be kept at least ${say(min)} and at most ${say(max)}, which no period is; ` +
            'leave one of them out, or give the period that holds for you by RetentionProfile.custom',
        );
      }
    }
    const [lock, journal] = [bounds.min.objectLock, bounds.max.journal];
    if (lock && journal && lock.duration.toDays() > journal.duration.toDays()) {
      throw new Error(
        `objectLock must last at least ${say(lock)}, but the journal is kept at most ${say(journal)}; shorten the lock`,
      );
    }
  }

  /** Time within which a person's data must be gone; nothing when no profile says. */
  public get erasureWithin(): Duration | undefined {
    return this.bounds.erasure?.duration;
  }

  /** Longest time that something may be kept; nothing when no profile says. */
  public longest(subject: RetentionSubject): Duration | undefined {
    return this.bounds.max[subject]?.duration;
  }

  /** The period nearest to `preferred` that all profiles allow. */
  public period(subject: RetentionSubject, preferred: Duration): Duration {
    const [min, max] = [this.bounds.min[subject], this.bounds.max[subject]];
    if (min && min.duration.toDays() > preferred.toDays()) {
      return min.duration;
    }
    return max && max.duration.toDays() < preferred.toDays() ? max.duration : preferred;
  }

  /**
   * The same for a log group, which knows some periods only: the shortest of them that is long enough.
   *
   * @throws when all that are long enough are too long
   */
  public logRetention(subject: RetentionSubject, preferred: RetentionDays): RetentionDays {
    const least = this.period(subject, Duration.days(preferred)).toDays();
    const max = this.bounds.max[subject];
    const periods = Object.values(RetentionDays).filter((value) => typeof value === 'number') as RetentionDays[];
    const atLeast = (days: number) => periods.filter((period) => period >= days).sort((a, b) => a - b)[0];
    const chosen = atLeast(least);
    if (!max || chosen <= max.duration.toDays()) {
      return chosen;
    }
    const shorter = atLeast(this.bounds.min[subject]?.duration.toDays() ?? 1);
    if (shorter > max.duration.toDays()) {
      throw new Error(
        `${subject} must be kept at most ${say(max)}, and CloudWatch Logs has no such period; ` +
          `the next is ${shorter} days`,
      );
    }
    return periods.filter((period) => period <= max.duration.toDays()).sort((a, b) => b - a)[0];
  }

  /**
   * Checks a period that somebody set.
   *
   * @param name name of the setting, for the message
   * @throws when a profile wants it longer or shorter
   */
  public check(subject: RetentionSubject, name: string, duration: Duration): void {
    const [min, max] = [this.bounds.min[subject], this.bounds.max[subject]];
    if (min && duration.toDays() < min.duration.toDays()) {
      throw new Error(`${name} must be >= ${say(min)}, got ${duration.toDays()} days; raise it`);
    }
    if (max && duration.toDays() > max.duration.toDays()) {
      throw new Error(`${name} must be <= ${say(max)}, got ${duration.toDays()} days; lower it`);
    }
  }

  /**
   * Checks the lock of archived mail.
   *
   * @param name name of the setting, for the message
   * @param lock nothing when archived mail is not locked
   * @param isSealed whether destroyed keys make mail unreadable that is locked (`MailJournalOptions.sealed`)
   * @throws when a lock is missing, too short, longer than mail may be kept, or stands in the way of erasure
   */
  public checkLock(name: string, lock?: ObjectLockRetention, isSealed = false): void {
    const { min, max, erasure } = this.bounds;
    if (min.objectLock && erasure && !isSealed && min.objectLock.duration.toHours() > erasure.duration.toHours()) {
      throw new Error(
        `${name} must last at least ${say(min.objectLock)}, but erasure is due within ${say(erasure)}, and what is locked can only be ` +
          'erased by destroying its keys; set journal.sealed, or leave one of them out',
      );
    }
    if (!lock) {
      if (min.objectLock) {
        throw new Error(`${name} must be >= ${say(min.objectLock)}, got none; add it`);
      }
      return;
    }
    if (max.journal && lock.duration.toDays() > max.journal.duration.toDays()) {
      throw new Error(
        `${name} must be <= ${say(max.journal)}, the longest that mail is kept, got ${lock.duration.toDays()} days; ` +
          'lower it',
      );
    }
    const isLate = erasure && lock.duration.toHours() > erasure.duration.toHours();
    if (isLate && lock.mode === ObjectLockMode.COMPLIANCE && !isSealed) {
      throw new Error(
        `${name} must not be in compliance mode for ${lock.duration.toDays()} days when erasure is due within ` +
          `${say(erasure)}: nobody could delete what must be erased; use ArchiveLock.governance, or set journal.sealed, so that ` +
          'destroyed keys make it unreadable',
      );
    }
    this.check(RetentionSubject.OBJECT_LOCK, name, lock.duration);
  }

  /**
   * Checks the lock of a vault of backups.
   *
   * @param name name of the setting, for the message
   * @param lock nothing when backups are not locked; with a time to change it the lock is in compliance mode
   * @throws when nobody could delete a backup that must go for an erasure
   */
  public checkBackupLock(name: string, lock?: { readonly changeableFor?: Duration }): void {
    const { erasure } = this.bounds;
    if (erasure && lock?.changeableFor) {
      throw new Error(
        `${name} must not be in compliance mode when erasure is due within ${say(erasure)}: nobody could delete a backup ` +
          'that has what must be erased; use BackupLock.governance',
      );
    }
  }
}

function say({ duration, by }: Bound): string {
  const days = duration.toDays({ integral: false });
  return `${days} days (${by})`;
}
