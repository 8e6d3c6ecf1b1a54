import { CfnOutput, Duration, Fn, Stack, Token } from 'aws-cdk-lib';
import { ComparisonOperator, Metric, MetricOptions, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IHostedZone } from 'aws-cdk-lib/aws-route53';
import {
  ConfigurationSet,
  ConfigurationSetTlsPolicy,
  DkimIdentity,
  EasyDkimSigningKeyLength,
  EmailIdentity,
  Identity,
  IEmailIdentity,
  SuppressionReasons,
} from 'aws-cdk-lib/aws-ses';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { NodeConfiguration } from '../node/node-configuration';
import { addRotationAlarm } from '../private/rotate-by-function';
import { readSecret } from '../private/secret-access';
import { addTopicAlarm } from '../private/topic-alarm';
import { MailDnsRecord } from './dns-record';
import { IOutboundRelay } from './outbound-relay';
import { SendingEvents } from './sending-events';
import { SmtpCredentials } from './smtp-credentials';

/** Properties of `SesRelay`. */
export interface SesRelayProps {
  /** Mail domains whose users send through SES. */
  readonly domains: string[];

  /**
   * Those of `domains` for which SES has an identity in this account and region already; none is made for them.
   * @default - none: each domain gets an identity
   */
  readonly verifiedDomains?: string[];

  /**
   * Public zones. Records of a new identity are made in the zone of the same name, if there is one.
   * @default - none; `records` has what is to be published
   */
  readonly hostedZones?: IHostedZone[];

  /**
   * First label of the MAIL FROM domain below each new identity. SES has the bounces sent there, so that SPF passes for
   * the domain itself; no other mail can be received at it.
   * @default 'bounce'
   */
  readonly mailFromSubdomain?: string;

  /** Key of the SMTP login and of logs. */
  readonly encryptionKey: IKey;

  /**
   * Time between two rotations of the SMTP login, whole days.
   * @default Duration.days(45)
   */
  readonly rotateAfter?: Duration;
}

/**
 * Mail to other domains through Amazon SES: identities with Easy DKIM (2048 bit, rotated by SES) and a MAIL FROM domain,
 * a configuration set that requires TLS and suppresses addresses that bounced or complained, a log of bounces and
 * complaints, and a rotated SMTP login for the nodes.
 *
 * @throws when there is no domain, when `verifiedDomains` has one that `domains` has not, or when `mailFromSubdomain` is
 *   no label
 */
export class SesRelay extends Construct implements IOutboundRelay {
  /** New identities, in the order of `domains`. */
  public readonly identities: EmailIdentity[] = [];

  /** What mail of the nodes is sent with. */
  public readonly configurationSet: ConfigurationSet;

  /** Records to publish for those new identities that no zone was given for. */
  public readonly records: MailDnsRecord[] = [];

  /** Log of bounces and complaints. */
  public readonly events: SendingEvents;

  /** The nodes' login. */
  public readonly credentials: SmtpCredentials;

  /** What nodes need to send through SES. */
  public readonly configuration: NodeConfiguration;

  constructor(scope: Construct, id: string, props: SesRelayProps) {
    super(scope, id);
    checkProps(props);
    const { region, urlSuffix } = Stack.of(this);
    this.configurationSet = new ConfigurationSet(this, 'ConfigurationSet', {
      tlsPolicy: ConfigurationSetTlsPolicy.REQUIRE,
      reputationMetrics: true,
      suppressionReasons: SuppressionReasons.BOUNCES_AND_COMPLAINTS,
    });
    const identities = props.domains.map((domain) => this.identityOf(domain, props));
    this.events = new SendingEvents(this, 'Events', {
      configurationSet: this.configurationSet,
      encryptionKey: props.encryptionKey,
    });
    const smtpHost = `email-smtp.${region}.${urlSuffix}`;
    this.credentials = new SmtpCredentials(this, 'Credentials', {
      smtpHost,
      resourceArns: [...identities.map(({ emailIdentityArn }) => emailIdentityArn), this.configurationSetArn],
      encryptionKey: props.encryptionKey,
      rotateAfter: props.rotateAfter,
    });
    this.configuration = {
      environment: {
        MAIL_RELAY: 'ses',
        MAIL_RELAY_HOST: smtpHost,
        MAIL_RELAY_SECRET: this.credentials.filledSecretArn,
        MAIL_RELAY_CONFIGURATION_SET: this.configurationSet.configurationSetName,
      },
      statements: readSecret(this, this.credentials.secret),
    };
    new CfnOutput(this, 'ConfigurationSetName', {
      value: this.configurationSet.configurationSetName,
      description: 'For mail-preflight --configuration-set',
    });
    if (this.records.length > 0) {
      new CfnOutput(this, 'Records', {
        value: Fn.join(
          '; ',
          this.records.map(({ name, type, value }) => `${name} ${type} ${value}`),
        ),
        description: 'DNS records to publish for SES; until then it sends nothing',
      });
    }
  }

  /** Share of the account's mail in this region that bounced for good, 0 to 1, as AWS judges it. */
  public metricBounceRate(options?: MetricOptions): Metric {
    return reputation('Reputation.BounceRate', options);
  }

