import { request } from 'node:http';
import { Health } from '../../src/health/health';
import { Check, HealthCheck } from '../../src/health/health-check';
import { healthServer } from '../../src/health/health-server';
import { Transitions } from '../../src/log';
import { RecordingLog } from '../support/recording-log';
import { eventually } from '../support/wait';
import { AddressInfo } from 'node:net';

let log: RecordingLog;
let faults: { [name: string]: string | undefined };
let clock: number;
beforeEach(() => {
  log = new RecordingLog();
  faults = {};
  clock = 0;
});

const check = (name: string, more: Partial<Check> = {}): HealthCheck =>
  new HealthCheck({
    check: {
      name,
      limit: 1000,
      run: async () => {
        if (faults[name]) throw new Error(faults[name]);
      },
      ...more,
    },
    transitions: new Transitions(log),
    interval: 1,
    now: () => clock,
  });

test('is failing before the first check, ok when all checks are', async () => {
  const checks = [check('store'), check('dovecot')];
  const health = new Health(checks);
  await checks[0].measure();
  expect(health.report()).toEqual({
    status: 'failing',
    checks: {
      store: { ok: true, milliseconds: 0 },
      dovecot: { ok: false, milliseconds: 0, reason: 'not checked yet' },
    },
  });
  await checks[1].measure();
  expect(health.report().status).toBe('ok');
});

test('fails at once with the reason, recovers, and logs each change once', async () => {
  const store = check('store');
  const health = new Health([store]);
  await store.measure();
  faults.store = '/srv/mail-store is not mounted';
  await store.measure();
  await store.measure();
  expect(health.report().checks.store).toEqual({
    ok: false,
    milliseconds: 0,
    reason: '/srv/mail-store is not mounted',
  });
  delete faults.store;
  await store.measure();
  expect(health.report().status).toBe('ok');
  expect(log.lines).toEqual([
    'warning check store: failing: /srv/mail-store is not mounted',
    'info check store: works again',
  ]);
});

test('fails when the last result is older than ten seconds', async () => {
  const store = check('store');
  await store.measure();
  clock += 10_000;
  expect(store.result().ok).toBe(true);
  clock += 1;
  expect(store.result()).toEqual({ ok: false, milliseconds: 0, reason: 'last checked 10001 ms ago' });
});

test('a check that hangs is failing and is not started again', async () => {
  let runs = 0;
  const hanging = check('store', { limit: 5, run: () => new Promise(() => (runs += 1)) });
  hanging.start();
  await eventually(() => /no answer within 5 ms, waiting for [2-9]\d ms/.test(hanging.result().reason ?? ''));
  hanging.stop();
  expect(runs).toBe(1);
});

test('runs its checks by itself, in turn', async () => {
  let running = 0;
  let most = 0;
  let runs = 0;
  const busy = check('store', {
    run: async () => {
      runs += 1;
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 3));
      running -= 1;
    },
  });
  const health = new Health([busy]);
  health.start();
  await eventually(() => runs > 3);
  health.stop();
  expect(most).toBe(1);
});

describe('over HTTP', () => {
  const ask = (port: number, method: string, path: string) =>
    new Promise<{ status?: number; body: string; type?: string }>((resolve, reject) => {
      request({ port, host: '127.0.0.1', method, path }, (response) => {
        let body = '';
        response.on('data', (chunk) => (body += chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode, body, type: response.headers['content-type'] }),
        );
      })
        .on('error', reject)
        .end();
    });

  let health: Health;
  let dovecot: HealthCheck;
  let server: ReturnType<typeof healthServer>;
  let port: number;
  beforeEach(async () => {
    dovecot = check('dovecot');
    health = new Health([dovecot]);
    server = healthServer(() => health.report());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ({ port } = server.address() as AddressInfo);
    await dovecot.measure();
  });
  afterEach(() => new Promise((resolve) => server.close(resolve)));

  test('answers GET with the report and HEAD without', async () => {
    const get = await ask(port, 'GET', '/health');
    expect(get).toMatchObject({ status: 200, type: 'application/json' });
    expect(JSON.parse(get.body)).toEqual({ status: 'ok', checks: { dovecot: { ok: true, milliseconds: 0 } } });
    expect(await ask(port, 'HEAD', '/health')).toMatchObject({ status: 200, body: '' });
  });

  test('answers 503 with the reason when a check fails', async () => {
    faults.dovecot = 'port 993: connect ECONNREFUSED';
    await dovecot.measure();
    const { status, body } = await ask(port, 'GET', '/health');
    expect(status).toBe(503);
    expect(JSON.parse(body)).toMatchObject({ status: 'failing', checks: { dovecot: { reason: faults.dovecot } } });
    expect(await ask(port, 'HEAD', '/health')).toMatchObject({ status: 503, body: '' });
  });

  test('answers 503 while draining although all is well', async () => {
    health.drain();
    const { status, body } = await ask(port, 'GET', '/health');
    expect(status).toBe(503);
    expect(JSON.parse(body)).toMatchObject({ status: 'draining', checks: { dovecot: { ok: true } } });
  });

  test('has nothing else: 404 elsewhere, 405 for other methods', async () => {
    expect((await ask(port, 'GET', '/')).status).toBe(404);
    expect((await ask(port, 'GET', '/health/')).status).toBe(404);
    expect((await ask(port, 'POST', '/health')).status).toBe(405);
  });
});
