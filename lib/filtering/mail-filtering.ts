import { Duration, Size, Stack, Token } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { agentMetric } from '../node/fleet-metrics';
import { NodeConfiguration } from '../node/node-configuration';
import { addTopicAlarm } from '../private/topic-alarm';
import { FilterOutage } from './filter-outage';

/** What an owner chooses about the filter. */
export interface MailFilteringOptions {
  /**
   * What happens to mail while the filter, or the virus scanner, does not answer.
   * @default FilterOutage.ACCEPT
   */
  readonly duringOutage?: FilterOutage;

  /**
   * Whether mail from outside that looks somewhat like spam, with a score of 4 or more, is put off for five minutes once:
   * what sends spam seldom comes again.
   * @default true
   */
  readonly greylisting?: boolean;

  /**
   * Whether ClamAV looks for viruses, in both directions. 1.5 GiB of memory of each node are set aside for its signatures.
   * @default true
   */
  readonly virusScan?: boolean;

  /**
   * Score from which mail goes to Junk. Above 4, at which greylisting begins, and below `rejectScore`.
   * @default 6
   */
  readonly junkScore?: number;

  /**
   * Score from which mail is refused in SMTP, so that its sender hears of it. 100 at most.
   * @default 15
   */
  readonly rejectScore?: number;
}

/** Properties of `MailFiltering`. */
export interface MailFilteringProps extends MailFilteringOptions {
  /**
   * Name of the cluster, the dimension `Cluster` of its metrics.
   * @default - name of the stack
   */
  readonly clusterName?: string;
}

/** Memory of a node for signatures of viruses, and for rspamd and its statistics. */
const MEMORY = { virusScan: Size.mebibytes(1536), filter: Size.mebibytes(512) };

/**
 * Spam and virus filtering on the nodes, by rspamd and ClamAV as milters of Postfix: spam and viruses are refused while
 * their sender waits, what may be spam goes to Junk, and moves into and out of Junk teach all nodes (docs/filtering.md).
 *
 * @throws when a score is out of its range
 */
export class MailFiltering extends Construct {
  /** What nodes need to filter. It asks for no AWS rights. */
  public readonly configuration: NodeConfiguration;

  private readonly clusterName: string;
  private readonly outage: FilterOutage;

  constructor(scope: Construct, id: string, props: MailFilteringProps = {}) {
    super(scope, id);
    this.clusterName = props.clusterName ?? Stack.of(this).stackName;
    this.outage = props.duringOutage ?? FilterOutage.ACCEPT;
    const { junkScore = 6, rejectScore = 15, virusScan = true } = props;
    checkScore('junkScore', junkScore, 4, 100);
    checkScore('rejectScore', rejectScore, junkScore, 100);
    this.configuration = {
      environment: {
        MAIL_FILTERING: 'yes',
        MAIL_FILTER_OUTAGE: this.outage,
        MAIL_GREYLISTING: (props.greylisting ?? true) ? 'yes' : 'no',
        MAIL_VIRUS_SCAN: virusScan ? 'yes' : 'no',
        MAIL_JUNK_SCORE: `${junkScore}`,
        MAIL_REJECT_SCORE: `${rejectScore}`,
      },
      memory: Size.mebibytes(MEMORY.filter.toMebibytes() + (virusScan ? MEMORY.virusScan.toMebibytes() : 0)),
    };
  }

  /** Daemons of the filter (rspamd, ClamAV) that nobody can connect to, on the node with most of them. */
  public metricDaemonsDown(options?: MetricOptions): Metric {
    return agentMetric('FilterDaemonsDown', this.clusterName, Stats.MAXIMUM, options);
  }

  /**
   * Adds the alarm that tells when mail can't be examined.
   *
   * @param topic where it goes
   */
  public addAlarms(topic: ITopic): void {
    const meanwhile = this.outage === FilterOutage.DEFER ? 'put off' : 'taken unseen';
    addTopicAlarm(this, 'Down', topic, {
      metric: this.metricDaemonsDown({ period: Duration.minutes(5) }),
      threshold: 0,
      // A new node has no signatures yet, for minutes.
      evaluationPeriods: 3,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        `rspamd or ClamAV has been away on a node for 15 minutes; mail that it should see is ${meanwhile}. Check first: ` +
        '`systemctl status rspamd mail-virus-scan` on the node, then `journalctl -u clamav-freshclam` for whether ' +
        'signatures come, and memory.',
    });
  }
}

function checkScore(name: string, value: number, above: number, max: number): void {
  if (!Token.isUnresolved(value) && !(value > above && value <= max)) {
    throw new Error(`${name} must be above ${above} and <= ${max}, got ${value}; change ${name}`);
  }
}
