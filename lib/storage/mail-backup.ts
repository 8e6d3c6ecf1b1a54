import { Duration, Names, RemovalPolicy, Stack } from 'aws-cdk-lib';
import {
  BackupPlan,
  BackupPlanCopyActionProps,
  BackupPlanRule,
  BackupResource,
  BackupVault,
  CfnRestoreTestingPlan,
  CfnRestoreTestingSelection,
  IBackupVault,
} from 'aws-cdk-lib/aws-backup';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { Schedule } from 'aws-cdk-lib/aws-events';
import { IRole, ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey, Key } from 'aws-cdk-lib/aws-kms';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { METRIC_NAMESPACE } from '../node/fleet-metrics';
import { checkWholeDays } from '../private/check-whole';
import { addTopicAlarm } from '../private/topic-alarm';
import { BackupLock } from './backup-lock';
import { anyFileSystem, backupStatements, restoreStatements } from './backup-rights';

/** What an owner chooses about backups. */
export interface MailBackupOptions {
  /**
   * How long hourly backups are kept. Whole days.
   * @default Duration.days(2)
   */
  readonly keepHourly?: Duration;

  /**
   * How long daily backups are kept. Whole days.
   * @default Duration.days(35)
   */
  readonly keepDaily?: Duration;

  /**
   * How long monthly backups are kept; from 120 days on they go to cold storage after 30. Whole days.
   * @default Duration.days(365)
   */
  readonly keepMonthly?: Duration;

  /**
   * Whether backups can be deleted before their time.
   * @default BackupLock.none()
   */
  readonly lock?: BackupLock;

  /**
   * Vault that daily and monthly backups are copied to, in another region or account; it must exist.
   * @default - no copies
   */
  readonly copyTo?: IBackupVault;

  /**
   * Day of the week on which the latest backup is restored to a new file system, which is deleted again.
   * @default 'SUN'
   */
  readonly restoreTestDay?: string;

  /**
   * Whether what the restore test restored is checked in three stages (docs/backup.md): alarms tell when a check failed, and when none
   * was passed for a week. In a `MailStack` a machine does it by itself, for some minutes a week; beside a `MailBackup` alone, a
   * `RestoreCheck`, or somebody by `libexec/check-store`.
   * @default false
   */
  readonly restoreCheck?: boolean;
}

/** Properties of `MailBackup`. */
export interface MailBackupProps extends MailBackupOptions {
  /** ARN of the file system. */
  readonly fileSystemArn: string;

  /**
   * Name of the cluster, which results of checks are told by.
   * @default - the stack's name
   */
  readonly clusterName?: string;

  /**
   * Key of the file system, which restores need.
   * @default - the account's AWS managed key for EFS
   */
  readonly fileSystemKey?: IKey;

  /**
   * Key of backups.
   * @default - a new one with yearly rotation, kept when the stack is deleted
   */
  readonly encryptionKey?: IKey;
}

/**
 * Backups of the mail store by AWS Backup: hourly, daily, monthly, in a vault with a customer key, by choice locked and
 * copied to another region; and a weekly test that the latest can be restored.
 *
 * AWS Backup has no point-in-time recovery for EFS, so what can be lost with the file system is up to an hour and the
 * time that a backup takes. Backups are incremental.
 *
 * @see https://docs.aws.amazon.com/aws-backup/latest/devguide/point-in-time-recovery.html
 * @throws when a period is not whole days, or shorter than the lock allows
 */
export class MailBackup extends Construct {
  /** Where backups are. */
  public readonly vault: BackupVault;
  /** When they are made, and how long they are kept. */
  public readonly plan: BackupPlan;

  /** ARN of the plan of the weekly restore test, which events of its restores name. */
  public readonly restoreTestingPlanArn: string;

  private readonly clusterName: string;
  private readonly restoreCheck: boolean;

