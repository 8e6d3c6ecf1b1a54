import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { ManagedPolicy, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { CfnDocument } from 'aws-cdk-lib/aws-ssm';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { MailFleet } from '../node';
import { letStartSessions, sessionCommand, tagNodes } from './session-rights';

/** A shell in which nothing happens is closed after this many minutes. */
const IDLE_MINUTES = 15;

/** Properties of `NodeSessions`. */
export interface NodeSessionsProps {
  /** Nodes to open shells on. */
  readonly fleet: MailFleet;

  /** Key of the log. An imported key must let CloudWatch Logs use it. */
  readonly encryptionKey: IKey;

  /**
   * Longest session, whole minutes, up to a day.
   * @default Duration.hours(1)
   */
  readonly sessionLength?: Duration;

  /**
   * How long logs of sessions are kept.
   * @default RetentionDays.ONE_YEAR
   */
  readonly logRetention?: RetentionDays;
}

/**
 * Shells on nodes by Session Manager, of which everything that is typed and shown goes to a log as it happens.
 *
 * Nodes get a tag and the right to write that log, so they are replaced once when this is added.
 */
export class NodeSessions extends Construct {
  /** What is typed and shown; kept when the stack is deleted. */
  public readonly logGroup: LogGroup;

  /** Name of the session document that each session must name. */
  public readonly documentName: string;

  /** Opens a shell; with the id of a node in place of `NODE`. */
  public readonly command: string;

  private readonly clusterName: string;

  constructor(scope: Construct, id: string, props: NodeSessionsProps) {
    super(scope, id);
    this.clusterName = props.fleet.clusterName;
    this.logGroup = new LogGroup(this, 'Log', {
      encryptionKey: props.encryptionKey,
      retention: props.logRetention ?? RetentionDays.ONE_YEAR,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    const document = new CfnDocument(this, 'Document', {
      documentType: 'Session',
      updateMethod: 'NewVersion',
      // https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-schema.html
      content: {
        schemaVersion: '1.0',
        description: `Shells on the mail nodes of ${this.clusterName}, logged`,
        sessionType: 'Standard_Stream',
        inputs: {
          cloudWatchLogGroupName: this.logGroup.logGroupName,
          cloudWatchEncryptionEnabled: true,
          cloudWatchStreamingEnabled: true,
          idleSessionTimeout: `${IDLE_MINUTES}`,
          maxSessionDuration: `${(props.sessionLength ?? Duration.hours(1)).toMinutes()}`,
        },
      },
    });
    this.documentName = document.ref;
    this.command = sessionCommand(this, this.documentName);
    this.letNodesLog(props.fleet);
    tagNodes(props.fleet);
  }

  /** Gives a person's policy what it takes to open sessions by this document, which logs them, and by no other, and to end their own. */
  public attachTo(policy: ManagedPolicy): void {
    const { clusterName, documentName } = this;
    letStartSessions(this, policy, { sid: 'OnlyLogged', clusterName, documentName });
  }

  /** The agent looks whether the group is encrypted, as the document wants, and for its stream. */
  private letNodesLog(fleet: MailFleet): void {
    const { partition, region, account } = Stack.of(this);
    const groups = `arn:${partition}:logs:${region}:${account}:log-group:*`;
    const policy = new ManagedPolicy(this, 'LogPolicy', {
      description: 'Mail nodes: logs of sessions',
      roles: [fleet.role],
      statements: [
        new PolicyStatement({
          sid: 'LogSessions',
          actions: ['logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'],
          resources: [this.logGroup.logGroupArn],
        }),
        new PolicyStatement({ sid: 'SeeEncryption', actions: ['logs:DescribeLogGroups'], resources: [groups] }),
      ],
    });
    acknowledge(policy, {
      id: findingId(this, 'AwsSolutions-IAM5', 'Resource', groups),
      reason:
        'DescribeLogGroups lists groups and can not be limited to one; it tells names and settings, no events. The agent ' +
        'asks whether the log of sessions is encrypted (test/operations/mail-operators.test.ts).',
    });
  }
}
