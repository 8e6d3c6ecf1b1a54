import { Duration } from 'aws-cdk-lib';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { ObjectLockRetention } from 'aws-cdk-lib/aws-s3';
import { RetentionProfile, RetentionSubject, RetentionTerms } from '../../lib/compliance';

const { JOURNAL, AUDIT_LOGS, NETWORK_LOGS, OBJECT_LOCK } = RetentionSubject;
const days = (count: number) => Duration.days(count);
const { gdpr, us, mlps3, iso27001, custom, combine } = {
  gdpr: () => RetentionProfile.gdpr(),
  us: () => RetentionProfile.us(),
  mlps3: () => RetentionProfile.mlps3(),
  iso27001: () => RetentionProfile.iso27001(),
  custom: (terms: RetentionTerms) => RetentionProfile.custom('ours', terms),
  combine: (...profiles: RetentionProfile[]) => RetentionProfile.combine(...profiles),
};

test.each<[string, RetentionProfile, number]>([
  ['gdpr', gdpr(), 184],
  ['us', us(), 365],
  ['mlps3', mlps3(), 184],
  ['iso27001', iso27001(), 731],
  ['gdpr and iso27001', combine(gdpr(), iso27001()), 731],
  ['us and mlps3', combine(us(), mlps3()), 365],
])('%s keeps logs long enough, and longer where that is the default', (_name, profile, least) => {
  for (const subject of [AUDIT_LOGS, NETWORK_LOGS]) {
    expect(profile.period(subject, days(1)).toDays()).toBe(least);
    expect(profile.period(subject, days(3000)).toDays()).toBe(3000);
    expect(() => profile.check(subject, 'logs', days(least - 1))).toThrow(`logs must be >= ${least} days (`);
    profile.check(subject, 'logs', days(least));
  }
});

test('a combination takes the strictest of each, and says in messages whose it is', () => {
  const both = combine(gdpr(), custom({ journalMax: days(90), erasureWithin: Duration.hours(100) }), mlps3());
  expect(both.names).toEqual(['gdpr', 'ours', 'mlps3']);
  expect(both.longest(JOURNAL)?.toDays()).toBe(90);
  expect(both.erasureWithin?.toHours()).toBe(72);
  expect(() => both.check(JOURNAL, 'journalExpireAfter', days(91))).toThrow(
    'journalExpireAfter must be <= 90 days (ours), got 91 days; lower it',
  );
});

test.each<[string, () => void, string]>([
  [
    'mail must be kept longer than it may',
    () => combine(gdpr(), us()),
    'journal must be kept at least 365 days (us) and at most 180 days (gdpr), which no period is',
  ],
  [
    'logs may not be kept as long as law wants',
    () => combine(mlps3(), custom({ auditLogsMax: days(90) })),
    'auditLogs must be kept at least 184 days (mlps3) and at most 90 days (ours)',
  ],
  [
    'a lock must last longer than mail is kept',
    () => custom({ objectLockMin: days(400), journalMax: days(365) }),
    'objectLock must last at least 400 days (ours), but the journal is kept at most 365 days (ours)',
  ],
  [
    'a period is not whole days',
    () => custom({ journalMin: Duration.hours(30) }),
    'retention of journal must be whole days',
  ],
  ['nothing is combined', () => combine(), 'a combination must have at least one profile, got none'],
])('fails when %s', (_name, make, message) => {
  expect(make).toThrow(message);
});

