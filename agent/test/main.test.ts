import { buildSync } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { temporaryFolder } from './support/temporary-folder';

let bundle: string;
beforeAll(() => {
  bundle = join(temporaryFolder(), 'mail-agent.js');
  const entryPoints = [join(__dirname, '..', 'src', 'main.ts')];
  // As scripts/bundle.mjs does.
  buildSync({ entryPoints, outfile: bundle, bundle: true, platform: 'node', target: 'node20', format: 'cjs' });
});

const { PATH } = process.env;

test('says in one line what is wrong with its environment and ends with EX_CONFIG', () => {
  const { status, stdout, stderr } = spawnSync('node', [bundle], { env: { PATH }, encoding: 'utf8' });
  expect(status).toBe(78);
  expect(stdout).toMatch(/^<3>configuration: MAIL_CLUSTER is missing; .*\n$/);
  expect(stderr).toBe('');
});

// Its own network: the agent's ports are fixed, and nothing listens on the mail ports there.
const isolated = process.getuid?.() === 0 && spawnSync('unshare', ['--net', 'true']).status === 0 ? test : test.skip;

isolated(
  'serves health at once, logs each fault once and stops by SIGTERM without draining',
  () => {
    const ask = `const ask = () => fetch('http://127.0.0.1:8080/health')
      .then(async (reply) => ({ status: reply.status, body: await reply.text() }))
      .then((reply) => reply.body.includes('not checked yet') ? later() : console.log(JSON.stringify(reply)), () => later());
      const later = () => setTimeout(ask, 20);
      ask();`;
    const script = `ip link set lo up
      node ${bundle} & agent=$!
      node -e "$ASK"
      kill -TERM $agent; wait $agent; echo "exit $?"`;
    const env = {
      PATH,
      ASK: ask,
      AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://127.0.0.1:1',
      AWS_REGION: 'eu-central-1',
      MAIL_CLUSTER: 'MailStack',
      MAIL_SERVICES: 'imaps submission',
      MAIL_CONNECTIONS_MAX: '100',
      MAIL_LEASE_TABLE: 'Leases',
      MAIL_DRAIN_HOOK: 'drain',
      MAIL_DRAIN_SECONDS: '60',
    };
    const { stdout, stderr } = spawnSync('unshare', ['--net', 'sh', '-c', script], { env, encoding: 'utf8' });
    expect(stderr).toBe('');
    const lines = stdout.trim().split('\n');
    const reply = JSON.parse(lines.find((line) => line.startsWith('{'))!);
    expect(reply.status).toBe(503);
    expect(JSON.parse(reply.body)).toMatchObject({
      status: 'failing',
      checks: {
        store: { ok: false, reason: expect.stringContaining('fetch failed') },
        dovecot: { ok: false, reason: 'port 993: connect ECONNREFUSED 127.0.0.1:993' },
        postfix: { ok: false, reason: 'port 587: connect ECONNREFUSED 127.0.0.1:587' },
        lease: { ok: false, reason: 'not known yet who this node is' },
      },
    });
    expect(lines).toContain('<6>started; health on port 8080');
    expect(lines).toContain('<4>check dovecot: failing: port 993: connect ECONNREFUSED 127.0.0.1:993');
    expect(lines.slice(-2)).toEqual(['<6>stopped by SIGTERM', 'exit 0']);
    expect(lines.some((line) => line.includes('draining'))).toBe(false);
  },
  15_000,
);
