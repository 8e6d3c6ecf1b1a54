import { loginMetrics } from '../../src/metrics/login-metrics';
import { httpServer, RunningServer } from '../support/servers';

let dovecot: RunningServer;
let page: string;
beforeAll(async () => (dovecot = await httpServer((_request, response) => response.end(page))));
afterAll(() => dovecot.stop());

/** As Dovecot 2.4.1 writes it. */
const counters = (success: number, failure: number, putOff = 0) =>
  `# HELP dovecot_auth_success Total number of all events of this kind
# TYPE dovecot_auth_success counter
dovecot_auth_success_total ${success}
dovecot_auth_success_duration_seconds_total 1.5
# TYPE dovecot_auth_failure counter
dovecot_auth_failure_total ${failure}
# TYPE dovecot_auth_put_off counter
dovecot_auth_put_off_total ${putOff}
# EOF
`;

const collected = async (collector: ReturnType<typeof loginMetrics>, text: string) => {
  page = text;
  return (await collector.collect()).map(({ name, unit, value }) => [name, unit, value]);
};

test('counts from one look to the next', async () => {
  const logins = loginMetrics(dovecot.url);
  expect(await collected(logins, counters(100, 7))).toEqual([]);
  expect(await collected(logins, counters(130, 9))).toEqual([
    ['Logins', 'Count', 30],
    ['FailedLogins', 'Count', 2],
  ]);
  expect(await collected(logins, counters(130, 9))).toEqual([
    ['Logins', 'Count', 0],
    ['FailedLogins', 'Count', 0],
  ]);
});

test('does not take for a failure what was put off', async () => {
  const logins = loginMetrics(dovecot.url);
  await collected(logins, counters(100, 7, 2));
  expect(await collected(logins, counters(100, 20, 12))).toEqual([
    ['Logins', 'Count', 0],
    ['FailedLogins', 'Count', 3],
  ]);
});

test('counts what there was since a restart of Dovecot', async () => {
  const logins = loginMetrics(dovecot.url);
  await collected(logins, counters(100, 7));
  expect(await collected(logins, counters(3, 1))).toEqual([
    ['Logins', 'Count', 3],
    ['FailedLogins', 'Count', 1],
  ]);
});

test('fails when a counter is missing', async () => {
  page = '# EOF\n';
  await expect(loginMetrics(dovecot.url).collect()).rejects.toThrow("Dovecot's metrics have no auth_success");
});
