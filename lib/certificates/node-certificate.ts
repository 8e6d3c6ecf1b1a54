import { Duration, Stack, Token } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IHostedZone } from 'aws-cdk-lib/aws-route53';
import { ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { acknowledge, findingId } from '../compliance';
import { NodeConfiguration } from '../node/node-configuration';
import { checkZoneHolds } from '../private/hosted-zone';
import { inRegulatoryPacks } from '../private/rule-packs';
import { readSecret } from '../private/secret-access';
import { AcmeAccountBinding } from './acme-account-binding';

const LETS_ENCRYPT = 'https://acme-v02.api.letsencrypt.org/directory';

/** What a source of node certificates is told. */
export interface NodeCertificateBindOptions {
  /** Name that the certificate is for. */
  readonly hostname: string;

  /**
   * Public zone that holds the name.
   * @default - none; sources that prove control by DNS need one
   */
  readonly hostedZone?: IHostedZone;

  /** Key for what the source keeps. */
  readonly encryptionKey: IKey;
}

/** Options of `NodeCertificate.acmAcme`. */
export interface AcmAcmeOptions {
  /**
   * Address that the certificate authority may write to.
   * @default - none
   */
  readonly email?: string;

  /**
   * Raise it by one to have new credentials issued for new nodes, as after a leak.
   * @default 1
   */
  readonly generation?: number;

  /**
   * How long the credentials let new nodes register.
   * @default - as ACM sets it
   */
  readonly expiration?: Duration;
}

/** Options of `NodeCertificate.dns01`. */
export interface Dns01Options {
  /** Address that the certificate authority may write to. */
  readonly email: string;

  /**
   * Public zone of the host name, or the one that `_acme-challenge` of it is delegated to.
   * @default - the zone of the mail system
   */
  readonly hostedZone?: IHostedZone;

  /**
   * URL of the authority's ACME directory.
   * @default - Let's Encrypt
   */
  readonly directoryUrl?: string;
}

/** Options of `NodeCertificate.localCa`. */
export interface LocalCaOptions {
  /**
   * Secret with the authority as JSON: `{"certificate": PEM, "privateKey": PEM}`.
   * @default - a new one that holds no authority yet: put one there before nodes start
   */
  readonly secret?: ISecret;
}

/** Where nodes get the certificate that they show to clients of STARTTLS ports, and to the balancer. */
export abstract class NodeCertificate {
  /**
   * From ACM's own ACME endpoint: public, 45 days, renewed by the node, whose key never leaves it. Needs a hosted zone.
   */
  public static acmAcme(options: AcmAcmeOptions = {}): NodeCertificate {
    return new AcmAcmeCertificate(options);
  }

  /**
   * From Let's Encrypt or another authority, proven by a DNS record that the node makes. Nodes get the right to write
   * that one TXT record. Needs a hosted zone.
   *
   * @throws when the address or the URL is not one
   */
  public static dns01(options: Dns01Options): NodeCertificate {
    return new Dns01Certificate(options);
  }

  /**
   * From a secret that somebody keeps up to date: `{"certificate": PEM chain, "privateKey": PEM}`. Nodes read it again
   * once a day.
   */
  public static secret(secret: ISecret): NodeCertificate {
    return new SecretCertificate(secret);
  }

  /**
   * From an authority of your own whose key nodes hold: for tests and closed networks. Mail clients trust it only where
   * its certificate is installed, and whoever takes over a node can issue for any name.
   */
  public static localCa(options: LocalCaOptions = {}): NodeCertificate {
    return new LocalCaCertificate(options);
  }

  /** Creates what the source needs below `scope` and says what nodes need to use it. */
  public abstract bind(scope: Construct, options: NodeCertificateBindOptions): NodeConfiguration;
}

class AcmAcmeCertificate extends NodeCertificate {
  constructor(private readonly options: AcmAcmeOptions) {
    super();
    if (options.email !== undefined) {
      checkEmail(options.email);
    }
  }

  public bind(
    scope: Construct,
    { hostname, hostedZone, encryptionKey }: NodeCertificateBindOptions,
  ): NodeConfiguration {
    const { email, generation, expiration } = this.options;
    const binding = new AcmeAccountBinding(scope, 'AccountBinding', {
      hostname,
      hostedZone: needZone('acmAcme', hostedZone),
      encryptionKey,
      contactRequired: email !== undefined,
      generation,
      expiration,
    });
    return {
      environment: {
        MAIL_CERTIFICATE: 'acm-acme',
        MAIL_CERTIFICATE_SECRET: binding.filledSecretArn,
        MAIL_ACME_DIRECTORY: binding.directoryUrl,
        MAIL_ACME_EMAIL: email ?? '',
      },
      statements: readSecret(scope, binding.secret),
    };
  }
}

class Dns01Certificate extends NodeCertificate {
  private readonly directoryUrl: string;

  constructor(private readonly options: Dns01Options) {
    super();
    checkEmail(options.email);
    this.directoryUrl = options.directoryUrl ?? LETS_ENCRYPT;
    if (!Token.isUnresolved(this.directoryUrl) && !/^https:\/\/[^\s/]+\/\S*$/.test(this.directoryUrl)) {
      throw new Error(`directoryUrl must be an https URL, got ${JSON.stringify(this.directoryUrl)}`);
    }
  }

  public bind(scope: Construct, { hostname, hostedZone }: NodeCertificateBindOptions): NodeConfiguration {
    const zone = needZone('dns01', this.options.hostedZone ?? hostedZone);
    if (!this.options.hostedZone) {
      checkZoneHolds(zone, hostname);
    }
    const change = `arn:${Stack.of(scope).partition}:route53:::change/*`;
    return {
      environment: {
        MAIL_CERTIFICATE: 'dns-01',
        MAIL_ACME_DIRECTORY: this.directoryUrl,
        MAIL_ACME_EMAIL: this.options.email,
      },
      // What certbot-dns-route53 needs (https://certbot-dns-route53.readthedocs.io/).
      statements: [
        new PolicyStatement({ actions: ['route53:ListHostedZones'], resources: ['*'] }),
        new PolicyStatement({ actions: ['route53:GetChange'], resources: [change] }),
        new PolicyStatement({
          actions: ['route53:ChangeResourceRecordSets'],
          resources: [zone.hostedZoneArn],
          conditions: {
            'ForAllValues:StringEquals': {
              'route53:ChangeResourceRecordSetsNormalizedRecordNames': [`_acme-challenge.${hostname}`],
              'route53:ChangeResourceRecordSetsRecordTypes': ['TXT'],
            },
          },
        }),
      ],
      acknowledgements: [
        {
          id: 'AwsSolutions-IAM5[Resource::*]',
          reason:
            'certbot finds the zone by route53:ListHostedZones, which has no resource. It tells names of zones only; ' +
            'writing is limited to one TXT record (test/certificates/node-certificate.test.ts).',
        },
        {
          id: findingId(scope, 'AwsSolutions-IAM5', 'Resource', change),
          reason:
            'route53:GetChange tells whether a change is done; the id of a change is not known before it is made ' +
            '(test/certificates/node-certificate.test.ts).',
        },
      ],
    };
  }
}

class SecretCertificate extends NodeCertificate {
  constructor(private readonly secret: ISecret) {
    super();
  }

  public bind(scope: Construct): NodeConfiguration {
    return {
      environment: { MAIL_CERTIFICATE: 'secret', MAIL_CERTIFICATE_SECRET: this.secret.secretArn },
      statements: readSecret(scope, this.secret),
    };
  }
}

class LocalCaCertificate extends NodeCertificate {
  constructor(private readonly options: LocalCaOptions) {
    super();
  }

  public bind(scope: Construct, { encryptionKey }: NodeCertificateBindOptions): NodeConfiguration {
    const secret = this.options.secret ?? this.createSecret(scope, encryptionKey);
    return {
      environment: { MAIL_CERTIFICATE: 'local-ca', MAIL_CERTIFICATE_SECRET: secret.secretArn },
      statements: readSecret(scope, secret),
    };
  }

  private createSecret(scope: Construct, encryptionKey: IKey): ISecret {
    const secret = new Secret(scope, 'LocalCa', {
      description: 'Certificate authority of the nodes: {"certificate": PEM, "privateKey": PEM}',
      encryptionKey,
    });
    acknowledge(
      secret,
      ...['AwsSolutions-SMG4', ...inRegulatoryPacks('SecretsManagerRotationEnabled')].map((id) => ({
        id,
        reason:
          'An authority is replaced together with the trust in it on each client, which no function can do. Only nodes ' +
          'can read it (test/certificates/node-certificate.test.ts).',
      })),
    );
    return secret;
  }
}

function needZone(source: string, hostedZone?: IHostedZone): IHostedZone {
  if (!hostedZone) {
    throw new Error(
      `hostedZone must be given for NodeCertificate.${source}(), which proves control of the name in it; ` +
        'give it, or use NodeCertificate.secret()',
    );
  }
  return hostedZone;
}

function checkEmail(email: string): void {
  if (!Token.isUnresolved(email) && !/^[^\s@"]+@[^\s@"]+$/.test(email)) {
    throw new Error(`email must be an address such as postmaster@example.com, got ${JSON.stringify(email)}`);
  }
}
