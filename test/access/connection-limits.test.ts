import { Duration } from 'aws-cdk-lib';
import { ConnectionLimits, MailAccess, MailService } from '../../lib/access';
import { testStack } from '../support/apps';
import { importedVpc } from '../support/networks';

function environment(connectionLimits?: ConnectionLimits): { [key: string]: string } {
  const stack = testStack();
  const services = [MailService.IMAPS, MailService.SUBMISSION];
  return new MailAccess(stack, 'Access', { vpc: importedVpc(stack), services, connectionLimits }).configuration
    .environment;
}

test('has limits unless asked for others', () => {
  expect(environment()).toEqual({
    MAIL_NEW_PER_MINUTE: '10',
    MAIL_NEW_BURST: '20',
    MAIL_SESSIONS_PER_SOURCE: '50',
    MAIL_SESSIONS_PER_USER: '20',
    MAIL_HALF_OPEN_PER_MINUTE: '2000',
    MAIL_LOCKOUT_FAILURES: '10',
    MAIL_LOCKOUT_SECONDS: '900',
  });
});

test('takes others, and ranges that none of them is for', () => {
  const limits: ConnectionLimits = {
    newPerMinute: 500,
    newBurst: 100,
    sessionsPerSource: 400,
    sessionsPerUser: 40,
    halfOpenPerMinute: 6000,
    lockoutFailures: 5,
    lockoutTime: Duration.hours(1),
    exempt: ['198.51.100.0/24', '203.0.113.7/32'],
  };
  expect(environment(limits)).toEqual({
    MAIL_NEW_PER_MINUTE: '500',
    MAIL_NEW_BURST: '100',
    MAIL_SESSIONS_PER_SOURCE: '400',
    MAIL_SESSIONS_PER_USER: '40',
    MAIL_HALF_OPEN_PER_MINUTE: '6000',
    MAIL_LOCKOUT_FAILURES: '5',
    MAIL_LOCKOUT_SECONDS: '3600',
    MAIL_LIMITS_EXEMPT: '198.51.100.0/24 203.0.113.7/32',
  });
});

test.each<[string, ConnectionLimits, string]>([
  [
    'too many connections a minute',
    { newPerMinute: 501 },
    'newPerMinute must be a whole number from 1 to 500, got 501',
  ],
  [
    'none a minute',
    { newPerMinute: 0 },
    'newPerMinute must be a whole number from 1 to 500, got 0; change newPerMinute',
  ],
  ['a burst that no mail client fits in', { newBurst: 4 }, 'newBurst must be a whole number from 5 to 1000, got 4'],
  ['half a session', { sessionsPerSource: 5.5 }, 'sessionsPerSource must be a whole number from 5 to 10000, got 5.5'],
  [
    'too few sessions of a user',
    { sessionsPerUser: 1 },
    'sessionsPerUser must be a whole number from 5 to 1000, got 1',
  ],
  ['too few handshakes', { halfOpenPerMinute: 1 }, 'halfOpenPerMinute must be a whole number from 60 to 100000, got 1'],
  ['a lock-out at once', { lockoutFailures: 1 }, 'lockoutFailures must be a whole number from 3 to 1000, got 1'],
  [
    'a long lock-out',
    { lockoutTime: Duration.days(2) },
    'lockoutTime must be whole seconds from a minute to a day, got 172800 s',
  ],
  ['everybody exempt', { exempt: ['0.0.0.0/0'] }, 'exempt must be less than the whole internet, got 0.0.0.0/0'],
  [
    'an address for a range',
    { exempt: ['192.0.2.1'] },
    'exempt must be an IPv4 range such as 192.0.2.0/24, got "192.0.2.1"',
  ],
  [
    'ranges that overlap',
    { exempt: ['192.0.2.0/24', '192.0.2.7/32'] },
    'exempt must not overlap, got 192.0.2.0/24 and',
  ],
])('fails when there is %s', (_name, limits, message) => {
  expect(() => environment(limits)).toThrow(`connectionLimits.${message}`);
});
