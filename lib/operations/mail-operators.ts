import { CfnOutput, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { IBackupVault } from 'aws-cdk-lib/aws-backup';
import { CfnAutoScalingGroup } from 'aws-cdk-lib/aws-autoscaling';
import { IPrincipal, ManagedPolicy, PolicyStatement, Role } from 'aws-cdk-lib/aws-iam';
import { IKey, Key, KeySpec, KeyUsage } from 'aws-cdk-lib/aws-kms';
import { ILogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { MailArchive, MailJournal } from '../archive';
import { acknowledge, findingId } from '../compliance';
import { IMailDirectory } from '../directory';
import { MailFleet } from '../node';
import { checkWhole } from '../private/check-whole';
import { onlySignedBy } from '../security/key-policy';
import { DirectoryTunnel } from './directory-tunnel';
import { NodeSessions } from './node-sessions';
import { people } from './people';
import { RestoreAccess } from './restore-access';
import { noMailNorSecrets, readAlarmsAndLogs, readRecords, tendNodes } from './role-statements';

/** Who may do what, each unless nobody is named. */
export interface MailOperatorsOptions {
  /**
   * Who keeps the nodes running: logged shells on nodes, instance refresh, lifecycle, number of nodes, alarms and logs.
   * @default - no such role
   */
  readonly operators?: IPrincipal[];

  /**
   * Who checks: logs with those of sessions, evidence, names and locks of archived mail, CloudTrail, AWS Config. No mail, no secrets.
   * @default - no such role
   */
  readonly auditors?: IPrincipal[];

  /**
   * Who adds, disables and removes users, with `mail-users`. The users file, or a tunnel to the database of users, and nothing else.
   * @default - no such role
   */
  readonly helpDesk?: IPrincipal[];

  /**
   * Longest session of each role, 1 to 12 hours, whole minutes; shells on nodes end then, too. AWS allows one hour to who
   * comes from another role, as with Identity Center.
   * @default Duration.hours(1)
   */
  readonly sessionLength?: Duration;

  /**
   * How long logs of shells are kept.
   * @default RetentionDays.ONE_YEAR
   */
  readonly sessionLogRetention?: RetentionDays;

  /**
   * Whether operators may erase people's mail, with `mail-erase`; brings a key that signs proofs. 1 USD a month.
   * @default false
   */
  readonly erasure?: boolean;

  /**
   * Whether operators may read the journal, to get mail back with `mail-restore`, and the password of its own login if there is one.
   * @default false
   */
  readonly restore?: boolean;
}

/** Properties of `MailOperators`. */
export interface MailOperatorsProps extends MailOperatorsOptions {
  /** Nodes. */
  readonly fleet: MailFleet;

  /** Users. */
  readonly directory: IMailDirectory;

  /** Archived mail. */
  readonly archive: MailArchive;

  /**
   * Journal with its evidence.
   * @default - none
   */
  readonly journal?: MailJournal;

  /**
   * Vault of backups, for proofs of erasure to say until when they hold what was erased.
   * @default - none
   */
  readonly backupVault?: IBackupVault;

  /**
   * Login of `mail-restore`.
   * @default - none
   */
  readonly restoreAccess?: RestoreAccess;

  /**
   * Logs that operators and auditors read.
   * @default - none
   */
  readonly logGroups?: ILogGroup[];

  /** Key of the logs of sessions. An imported key must let CloudWatch Logs use it. */
  readonly encryptionKey: IKey;

  /**
   * Whether nodes offer Session Manager.
   * @default true
   */
  readonly sessionManager?: boolean;
}

/**
 * Roles of the people who run the mail system: operator, auditor and help desk, each with what it needs and no more
 * (docs/operators.md). Who has AWS credentials needs a second factor to take one.
 *
 * @throws when nobody is named, on principals that are not people, on lengths out of bounds, and when `erasure` or `restore` are
 *   asked for without operators or without a journal
 */
export class MailOperators extends Construct {
  /** Keeps nodes running; nothing unless somebody may be it. */
  public readonly operator?: Role;
  /** Checks; nothing unless somebody may be it. */
  public readonly auditor?: Role;
  /** Tends users; nothing unless somebody may be it. */
  public readonly helpDesk?: Role;

  /** Logged shells on nodes; nothing without operators, and when nodes offer none. */
  public readonly sessions?: NodeSessions;
  /** The help desk's way to a database of users; nothing without both, and when nodes offer no Session Manager. */
  public readonly directoryTunnel?: DirectoryTunnel;
  /** Signs proofs of erasure; nothing unless asked for. */
  public readonly erasureKey?: Key;

  private readonly length: Duration;

  constructor(scope: Construct, id: string, props: MailOperatorsProps) {
    super(scope, id);
    this.length = props.sessionLength ?? Duration.hours(1);
    checkProps(props, this.length);
    this.operator = this.createRole('Operator', 'operators', props.operators);
    this.auditor = this.createRole('Auditor', 'auditors', props.auditors);
    this.helpDesk = this.createRole('HelpDesk', 'helpDesk', props.helpDesk);
    if (this.operator && (props.sessionManager ?? true)) {
      this.sessions = new NodeSessions(this, 'Sessions', {
        fleet: props.fleet,
        encryptionKey: props.encryptionKey,
        sessionLength: this.length,
        logRetention: props.sessionLogRetention,
      });
    }
    if (this.operator) {
      this.letOperate(this.operator, props);
      this.erasureKey = props.erasure ? this.letErase(this.operator, props) : undefined;
    }
    if (this.auditor) {
      this.letAudit(this.auditor, props);
    }
    if (this.helpDesk) {
      props.directory.grantEdit(this.createPolicy('HelpDeskPolicy', 'Mail help desk: users', this.helpDesk));
      this.directoryTunnel = this.letReachUsers(this.helpDesk, props);
    }
    this.addOutputs();
  }

  private createRole(id: string, prop: string, principals: IPrincipal[] = []): Role | undefined {
    if (principals.length === 0) {
      return undefined;
    }
    return new Role(this, id, {
      description: `Mail ${prop} of ${Stack.of(this).stackName}`,
      assumedBy: people(prop, principals),
      maxSessionDuration: this.length,
    });
  }

  private letOperate(role: Role, { fleet, journal, restore, restoreAccess, logGroups = [] }: MailOperatorsProps): void {
    const { partition, region, account } = Stack.of(this);
    // The id in the middle is given by AWS; the name alone is unique in account and region.
    const groups = fleet.autoScalingGroups.map(
      (group) =>
        `arn:${partition}:autoscaling:${region}:${account}:autoScalingGroup:*:autoScalingGroupName/` +
        (group.node.defaultChild as CfnAutoScalingGroup).ref,
    );
    const policy = this.createPolicy('NodesPolicy', 'Mail operators: nodes', role, tendNodes(groups));
    acknowledge(
      policy,
      ...groups.map((arn) => ({
        id: findingId(policy, 'AwsSolutions-IAM5', 'Resource', arn),
        reason:
          "The * stands for the id that AWS puts before a group's name in its ARN; the name, which is unique, is given " +
          '(test/operations/mail-operators.test.ts).',
      })),
    );
    this.acknowledgeReads(policy);
    this.sessions?.attachTo(this.createPolicy('SessionsPolicy', 'Mail operators: shells on nodes', role));
    this.letRead('OperatorLogsPolicy', 'Mail operators: alarms and logs', role, logGroups);
    if (restore) {
      const policy = this.createPolicy('RestorePolicy', 'Mail operators: get mail back', role);
      journal!.grantRestore(policy);
      restoreAccess?.grantLogin(policy);
    }
  }

  /** A key for proofs, with which operators alone sign. */
  private letErase(role: Role, { directory, journal, backupVault }: MailOperatorsProps): Key {
    const key = new Key(this, 'ErasureKey', {
      description: `Signs proofs of erasure (${Stack.of(this).stackName})`,
      keySpec: KeySpec.ECC_NIST_P256,
      keyUsage: KeyUsage.SIGN_VERIFY,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    onlySignedBy(key, 'OnlyOperatorsSign', role);
    const policy = this.createPolicy('ErasurePolicy', 'Mail operators: erase mail', role, [
      new PolicyStatement({
        sid: 'SignProofs',
        actions: ['kms:GetPublicKey', 'kms:Sign'],
        resources: [key.keyArn],
      }),
    ]);
    if (backupVault) {
      policy.addStatements(
        new PolicyStatement({
          sid: 'SeeBackups',
          actions: ['backup:ListRecoveryPointsByBackupVault'],
          resources: [backupVault.backupVaultArn],
        }),
      );
    }
    directory.grantEdit(policy);
    journal!.grantErase(policy);
    return key;
  }

  /** A database answers in the network of the nodes only. */
  private letReachUsers(
    role: Role,
    { directory, fleet, sessionManager }: MailOperatorsProps,
  ): DirectoryTunnel | undefined {
    if (!directory.databaseEndpoint || !(sessionManager ?? true)) return undefined;
    const tunnel = new DirectoryTunnel(this, 'DirectoryTunnel', { fleet, endpoint: directory.databaseEndpoint });
    const policy = this.createPolicy('TunnelPolicy', 'Mail help desk: tunnel to users', role, [
      // Whoever opens it must name a node.
      new PolicyStatement({ sid: 'FindNodes', actions: ['ec2:DescribeInstances'], resources: ['*'] }),
    ]);
    this.acknowledgeReads(policy);
    tunnel.attachTo(policy);
    return tunnel;
  }

  private letAudit(role: Role, props: MailOperatorsProps): void {
    const { archive, journal, encryptionKey, logGroups = [] } = props;
    const groups = this.sessions ? [...logGroups, this.sessions.logGroup] : logGroups;
    this.letRead('AuditorLogsPolicy', 'Mail auditors: alarms and logs', role, groups);
    const records = this.createPolicy(
      'RecordsPolicy',
      'Mail auditors: what AWS recorded',
      role,
      readRecords(Stack.of(this), encryptionKey),
    );
    this.acknowledgeReads(records);
    const policy = this.createPolicy('ArchivePolicy', 'Mail auditors: archive without mail', role);
    archive.grantReadMetadata(policy);
    journal?.evidence?.grantReadEvidence(policy);
    policy.addStatements(...noMailNorSecrets(archive, journal?.keys));
  }

  private letRead(id: string, description: string, role: Role, logGroups: ILogGroup[]): void {
    const policy = this.createPolicy(id, description, role, readAlarmsAndLogs(logGroups));
    this.acknowledgeReads(policy);
  }

  private acknowledgeReads(policy: ManagedPolicy): void {
    acknowledge(policy, {
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason:
        'These actions list or read state and records and can not be limited to a resource; none reads mail or a secret, ' +
        'none changes anything (test/operations/mail-operators.test.ts).',
    });
  }

  private createPolicy(id: string, description: string, role: Role, statements?: PolicyStatement[]): ManagedPolicy {
    return new ManagedPolicy(this, id, { description, statements, roles: [role] });
  }

  private addOutputs(): void {
    for (const [id, value, description] of [
      ['OperatorRole', this.operator?.roleArn, 'Role of mail operators'],
      ['AuditorRole', this.auditor?.roleArn, 'Role of mail auditors'],
      ['HelpDeskRole', this.helpDesk?.roleArn, 'Role of the mail help desk'],
      ['SessionCommand', this.sessions?.command, 'Opens a shell on a node'],
      ['DirectoryTunnelCommand', this.directoryTunnel?.command, 'Opens a tunnel to users: mail-users --tunnel 5433'],
      ['ErasureKeyArn', this.erasureKey?.keyArn, 'Signs proofs of erasure: mail-erase finish --sign'],
    ] as const) {
      if (value !== undefined) {
        new CfnOutput(this, `${id}Output`, { value, description }).overrideLogicalId(id);
      }
    }
  }
}

function checkProps(props: MailOperatorsProps, length: Duration): void {
  if (![props.operators, props.auditors, props.helpDesk].some((principals) => principals?.length)) {
    throw new Error('operators must name somebody, got nobody; set operators, auditors or helpDesk, or leave it out');
  }
  checkWhole('sessionLength', length.toMinutes({ integral: false }), { min: 60, max: 720, unit: 'minutes' });
  for (const [name, wanted] of [
    ['erasure', props.erasure],
    ['restore', props.restore],
  ] as const) {
    if (wanted && !props.operators?.length) {
      throw new Error(`${name} is for operators, got none; name them, or leave ${name} out`);
    }
    if (wanted && !props.journal) {
      throw new Error(`${name} needs a journal, got none; set journal, or leave ${name} out`);
    }
  }
}
