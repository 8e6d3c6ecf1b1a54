import { Duration, Stack, Token } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { agentMetric } from '../node/fleet-metrics';
import { NodeConfiguration } from '../node/node-configuration';
import { addTopicAlarm } from '../private/topic-alarm';

/** How much users may send by submission. Each node counts for itself; docs/outbound.md. */
export interface SendingLimits {
  /**
   * Recipients that one user may send to in an hour, at each node; a message to five counts five times. 10 to 1 000 000.
   * @default 1000
   */
  readonly recipientsPerHour?: number;

  /**
   * Recipients that all users of one domain together may send to in an hour, at each node. 10 to 10 000 000.
   * @default 20000
   */
  readonly domainRecipientsPerHour?: number;

  /**
   * Users, such as `newsletter@example.com`, for whom no limit holds; they do not count for their domain either.
   * @default - none
   */
  readonly exempt?: string[];
}

/** Properties of `MailSendingLimits`. */
export interface MailSendingLimitsProps extends SendingLimits {
  /**
   * Name of the cluster, the dimension `Cluster` of its metrics.
   * @default - name of the stack
   */
  readonly clusterName?: string;
}

/**
 * What keeps a stolen password from sending a flood: beyond a number of recipients in an hour nodes put mail of a user off (450), log it,
 * and an alarm goes off.
 *
 * @throws when a number is out of its range, or an exempt user is no address
 */
export class MailSendingLimits extends Construct {
  /** What nodes need to know. */
  public readonly configuration: NodeConfiguration;

  private readonly clusterName: string;

  constructor(scope: Construct, id: string, props: MailSendingLimitsProps = {}) {
    super(scope, id);
    this.clusterName = props.clusterName ?? Stack.of(this).stackName;
    const { recipientsPerHour = 1000, domainRecipientsPerHour = 20_000, exempt = [] } = props;
    checkNumber('recipientsPerHour', recipientsPerHour, 1_000_000);
    checkNumber('domainRecipientsPerHour', domainRecipientsPerHour, 10_000_000);
    for (const user of exempt) {
      if (!Token.isUnresolved(user) && !/^[a-z0-9][a-z0-9._-]*@[a-z0-9.-]+$/.test(user)) {
        throw new Error(
          `exempt must have lower-case addresses such as newsletter@example.com, got ${JSON.stringify(user)}`,
        );
      }
    }
    this.configuration = {
      environment: {
        MAIL_SEND_PER_USER: `${recipientsPerHour}`,
        MAIL_SEND_PER_DOMAIN: `${domainRecipientsPerHour}`,
        ...(exempt.length > 0 ? { MAIL_SEND_EXEMPT: exempt.join(' ') } : {}),
      },
    };
  }

  /** Recipients that users sent to; the sum over a period. */
  public metricRecipients(options?: MetricOptions): Metric {
    return agentMetric('SendingRecipients', this.clusterName, Stats.SUM, options);
  }

  /** Messages that were put off because a user or a domain had sent too many; the sum over a period. */
  public metricRefused(options?: MetricOptions): Metric {
    return agentMetric('SendingRefused', this.clusterName, Stats.SUM, options);
  }

  /**
   * Adds the alarm `TooMuchMail`.
   *
   * @param topic where it goes
   */
  public addAlarms(topic: ITopic): void {
    addTopicAlarm(this, 'TooMuchMail', topic, {
      metric: this.metricRefused({ period: Duration.minutes(5) }),
      threshold: 0,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        'A user sends more than anybody should, and is put off. Check first: `journalctl -u mail-sending` on the nodes for who, and where ' +
        'from (`journalctl -t postfix/submission/smtpd`). If it is not them, `mail-users password` ends the sessions; then `postqueue ' +
        '-p` for what is left. If it is, name them in sendingLimits.exempt.',
    });
  }
}

function checkNumber(name: string, value: number, max: number): void {
  if (!Token.isUnresolved(value) && !(Number.isInteger(value) && value >= 10 && value <= max)) {
    throw new Error(`${name} must be a whole number from 10 to ${max}, got ${value}`);
  }
}
