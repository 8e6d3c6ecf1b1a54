import { MailService } from '../../../lib/access/mail-service';
import { dovecotCheck, postfixCheck } from '../../src/health/daemon-checks';
import * as greeting from '../../src/health/greeting';

const asked = jest.spyOn(greeting, 'checkGreeting').mockResolvedValue();
const { signal } = new AbortController();

test('asks Dovecot on 993 over TLS', async () => {
  await dovecotCheck().run(signal);
  expect(asked).toHaveBeenLastCalledWith(expect.objectContaining({ port: 993, implicitTls: true }), signal);
});

test.each([
  ['submission', MailService.all(), 587, false],
  ['submissions when there is no submission', [MailService.MX, MailService.SUBMISSIONS], 465, true],
  ['mx when it is all there is', [MailService.IMAPS, MailService.MX], 25, false],
])('asks Postfix on the port of %s', async (_, services, port, implicitTls) => {
  await postfixCheck(services)!.run(signal);
  expect(asked).toHaveBeenLastCalledWith(expect.objectContaining({ port, implicitTls }), signal);
});

test('leaves Postfix out on a node without SMTP', () => {
  expect(postfixCheck([MailService.IMAPS])).toBeUndefined();
});
