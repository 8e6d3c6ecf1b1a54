import { Duration } from 'aws-cdk-lib';
import { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import { SslPolicy } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { checkIdleTimeout } from './idle-timeout';

/** Options of `EdgeTls.atBalancer`. */
export interface EdgeTlsAtBalancerOptions {
  /**
   * Certificate of the host name, in ACM, in the region of the balancer.
   * @default - a new one, proven in the hosted zone of the edge
   */
  readonly certificate?: ICertificate;

  /**
   * Protocol versions, ciphers and key exchanges.
   * @default SslPolicy.TLS13_12_RES_PQ - TLS 1.3 and 1.2 with forward secrecy, AEAD ciphers, and ML-KEM hybrids
   */
  readonly sslPolicy?: SslPolicy;

  /**
   * Not to be set: the idle timeout of a TLS listener is fixed at 350 s. It is here so that configuration that has one
   * fails with a message that says so, as AWS does only when the stack is deployed.
   * @default - 350 s
   */
  readonly idleTimeout?: Duration;
}

/** Options of `EdgeTls.atNode`. */
export interface EdgeTlsAtNodeOptions {
  /**
   * How long a connection of the implicit-TLS ports may be silent, 60 to 6000 s.
   * @default - 31 min for IMAP, so that the server's own 30 min come first (RFC 9051, 5.4), 11 min for others
   */
  readonly idleTimeout?: Duration;
}

/** Where TLS of the ports with TLS from the first byte (993, 465, 995) ends for the client. */
export class EdgeTls {
  /**
   * At the balancer, which opens a TLS connection of its own to the node. Gives access logs with cipher and handshake
   * time, and a certificate that ACM renews.
   *
   * @throws when `idleTimeout` is set
   */
  public static atBalancer(options: EdgeTlsAtBalancerOptions = {}): EdgeTls {
    if (options.idleTimeout) {
      throw new Error(
        `idleTimeout can not be set with TLS at the balancer, where it is fixed at 350 s, got ` +
          `${options.idleTimeout.toSeconds()} s; remove it or use EdgeTls.atNode()`,
      );
    }
    return new EdgeTls(true, options.certificate, options.sslPolicy ?? SslPolicy.TLS13_12_RES_PQ, undefined);
  }

  /**
   * At the node, with the node's certificate; the balancer passes bytes on. Gives channel binding and long idle times,
   * but no access logs of the balancer.
   *
   * @throws when `idleTimeout` is out of bounds
   */
  public static atNode(options: EdgeTlsAtNodeOptions = {}): EdgeTls {
    checkIdleTimeout('idleTimeout', options.idleTimeout);
    return new EdgeTls(false, undefined, undefined, options.idleTimeout);
  }

  private constructor(
    /** Whether the balancer has TLS listeners. */
    public readonly isAtBalancer: boolean,
    /** Certificate of TLS listeners, if one was brought. */
    public readonly certificate: ICertificate | undefined,
    /** Policy of TLS listeners. */
    public readonly sslPolicy: SslPolicy | undefined,
    /** Idle timeout of the implicit-TLS ports' TCP listeners, if one was chosen. */
    public readonly idleTimeout: Duration | undefined,
  ) {}
}
