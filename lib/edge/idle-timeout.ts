import { Duration } from 'aws-cdk-lib';
import { MailService } from '../access';

/**
 * How long a TCP listener lets a connection be silent, unless chosen otherwise: longer than the protocol's own limit,
 * so that server and client, who can say goodbye, act before the balancer cuts.
 */
export function idleTimeoutFor(service: MailService): Duration {
  switch (service) {
    case MailService.IMAPS: // 30 min: RFC 9051, 5.4
    case MailService.MANAGESIEVE: // 30 min: RFC 5804, 1.2
      return Duration.minutes(31);
    default:
      // SMTP clients wait 10 min for the answer to the end of data (RFC 5321, 4.5.3.2.6); POP3: 10 min (RFC 1939, 3).
      return Duration.minutes(11);
  }
}

/**
 * Checks the idle timeout of a TCP listener.
 *
 * @throws when it is not 60 to 6000 s
 * @see https://docs.aws.amazon.com/elasticloadbalancing/latest/network/network-load-balancers.html#connection-idle-timeout
 */
export function checkIdleTimeout(name: string, timeout?: Duration): void {
  if (!timeout || timeout.isUnresolved()) {
    return;
  }
  const seconds = timeout.toSeconds({ integral: false });
  if (!Number.isInteger(seconds) || seconds < 60 || seconds > 6000) {
    throw new Error(`${name} must be 60 to 6000 whole seconds, got ${seconds} s`);
  }
}
