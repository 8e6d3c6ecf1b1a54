import { MailService, TlsStart } from '../../../lib/access/mail-service';
import { checkGreeting } from './greeting';
import { Check } from './health-check';

// The balancer asks every 5 s; longer than this a daemon is of no use to clients either.
const LIMIT = 5_000;

/** Dovecot accepts IMAP over TLS. */
export const dovecotCheck = (): Check => ({
  name: 'dovecot',
  limit: LIMIT,
  run: (signal) =>
    checkGreeting({ port: MailService.IMAPS.port, implicitTls: true, expected: /^\* OK/, goodbye: 'a LOGOUT' }, signal),
});

/**
 * Postfix greets, on the port of the first of these that the node offers: submission, submissions, mx.
 *
 * @returns undefined when the node offers none of them.
 */
export const postfixCheck = (services: MailService[]): Check | undefined => {
  const service = [MailService.SUBMISSION, MailService.SUBMISSIONS, MailService.MX].find((one) =>
    services.includes(one),
  );
  if (!service) return undefined;
  const implicitTls = service.tlsStart === TlsStart.IMPLICIT;
  return {
    name: 'postfix',
    limit: LIMIT,
    run: (signal) => checkGreeting({ port: service.port, implicitTls, expected: /^220[ -]/, goodbye: 'QUIT' }, signal),
  };
};