describe('the lock of archived mail', () => {
  const governance = (count: number) => ObjectLockRetention.governance(days(count));
  const compliance = (count: number) => ObjectLockRetention.compliance(days(count));

  test.each<[string, RetentionProfile, ObjectLockRetention | undefined]>([
    ['none', gdpr(), undefined],
    ['one that erasure may lift', gdpr(), governance(180)],
    ['one that ends before erasure is due', gdpr(), compliance(3)],
    ['any where there is no right to erasure', us(), compliance(2557)],
  ])('may be %s', (_name, profile, lock) => {
    profile.checkLock('archiveLock', lock);
  });

  test.each<[string, RetentionProfile, ObjectLockRetention]>([
    ['one that nobody can lift', gdpr(), compliance(180)],
    ['one that a law wants', combine(gdpr(), custom({ objectLockMin: days(30) })), compliance(30)],
  ])('may, of a sealed journal, whose keys can be destroyed, be %s', (_name, profile, lock) => {
    profile.checkLock('archiveLock', lock, true);
    expect(() => profile.checkLock('archiveLock', lock)).toThrow(/set journal\.sealed/);
  });

  test('of a sealed journal is no longer than mail is kept, and no shorter than a law wants', () => {
    expect(() => gdpr().checkLock('archiveLock', compliance(181), true)).toThrow(
      'archiveLock must be <= 180 days (gdpr)',
    );
    const locked = combine(gdpr(), custom({ objectLockMin: days(30) }));
    expect(() => locked.checkLock('archiveLock', undefined, true)).toThrow(
      'archiveLock must be >= 30 days (ours), got none',
    );
  });

  test.each<[string, RetentionProfile, ObjectLockRetention | undefined, string]>([
    [
      'stands in the way of erasure',
      gdpr(),
      compliance(30),
      'archiveLock must not be in compliance mode for 30 days when erasure is due within 3 days (gdpr)',
    ],
    [
      'must last longer than erasure may take',
      combine(gdpr(), custom({ objectLockMin: days(30) })),
      governance(30),
      'archiveLock must last at least 30 days (ours), but erasure is due within 3 days (gdpr)',
    ],
    [
      'is longer than mail is kept',
      gdpr(),
      governance(365),
      'archiveLock must be <= 180 days (gdpr), the longest that mail is kept, got 365 days',
    ],
    [
      'is missing',
      custom({ objectLockMin: days(2192) }),
      undefined,
      'archiveLock must be >= 2192 days (ours), got none; add it',
    ],
    [
      'is too short',
      custom({ objectLockMin: days(2192) }),
      compliance(365),
      'archiveLock must be >= 2192 days (ours), got 365 days; raise it',
    ],
    [
      'is too long',
      custom({ objectLockMax: days(365) }),
      compliance(400),
      'archiveLock must be <= 365 days (ours), got 400 days',
    ],
  ])('fails when it %s', (_name, profile, lock, message) => {
    expect(() => profile.checkLock('archiveLock', lock)).toThrow(message);
  });
});

test('a log group gets a period that CloudWatch Logs has and all allow', () => {
  expect(mlps3().logRetention(NETWORK_LOGS, RetentionDays.ONE_DAY)).toBe(RetentionDays.ONE_YEAR);
  expect(iso27001().logRetention(NETWORK_LOGS, RetentionDays.ONE_YEAR)).toBe(RetentionDays.TWO_YEARS);
  expect(gdpr().logRetention(NETWORK_LOGS, RetentionDays.FIVE_YEARS)).toBe(RetentionDays.FIVE_YEARS);
  const short = custom({ networkLogsMax: days(200) });
  expect(short.logRetention(NETWORK_LOGS, RetentionDays.ONE_YEAR)).toBe(RetentionDays.SIX_MONTHS);
  expect(() =>
    combine(mlps3(), custom({ networkLogsMax: days(200) })).logRetention(NETWORK_LOGS, RetentionDays.ONE_YEAR),
  ).toThrow(
    'networkLogs must be kept at most 200 days (ours), and CloudWatch Logs has no such period; the next is 365 days',
  );
});

test('what no profile names is free', () => {
  expect(mlps3().longest(JOURNAL)).toBeUndefined();
  expect(mlps3().erasureWithin).toBeUndefined();
  mlps3().check(OBJECT_LOCK, 'archiveLock', days(36500));
});

test('backups that nobody could delete are refused where there is a right to erasure', () => {
  const compliance = { changeableFor: Duration.days(3) };
  expect(() => RetentionProfile.gdpr().checkBackupLock('backup.lock', compliance)).toThrow(
    'backup.lock must not be in compliance mode when erasure is due within 3 days (gdpr)',
  );
  expect(() => RetentionProfile.gdpr().checkBackupLock('backup.lock', {})).not.toThrow();
  expect(() => RetentionProfile.gdpr().checkBackupLock('backup.lock')).not.toThrow();
  expect(() => RetentionProfile.us().checkBackupLock('backup.lock', compliance)).not.toThrow();
});
