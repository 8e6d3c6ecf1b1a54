/** How a port of the mail system starts TLS. */
export enum TlsStart {
  /** TLS from the first byte (RFC 8314). */
  IMPLICIT = 'implicit',
  /** A clear-text greeting, then STARTTLS (RFC 3207, RFC 5804). */
  STARTTLS = 'starttls',
}

/**
 * One service of the mail system: the port that clients use, which is also the port that nodes listen on.
 *
 * The names are those of the IANA service registry where it has one.
 */
export class MailService {
  /** IMAP over TLS, port 993 (RFC 9051). */
  public static readonly IMAPS = new MailService('imaps', 993, TlsStart.IMPLICIT, 10993);
  /** Message submission with STARTTLS, port 587 (RFC 6409). */
  public static readonly SUBMISSION = new MailService('submission', 587, TlsStart.STARTTLS);
  /** Message submission over TLS, port 465 (RFC 8314). */
  public static readonly SUBMISSIONS = new MailService('submissions', 465, TlsStart.IMPLICIT);
  /** POP3 over TLS, port 995. */
  public static readonly POP3S = new MailService('pop3s', 995, TlsStart.IMPLICIT, 10995);
  /** Mail from other mail servers, port 25 (RFC 5321). */
  public static readonly MX = new MailService('mx', 25, TlsStart.STARTTLS);
  /** Filter rules, port 4190 (RFC 5804). */
  public static readonly MANAGESIEVE = new MailService('managesieve', 4190, TlsStart.STARTTLS, 14190);

  /** Every service, in the order of this file. */
  public static all(): MailService[] {
    return [
      MailService.IMAPS,
      MailService.SUBMISSION,
      MailService.SUBMISSIONS,
      MailService.POP3S,
      MailService.MX,
      MailService.MANAGESIEVE,
    ];
  }

  /**
   * The service with this name, such as `imaps`.
   *
   * @throws when no service has the name; the message lists those that exist.
   */
  public static fromName(name: string): MailService {
    const found = MailService.all().find((service) => service.name === name);
    if (!found) {
      const known = MailService.all().map((service) => service.name);
      throw new Error(`unknown mail service ${JSON.stringify(name)}; expected one of ${known.join(', ')}`);
    }
    return found;
  }

  private constructor(
    /** Lower-case name, as used in configuration and on nodes. */
    public readonly name: string,
    /** TCP port, on the balancer and on nodes. */
    public readonly port: number,
    /** How TLS starts on the port. */
    public readonly tlsStart: TlsStart,
    /** TCP port on nodes that takes sessions from other nodes; services that open no mailbox have none. */
    public readonly nodePort?: number,
  ) {}
}

/** TCP port on nodes that takes messages for mailboxes from other nodes (LMTP over TLS). */
export const LMTP_NODE_PORT = 10024;

/** TCP port on nodes that answers the balancer's health check over HTTP. */
export const HEALTH_PORT = 8080;

/** Path of the health check: 200 when the node can serve, 503 with the reasons when it can't. */
export const HEALTH_PATH = '/health';