  constructor(scope: Construct, id: string, props: MailBackupProps) {
    super(scope, id);
    const keep = {
      keepHourly: props.keepHourly ?? Duration.days(2),
      keepDaily: props.keepDaily ?? Duration.days(35),
      keepMonthly: props.keepMonthly ?? Duration.days(365),
    };
    const restoreTestDay = props.restoreTestDay ?? 'SUN';
    this.clusterName = props.clusterName ?? Stack.of(this).stackName;
    this.restoreCheck = props.restoreCheck ?? false;
    checkPeriods(keep, props.lock);
    if (!/^(MON|TUE|WED|THU|FRI|SAT|SUN)$/.test(restoreTestDay)) {
      throw new Error(`restoreTestDay must be MON to SUN, got ${JSON.stringify(restoreTestDay)}`);
    }

    const key = props.encryptionKey ?? this.createKey();
    this.vault = new BackupVault(this, 'Vault', {
      encryptionKey: key,
      lockConfiguration: props.lock?.configuration,
      blockRecoveryPointDeletion: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    const resources = {
      fileSystemArn: props.fileSystemArn,
      fileSystemKey: props.fileSystemKey,
      vault: this.vault,
      vaultKey: key,
      copyTo: props.copyTo,
    };
    this.plan = this.createPlan(keep, props.copyTo);
    this.plan.addSelection('Store', {
      resources: [BackupResource.fromArn(props.fileSystemArn)],
      role: this.createRole('BackupRole', 'Backs up the mail store', backupStatements(this, resources)),
      disableDefaultBackupPolicy: true,
    });
    const restoreRole = this.createRole(
      'RestoreRole',
      'Tests restores of the mail store',
      restoreStatements(this, resources),
    );
    acknowledge(this.node.findChild('RestoreRole'), {
      id: findingId(this, 'AwsSolutions-IAM5', 'Resource', anyFileSystem(this)),
      reason:
        'A restore makes a file system whose id is not known before. The role may act on file systems of this account ' +
        'and region, and is denied the mail store itself (test/storage/mail-backup.test.ts).',
    });
    this.restoreTestingPlanArn = this.createRestoreTest(props.fileSystemArn, restoreRole, restoreTestDay);
  }

  /** Backups made. */
  public metricCompleted(options?: MetricOptions): Metric {
    return this.ofVault('NumberOfBackupJobsCompleted', options);
  }

  /** Backups that failed. */
  public metricFailed(options?: MetricOptions): Metric {
    return this.ofVault('NumberOfBackupJobsFailed', options);
  }

  /** Backups that did not begin or end in their window. */
  public metricExpired(options?: MetricOptions): Metric {
    return this.ofVault('NumberOfBackupJobsExpired', options);
  }

  /** Copies to another region that failed. */
  public metricCopiesFailed(options?: MetricOptions): Metric {
    return this.ofVault('NumberOfCopyJobsFailed', options);
  }

  /** Restores of EFS file systems that failed, those of the weekly test among them. */
  public metricRestoresFailed(options?: MetricOptions): Metric {
    return new Metric({
      namespace: 'AWS/Backup',
      metricName: 'NumberOfRestoreJobsFailed',
      dimensionsMap: { ResourceType: 'EFS' },
      statistic: Stats.SUM,
      ...options,
    });
  }

  /** Checks of a restored store: 1 for each that was passed, 0 for each that was not. */
  public metricRestoreChecks(options?: MetricOptions): Metric {
    return new Metric({
      namespace: METRIC_NAMESPACE,
      metricName: 'RestoreCheckPassed',
      dimensionsMap: { Cluster: this.clusterName },
      statistic: Stats.MINIMUM,
      ...options,
    });
  }

  /**
   * Adds the alarms `BackupStale`, `BackupFailed`, `BackupExpired`, `CopyFailed` and `RestoreFailed`; with `restoreCheck`
   * also `RestoreCheckFailed` and `RestoreCheckStale`.
   *
   * @param topic where they go
   */
  public addAlarms(topic: ITopic): void {
    const period = Duration.hours(1);
    this.alarm(topic, 'BackupStale', {
      metric: this.metricCompleted({ period }),
      stale: true,
      description:
        'No backup of the mail store was completed for 3 hours. Check first: jobs in AWS Backup, whether one has run ' +
        'for so long that the next ones wait for it.',
    });
    const failures: [string, Metric, string][] = [
      ['BackupFailed', this.metricFailed({ period }), 'A backup of the mail store failed'],
      ['BackupExpired', this.metricExpired({ period }), 'A backup of the mail store did not begin or end in time'],
      ['CopyFailed', this.metricCopiesFailed({ period }), 'A backup was not copied to the other vault'],
      ['RestoreFailed', this.metricRestoresFailed({ period }), 'A restore of a file system failed'],
    ];
    for (const [id, metric, what] of failures) {
      this.alarm(topic, id, {
        metric,
        description: `${what}. Check first: the message of the job in AWS Backup, then rights of its role and of the keys.`,
      });
    }
    if (this.restoreCheck) this.addRestoreCheckAlarms(topic);
  }

  private addRestoreCheckAlarms(topic: ITopic): void {
    const first = 'Check first: the lines that libexec/check-store wrote to standard error, each a message or session.';
    addTopicAlarm(this, 'RestoreCheckFailed', topic, {
      metric: this.metricRestoreChecks({ period: Duration.hours(1) }),
      threshold: 1,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      // Until the next check.
      treatMissingData: TreatMissingData.IGNORE,
      alarmDescription: `A restored mail store did not pass its check. ${first}`,
    });
    addTopicAlarm(this, 'RestoreCheckStale', topic, {
      metric: this.metricRestoreChecks({ period: Duration.days(1), statistic: Stats.MAXIMUM }),
      threshold: 1,
      evaluationPeriods: 7, // days: CloudWatch looks back no further
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.BREACHING,
      alarmDescription:
        'No restored mail store passed its check for a week. Check first: whether the weekly restore test of AWS Backup ' +
        'ran, then whether a machine was started for what it restored (log of the function of RestoreCheck).',
    });
  }

  private alarm(topic: ITopic, id: string, rule: { metric: Metric; stale?: boolean; description: string }): void {
    addTopicAlarm(this, id, topic, {
      metric: rule.metric,
      threshold: 1,
      evaluationPeriods: rule.stale ? 3 : 1,
      comparisonOperator: rule.stale
        ? ComparisonOperator.LESS_THAN_THRESHOLD
        : ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: rule.stale ? TreatMissingData.BREACHING : TreatMissingData.NOT_BREACHING,
      alarmDescription: rule.description,
    });
  }

  private ofVault(metricName: string, options?: MetricOptions): Metric {
    return new Metric({
      namespace: 'AWS/Backup',
      metricName,
      dimensionsMap: { BackupVaultName: this.vault.backupVaultName },
      statistic: Stats.SUM,
      ...options,
    });
  }

  private createKey(): Key {
    return new Key(this, 'Key', {
      description: `Backups of the mail store (${Stack.of(this).stackName})`,
      enableKeyRotation: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
  }

  private createPlan(keep: Required<Periods>, copyTo?: IBackupVault): BackupPlan {
    const rule = (
      ruleName: string,
      scheduleExpression: Schedule,
      deleteAfter: Duration,
      moveToColdStorageAfter?: Duration,
    ): BackupPlanRule => {
      const copy: BackupPlanCopyActionProps | undefined = copyTo && {
        destinationBackupVault: copyTo,
        deleteAfter,
        moveToColdStorageAfter,
      };
      const hourly = ruleName === 'Hourly';
      return new BackupPlanRule({
        ruleName,
        scheduleExpression,
        deleteAfter,
        moveToColdStorageAfter,
        startWindow: Duration.hours(1),
        // The first backup of a store copies all of it.
        completionWindow: hourly ? Duration.hours(12) : Duration.days(2),
        copyActions: copy && !hourly ? [copy] : undefined,
      });
    };
    // Cold storage is billed for 90 days at least.
    const cold = keep.keepMonthly.toDays() >= 120 ? Duration.days(30) : undefined;
    return new BackupPlan(this, 'Plan', {
      backupVault: this.vault,
      backupPlanRules: [
        rule('Hourly', Schedule.cron({ minute: '10' }), keep.keepHourly),
        // After the nightly window of the nodes, which begins at 02:00.
        rule('Daily', Schedule.cron({ minute: '40', hour: '3' }), keep.keepDaily),
        rule('Monthly', Schedule.cron({ minute: '40', hour: '4', day: '1' }), keep.keepMonthly, cold),
      ],
    });
  }

  private createRole(id: string, description: string, statements: PolicyStatement[]): IRole {
    const role = new Role(this, id, { description, assumedBy: new ServicePrincipal('backup.amazonaws.com') });
    const policy = new ManagedPolicy(role, 'Policy', { description, roles: [role], statements });
    const byArn = Role.fromRoleArn(this, `${id}ByArn`, role.roleArn, { mutable: false });
    this.plan.node.addDependency(policy);
    return byArn;
  }

  private createRestoreTest(fileSystemArn: string, role: IRole, day: string): string {
    const name = Names.uniqueResourceName(this, { maxLength: 50, separator: '_', allowedSpecialCharacters: '_' });
    const plan = new CfnRestoreTestingPlan(this, 'RestoreTest', {
      restoreTestingPlanName: name,
      scheduleExpression: `cron(0 6 ? * ${day} *)`,
      startWindowHours: 4,
      recoveryPointSelection: {
        algorithm: 'LATEST_WITHIN_WINDOW',
        includeVaults: [this.vault.backupVaultArn],
        recoveryPointTypes: ['SNAPSHOT'],
        selectionWindowDays: 7,
      },
    });
    const selection = new CfnRestoreTestingSelection(this, 'RestoreTestStore', {
      restoreTestingPlanName: name,
      restoreTestingSelectionName: 'Store',
      protectedResourceType: 'EFS',
      protectedResourceArns: [fileSystemArn],
      iamRoleArn: role.roleArn,
      // Time for somebody, or a function, to look into the restored file system.
      validationWindowHours: 4,
    });
    selection.addResourceDependency(plan);
    return plan.attrRestoreTestingPlanArn;
  }
}

interface Periods {
  readonly keepHourly: Duration;
  readonly keepDaily: Duration;
  readonly keepMonthly: Duration;
}

function checkPeriods(keep: Periods, lock?: BackupLock): void {
  const least = lock?.configuration?.minRetention;
  for (const [name, period] of Object.entries(keep) as [string, Duration][]) {
    checkWholeDays(name, period, 1);
    const days = period.toDays();
    if (least && days < least.toDays()) {
      throw new Error(
        `${name} must be >= the lock's shortest retention (${least.toDays()} days), got ${days} days; ` +
          'raise it, or the vault refuses these backups',
      );
    }
  }
}