  /** Share of the account's mail in this region that recipients reported as unwanted, 0 to 1. */
  public metricComplaintRate(options?: MetricOptions): Metric {
    return reputation('Reputation.ComplaintRate', options);
  }

  /**
   * Adds the alarms `BounceRateHigh`, `ComplaintRateHigh`, `EventsNotLogged` and `LoginNotRotated`. The rates are those from which AWS
   * reviews an account.
   *
   * @param topic where they go
   * @see https://docs.aws.amazon.com/ses/latest/dg/reputationdashboardmessages.html
   */
  public addAlarms(topic: ITopic): void {
    addTopicAlarm(this, 'BounceRateHigh', topic, {
      metric: this.metricBounceRate(),
      threshold: 0.05,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      // SES tells rates only when there is something new; until then the last one holds.
      treatMissingData: TreatMissingData.IGNORE,
      alarmDescription:
        '5 % of mail through SES bounces: AWS reviews the account, and stops it at 10 %. Check first: the log of sending ' +
        'events for the sender with most bounces, a mailing list that is old or a stolen password.',
    });
    addTopicAlarm(this, 'ComplaintRateHigh', topic, {
      metric: this.metricComplaintRate(),
      threshold: 0.001,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: TreatMissingData.IGNORE,
      alarmDescription:
        '0.1 % of mail through SES is reported as spam: AWS reviews the account, and stops it at 0.5 %. Check first: the ' +
        'log of sending events for the sender who is complained about.',
    });
    addTopicAlarm(this, 'EventsNotLogged', topic, {
      metric: this.events.metricFailures(),
      threshold: 0,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      alarmDescription:
        'Bounces and complaints of mail through SES could not be logged; suppression by SES goes on. Check first: the ' +
        "function's log for the error.",
    });
    addRotationAlarm(this, 'LoginNotRotated', topic, {
      metric: this.credentials.metricFailures(),
      alarmDescription:
        "The SMTP login at SES could not be renewed; nodes go on with the one that they have. Check first: the function's " +
        'log for the step that failed, then whether a service control policy forbids iam:CreateAccessKey.',
    });
  }

  private get configurationSetArn(): string {
    return Stack.of(this).formatArn({
      service: 'ses',
      resource: 'configuration-set',
      resourceName: this.configurationSet.configurationSetName,
    });
  }

  private identityOf(domain: string, props: SesRelayProps): IEmailIdentity {
    const id = `Identity-${domain}`;
    if (props.verifiedDomains?.includes(domain)) {
      return EmailIdentity.fromEmailIdentityName(this, id, domain);
    }
    const zone = props.hostedZones?.find(({ zoneName }) => zoneName === domain);
    const mailFromDomain = `${props.mailFromSubdomain ?? 'bounce'}.${domain}`;
    const identity = new EmailIdentity(this, id, {
      // With a zone its L2 makes the records of DKIM and of the MAIL FROM domain.
      identity: zone ? Identity.publicHostedZone(zone) : Identity.domain(domain),
      dkimIdentity: DkimIdentity.easyDkim(EasyDkimSigningKeyLength.RSA_2048_BIT),
      mailFromDomain,
      // Also for mail of others in this account that names no set.
      configurationSet: this.configurationSet,
    });
    this.identities.push(identity);
    if (!zone) {
      this.records.push(...recordsOf(identity, mailFromDomain));
    }
    return identity;
  }
}

/** @see https://docs.aws.amazon.com/ses/latest/dg/mail-from.html */
function recordsOf(identity: EmailIdentity, mailFromDomain: string): MailDnsRecord[] {
  const { region } = Stack.of(identity);
  return [
    ...identity.dkimRecords.map(({ name, value }) => ({ name, type: 'CNAME', value })),
    { name: mailFromDomain, type: 'MX', value: `10 feedback-smtp.${region}.amazonses.com` },
    { name: mailFromDomain, type: 'TXT', value: '"v=spf1 include:amazonses.com ~all"' },
  ];
}

/** Of the whole account in the region, which is what AWS looks at. */
function reputation(metricName: string, options?: MetricOptions): Metric {
  return new Metric({
    namespace: 'AWS/SES',
    metricName,
    statistic: Stats.MAXIMUM,
    period: Duration.hours(1),
    ...options,
  });
}

function checkProps({ domains, verifiedDomains = [], mailFromSubdomain }: SesRelayProps): void {
  if (domains.length === 0) {
    throw new Error('domains must have at least one entry, got none; add one');
  }
  const unknown = verifiedDomains.find((domain) => !domains.includes(domain));
  if (unknown !== undefined) {
    throw new Error(
      `verifiedDomains must be among the mail domains (${domains.join(', ')}), got ${unknown}; remove it`,
    );
  }
  if (
    mailFromSubdomain !== undefined &&
    !Token.isUnresolved(mailFromSubdomain) &&
    !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(mailFromSubdomain)
  ) {
    throw new Error(`mailFromSubdomain must be one lower-case label such as bounce, got ${mailFromSubdomain}`);
  }
}
