import { MailService, TlsStart } from '../../lib/access';

test.each([
  ['imaps', 993, TlsStart.IMPLICIT],
  ['submission', 587, TlsStart.STARTTLS],
  ['submissions', 465, TlsStart.IMPLICIT],
  ['pop3s', 995, TlsStart.IMPLICIT],
  ['mx', 25, TlsStart.STARTTLS],
  ['managesieve', 4190, TlsStart.STARTTLS],
])('%s is port %i', (name, port, tlsStart) => {
  expect(MailService.fromName(name)).toMatchObject({ name, port, tlsStart });
});

test('fails when the name is unknown, and lists those that exist', () => {
  expect(() => MailService.fromName('imap')).toThrow(/unknown mail service "imap"; expected one of imaps, submission/);
});
