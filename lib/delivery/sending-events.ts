import { Metric, MetricOptions, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import { EventBus, Match, Rule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { ConfigurationSet, EmailSendingEvent, EventDestination } from 'aws-cdk-lib/aws-ses';
import { Construct } from 'constructs';
import { HandlerFunction } from '../private/handler-function';

/** Properties of `SendingEvents`. */
export interface SendingEventsProps {
  /** Mail that is sent with it is watched. */
  readonly configurationSet: ConfigurationSet;

  /**
   * Key of the log.
   * @default - CloudWatch Logs' own key
   */
  readonly encryptionKey?: IKey;
}

/**
 * A log of what became of mail that SES took and did not deliver: one line of JSON for each recipient of a bounce, a
 * complaint, a delay, or a message that SES refused. SES itself keeps the addresses that get no more mail.
 *
 * The way is SES → EventBridge → function → log group, encrypted and kept for a year.
 */
export class SendingEvents extends Construct {
  private readonly handler: HandlerFunction;

  constructor(scope: Construct, id: string, props: SendingEventsProps) {
    super(scope, id);
    const bus = EventBus.fromEventBusName(this, 'Bus', 'default');
    props.configurationSet.addEventDestination('Events', {
      destination: EventDestination.eventBus(bus),
      events: [
        EmailSendingEvent.BOUNCE,
        EmailSendingEvent.COMPLAINT,
        EmailSendingEvent.DELIVERY_DELAY,
        EmailSendingEvent.REJECT,
      ],
    });
    this.handler = new HandlerFunction(this, 'Handler', {
      handler: 'sending-events',
      description: 'Logs bounces and complaints of mail through SES',
      encryptionKey: props.encryptionKey,
      statements: [],
      calls:
        'EventBridge alone calls this function, and tries again for a day when it fails, which an alarm tells. It writes ' +
        'to its own log and calls nothing (test/delivery/sending-events.test.ts).',
    });
    new Rule(this, 'Rule', {
      description: 'Bounces and complaints of mail through SES',
      eventPattern: {
        source: ['aws.ses'],
        detail: {
          mail: { tags: { 'ses:configuration-set': Match.exactString(props.configurationSet.configurationSetName) } },
        },
      },
      targets: [new LambdaFunction(this.handler.function)],
    });
  }

  /** Events that could not be logged; the sum over a period. */
  public metricFailures(options?: MetricOptions): Metric {
    return this.handler.function.metricErrors({ statistic: Stats.SUM, ...options });
  }
}
