import { Duration } from 'aws-cdk-lib';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IHostedZone } from 'aws-cdk-lib/aws-route53';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { NodeConfiguration } from '../node/node-configuration';
import { SesRelay } from './ses-relay';

/** What a relay is told. */
export interface OutboundRelayBindOptions {
  /** Mail domains, the primary one first. */
  readonly domains: string[];

  /**
   * Public zones. Records of a domain are made in the zone of the same name.
   * @default - none; somebody else publishes the records
   */
  readonly hostedZones?: IHostedZone[];

  /** Key for what the relay keeps. */
  readonly encryptionKey: IKey;
}

/** A relay, once it is part of a stack. */
export interface IOutboundRelay {
  /** What nodes need to send through it: `MAIL_RELAY` and its companions. */
  readonly configuration: NodeConfiguration;

  /** Adds the relay's alarms. */
  addAlarms(topic: ITopic): void;
}

/** Options of `OutboundRelay.ses`. */
export interface SesRelayOptions {
  /**
   * Domains for which SES has an identity in this account and region already; none is made for them.
   * @default - none: each domain gets an identity
   */
  readonly verifiedDomains?: string[];

  /**
   * First label of the MAIL FROM domain below each new identity.
   * @default 'bounce' - bounce.example.com
   */
  readonly mailFromSubdomain?: string;

  /**
   * Time between two rotations of the SMTP login, whole days.
   * @default Duration.days(45)
   */
  readonly rotateAfter?: Duration;
}

/** Where nodes send mail for other domains. */
export abstract class OutboundRelay {
  /**
   * Through Amazon SES in the stack's region. SES charges 0.10 USD for 1000 messages and 0.12 USD a GB; a new account is
   * in the sandbox until AWS lets it out (`mail-preflight` tells).
   */
  public static ses(options: SesRelayOptions = {}): OutboundRelay {
    return new SesOutboundRelay(options);
  }

  /** Creates what the relay needs below `scope`. */
  public abstract bind(scope: Construct, options: OutboundRelayBindOptions): IOutboundRelay;
}

class SesOutboundRelay extends OutboundRelay {
  constructor(private readonly options: SesRelayOptions) {
    super();
  }

  public bind(scope: Construct, options: OutboundRelayBindOptions): IOutboundRelay {
    return new SesRelay(scope, 'Ses', { ...this.options, ...options });
  }
}
