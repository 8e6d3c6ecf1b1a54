import { Certificate, CertificateValidation, ICertificate, KeyAlgorithm } from 'aws-cdk-lib/aws-certificatemanager';
import { IHostedZone } from 'aws-cdk-lib/aws-route53';
import { Construct } from 'constructs';
import { checkCommonName } from '../private/common-name';

/** Properties of `EdgeCertificate`. */
export interface EdgeCertificateProps {
  /** Name that clients connect to; 64 characters at most. */
  readonly hostname: string;

  /** Public zone that holds the name. ACM's proof of control stays in it, so that renewal needs no person. */
  readonly hostedZone: IHostedZone;

  /**
   * More names, in the same zone.
   * @default - none
   */
  readonly alternativeNames?: string[];

  /**
   * Kind of key. Elliptic curve handshakes cost both ends less than RSA, and every client since 2015 knows P-256.
   * @default KeyAlgorithm.EC_PRIME256V1
   */
  readonly keyAlgorithm?: KeyAlgorithm;
}

/**
 * A certificate for the balancer, issued and renewed by ACM, proven by a record in the hosted zone.
 *
 * The deployment waits until the zone answers from the internet: a new zone must be delegated meanwhile.
 *
 * @throws when the name is longer than a certificate can have it
 */
export class EdgeCertificate extends Construct {
  /** Certificate for TLS listeners. */
  public readonly certificate: ICertificate;

  constructor(scope: Construct, id: string, props: EdgeCertificateProps) {
    super(scope, id);
    checkCommonName('hostname', props.hostname);
    this.certificate = new Certificate(this, 'Certificate', {
      domainName: props.hostname,
      subjectAlternativeNames: props.alternativeNames,
      validation: CertificateValidation.fromDns(props.hostedZone),
      keyAlgorithm: props.keyAlgorithm ?? KeyAlgorithm.EC_PRIME256V1,
      // Browsers and some mail clients refuse certificates that are in no transparency log.
      transparencyLoggingEnabled: true,
    });
  }
}
