import { Duration } from 'aws-cdk-lib';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IHostedZone } from 'aws-cdk-lib/aws-route53';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { IReceiptRuleSet } from 'aws-cdk-lib/aws-ses';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { NodeConfiguration } from '../node/node-configuration';
import { SesInbound } from './ses-inbound';

/** What takes mail from the internet, once it is part of a stack. */
export interface IInboundMail {
  /** What nodes need to fetch mail. */
  readonly configuration: NodeConfiguration;

  /** Name that the MX records of the domains have. */
  readonly mailExchanger: string;

  /** Adds its alarms. */
  addAlarms(topic: ITopic): void;
}

/** What inbound mail is told. */
export interface InboundMailBindOptions {
  /** Mail domains, the primary one first. */
  readonly domains: string[];

  /**
   * Those of `domains` that are known to SES by another construct of the stack.
   * @default - none
   */
  readonly verifiedDomains?: string[];

  /**
   * Public zones. Records of a domain are made in the zone of the same name.
   * @default - none; somebody else publishes the records
   */
  readonly hostedZones?: IHostedZone[];

  /** Key for mail at rest. */
  readonly encryptionKey: IKey;

  /**
   * Bucket for S3 server access logs.
   * @default - access is not logged
   */
  readonly accessLogsBucket?: IBucket;
}

/** Options of `InboundMail.ses`. */
export interface SesInboundOptions {
  /**
   * Who gets mail: domains, without those below them, or addresses; 500 at most. With addresses SES refuses all others while the sender
   * waits; with domains whoever the nodes do not know has mail set aside.
   * @default - the mail domains
   */
  readonly recipients?: string[];

  /**
   * Whether SES refuses servers that do not use TLS.
   * @default false
   */
  readonly requireTls?: boolean;

  /**
   * An active receipt rule set to add to. SES has one in an account and region.
   * @default - a new one, which is made active
   */
  readonly ruleSet?: IReceiptRuleSet;

  /**
   * The same by its name, such as `INBOUND_MAIL`, that of Amazon WorkMail.
   * @default - `ruleSet`
   */
  readonly ruleSetName?: string;

  /**
   * Whether a new rule set replaces an active one that is not of this stack; see `ActiveReceiptRuleSet`.
   * @default false - the deployment fails and names the active rule set
   */
  readonly takeOver?: boolean;

  /**
   * Domains for which SES has an identity in this account and region already; none is made for them.
   * @default - those that `relay: OutboundRelay.ses()` makes
   */
  readonly verifiedDomains?: string[];

  /**
   * How long mail that nobody gets is kept: viruses, what DMARC refuses, unknown recipients. Whole days.
   * @default Duration.days(30)
   */
  readonly quarantineFor?: Duration;

  /**
   * How long mail may wait for nodes until the alarm goes off. Whole minutes, 5 or more.
   * @default Duration.minutes(15)
   */
  readonly waitingAlarm?: Duration;
}

/** What takes mail from the internet in the place of the nodes, or beside them. */
export abstract class InboundMail {
  /**
   * Amazon SES, which keeps mail in S3 until nodes fetch it: 0.10 USD for 1000 messages, and 0.09 USD for 1000 chunks of 256 KB.
   * SES receives in some regions only. docs/inbound.md.
   */
  public static ses(options: SesInboundOptions = {}): InboundMail {
    return new SesInboundMail(options);
  }

  /** Creates what it needs below `scope`. */
  public abstract bind(scope: Construct, options: InboundMailBindOptions): IInboundMail;
}

class SesInboundMail extends InboundMail {
  constructor(private readonly options: SesInboundOptions) {
    super();
  }

  public bind(scope: Construct, options: InboundMailBindOptions): IInboundMail {
    return new SesInbound(scope, 'Ses', {
      ...options,
      ...this.options,
      verifiedDomains: [...(options.verifiedDomains ?? []), ...(this.options.verifiedDomains ?? [])],
    });
  }
}
