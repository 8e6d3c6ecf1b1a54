import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Metric, MetricOptions } from 'aws-cdk-lib/aws-cloudwatch';
import { Rule, RuleTargetInput, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IHostedZone } from 'aws-cdk-lib/aws-route53';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { NodeConfiguration } from '../node/node-configuration';
import { checkWholeDays } from '../private/check-whole';
import { HandlerFunction } from '../private/handler-function';
import { addRotationAlarm, rotateByFunction, rotationFailures } from '../private/rotate-by-function';
import { checkZoneHolds } from '../private/hosted-zone';
import { readSecret, rotateSecret } from '../private/secret-access';
import { DKIM_SELECTORS, selectorName } from './dkim-text';

/** What the selector records' TTL is; a new key is not used before. */
const PROPAGATION = Duration.seconds(300);

/** Properties of `DkimKey`. */
export interface DkimKeyProps {
  /** Name that the selectors are published below, such as `mail.example.com`. */
  readonly hostname: string;

  /** Public zone that holds the name. */
  readonly hostedZone: IHostedZone;

  /** Key for the private key, and for the function's logs. */
  readonly encryptionKey: IKey;

  /**
   * Age at which a key is replaced, whole days, at most 1000.
   * @default Duration.days(90)
   */
  readonly rotateAfter?: Duration;

  /**
   * How long the key before stays published, for mail in transit. Whole days, at least 5, for which queues keep mail,
   * and at most half of `rotateAfter`.
   * @default Duration.days(7)
   */
  readonly overlap?: Duration;
}

/**
 * The key that signs outgoing mail (RFC 6376), RSA with 2048 bits, in a secret: `{"selector", "privateKey" (PKCS #8 in
 * PEM), "createdAt"}`. It is made by a function, first right after the deployment, and is in no template.
 *
 * Two selectors, `mail1` and `mail2`, take turns. A new key is published, and signs when every resolver knows it; the
 * one before stays published while mail in transit may need it, and is revoked then (docs/dns.md).
 *
 * @throws when the zone does not hold the name, or a time is out of its range
 */
export class DkimKey extends Construct {
  /** The signing key. Whoever sends mail reads it, at least once within `overlap`. */
  public readonly secret: Secret;

  /** What nodes need to sign with it. */
  public readonly configuration: NodeConfiguration;

  private readonly handler: HandlerFunction;

  constructor(scope: Construct, id: string, props: DkimKeyProps) {
    super(scope, id);
    checkZoneHolds(props.hostedZone, props.hostname);
    const rotateAfter = props.rotateAfter ?? Duration.days(90);
    const overlap = props.overlap ?? Duration.days(7);
    checkWholeDays('rotateAfter', rotateAfter, 10, 1000);
    checkWholeDays('overlap', overlap, 5, Math.floor(rotateAfter.toDays() / 2));

    this.secret = new Secret(this, 'Secret', {
      description: 'DKIM key: {"selector", "privateKey", "createdAt"}',
      encryptionKey: props.encryptionKey,
      // Until the first rotation there is a placeholder, which nobody takes for a key.
      generateSecretString: { secretStringTemplate: '{}', generateStringKey: 'placeholder' },
      // Another key is as good: the one who deletes it publishes the next.
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.configuration = {
      environment: { MAIL_DKIM_SECRET: this.secret.secretArn },
      statements: readSecret(this, this.secret),
    };
    this.handler = this.createHandler(props, overlap);
    // The first rotation begins at once, and makes the first key.
    rotateByFunction(this, { secret: this.secret, handler: this.handler, rotateAfter, immediately: true });
    this.retireDaily();
  }

  /** Steps of rotations that failed. Sum. */
  public metricFailures(options?: MetricOptions): Metric {
    return rotationFailures(this.handler, options);
  }

  /**
   * Adds the alarm `RotationFailed`.
   *
   * @param topic where it goes
   */
  public addAlarms(topic: ITopic): void {
    addRotationAlarm(this, 'RotationFailed', topic, {
      metric: this.metricFailures(),
      alarmDescription:
        'The DKIM key could not be rotated, or the one before not revoked. Mail goes on to be signed with the key in ' +
        "use. Check first: the function's log for the step that failed, then mail-dns check for what is published.",
    });
  }

  private createHandler({ hostname, hostedZone, encryptionKey }: DkimKeyProps, overlap: Duration): HandlerFunction {
    const change = `arn:${Stack.of(this).partition}:route53:::change/*`;
    const handler = new HandlerFunction(this, 'Handler', {
      handler: 'dkim-rotation',
      description: 'Rotates the DKIM key of the mail system',
      encryptionKey,
      statements: [
        ...rotateSecret(this, this.secret),
        new PolicyStatement({
          sid: 'PublishSelectors',
          actions: ['route53:ChangeResourceRecordSets'],
          resources: [hostedZone.hostedZoneArn],
          conditions: {
            'ForAllValues:StringEquals': {
              'route53:ChangeResourceRecordSetsNormalizedRecordNames': DKIM_SELECTORS.map((selector) =>
                selectorName(selector, hostname),
              ),
              'route53:ChangeResourceRecordSetsRecordTypes': ['TXT'],
              'route53:ChangeResourceRecordSetsActions': ['UPSERT'],
            },
          },
        }),
        new PolicyStatement({ actions: ['route53:ListResourceRecordSets'], resources: [hostedZone.hostedZoneArn] }),
        new PolicyStatement({ actions: ['route53:GetChange'], resources: [change] }),
      ],
      environment: {
        SECRET_ARN: this.secret.secretArn,
        HOSTED_ZONE_ID: hostedZone.hostedZoneId,
        HOSTNAME: hostname,
        OVERLAP_DAYS: `${overlap.toDays()}`,
        PROPAGATION_SECONDS: `${PROPAGATION.toSeconds()}`,
      },
      timeout: Duration.minutes(10),
      calls:
        'Secrets Manager calls this function and repeats a rotation that failed; EventBridge calls it once a day, and ' +
        'the next day makes up for a failure. Both raise an alarm (test/dns/dkim-rotation.test.ts). It talks to ' +
        'Secrets Manager and Route 53 only, over TLS.',
    });
    acknowledge(handler, {
      id: findingId(this, 'AwsSolutions-IAM5', 'Resource', change),
      reason:
        'route53:GetChange tells whether a change is done; the id of a change is not known before it is made ' +
        '(test/dns/dkim-key.test.ts).',
    });
    return handler;
  }

  private retireDaily(): void {
    new Rule(this, 'Retire', {
      description: 'Revokes the DKIM key before when no mail needs it any more',
      schedule: Schedule.rate(Duration.days(1)),
      targets: [
        new LambdaFunction(this.handler.function, {
          event: RuleTargetInput.fromObject({ retire: 'after-overlap' }),
          retryAttempts: 2,
          maxEventAge: Duration.hours(2),
        }),
      ],
    });
  }
}
