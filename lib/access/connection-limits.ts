import { Duration } from 'aws-cdk-lib';

/**
 * How much one source address, or one user, may ask of a node; docs/limits.md. Login ports are those of all services but
 * MX. Each node counts what comes to it, and the balancer shares connections out among nodes.
 */
export interface ConnectionLimits {
  /**
   * New connections that a source may open to login ports in a minute, once it has used up `newBurst`. 1 to 500.
   * @default 10
   */
  readonly newPerMinute?: number;

  /**
   * Connections that a source may open to login ports at once after a rest: a mail client opens 4 or 5. 5 to 1000.
   * @default 20
   */
  readonly newBurst?: number;

  /**
   * Connections that a source may have open at a time: to login ports together, and to port 25. 5 to 10 000.
   * @default 50
   */
  readonly sessionsPerSource?: number;

  /**
   * Sessions of IMAP, POP3 and ManageSieve that a user may have at a time, from all addresses together. 5 to 1000.
   * @default 20
   */
  readonly sessionsPerUser?: number;

  /**
   * Handshakes that a source may begin in a minute, on all mail ports together; more are dropped unanswered. 60 to 100 000.
   * @default 2000
   */
  readonly halfOpenPerMinute?: number;

  /**
   * Failed logins within ten minutes, with none that succeeded between, after which a source is refused. 3 to 1000.
   * @default 10
   */
  readonly lockoutFailures?: number;

  /**
   * How long it is refused. A minute to a day.
   * @default Duration.minutes(15)
   */
  readonly lockoutTime?: Duration;

  /**
   * IPv4 ranges that none of this is for but `sessionsPerUser`, such as an office behind one address. Nodes and the
   * balancer, which are in the network of the mail system, always are.
   * @default - none
   */
  readonly exempt?: string[];
}
