import { Duration, Token } from 'aws-cdk-lib';
import { parseCidr, parseCidrs } from '../private/cidr';
import { ConnectionLimits } from './connection-limits';

/**
 * The limits as keys of a node's environment file.
 *
 * @throws when a number is out of its range, or when `exempt` has a range that can't be read, overlaps or is everything
 */
export function limitsEnvironment(limits: ConnectionLimits): { [key: string]: string } {
  const number = (key: string, name: Exclude<keyof ConnectionLimits, 'exempt' | 'lockoutTime'>, range: Range) => {
    const value = limits[name] ?? range.usual;
    if (!Token.isUnresolved(value) && (!Number.isInteger(value) || value < range.min || value > range.max)) {
      throw new Error(
        `connectionLimits.${name} must be a whole number from ${range.min} to ${range.max}, got ${value}; change ${name}`,
      );
    }
    return { [key]: `${value}` };
  };
  return {
    ...number('MAIL_NEW_PER_MINUTE', 'newPerMinute', { min: 1, max: 500, usual: 10 }),
    ...number('MAIL_NEW_BURST', 'newBurst', { min: 5, max: 1000, usual: 20 }),
    ...number('MAIL_SESSIONS_PER_SOURCE', 'sessionsPerSource', { min: 5, max: 10_000, usual: 50 }),
    ...number('MAIL_SESSIONS_PER_USER', 'sessionsPerUser', { min: 5, max: 1000, usual: 20 }),
    ...number('MAIL_HALF_OPEN_PER_MINUTE', 'halfOpenPerMinute', { min: 60, max: 100_000, usual: 2000 }),
    ...number('MAIL_LOCKOUT_FAILURES', 'lockoutFailures', { min: 3, max: 1000, usual: 10 }),
    MAIL_LOCKOUT_SECONDS: `${lockoutSeconds(limits.lockoutTime ?? Duration.minutes(15))}`,
    ...exemption(limits.exempt ?? []),
  };
}

interface Range {
  readonly min: number;
  readonly max: number;
  readonly usual: number;
}

function lockoutSeconds(time: Duration): number {
  const seconds = time.toSeconds({ integral: false });
  if (!Number.isInteger(seconds) || seconds < 60 || seconds > 86_400) {
    throw new Error(
      `connectionLimits.lockoutTime must be whole seconds from a minute to a day, got ${seconds} s; change lockoutTime`,
    );
  }
  return seconds;
}

function exemption(exempt: string[]): { [key: string]: string } {
  if (exempt.length === 0) {
    return {};
  }
  parseCidrs('connectionLimits.exempt', exempt);
  const all = exempt.find((cidr) => parseCidr('connectionLimits.exempt', cidr).prefix === 0);
  if (all) {
    throw new Error(
      `connectionLimits.exempt must be less than the whole internet, got ${all}; raise the limits themselves instead`,
    );
  }
  return { MAIL_LIMITS_EXEMPT: exempt.join(' ') };
}
