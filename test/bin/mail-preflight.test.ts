import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, Server } from 'node:http';
import { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateConfigurationSetCommand,
  CreateConfigurationSetEventDestinationCommand,
  SESClient,
  SetIdentityMailFromDomainCommand,
  VerifyDomainIdentityCommand,
} from '@aws-sdk/client-ses';
import { buildSync } from 'esbuild';
import { MotoServer, startMotoServer } from '../support/moto-server';

/** An answer of SES as it is on the wire: XML of the query protocol (version 1), or JSON (version 2). */
interface Recorded {
  readonly status?: number;
  readonly body: string;
}

/**
 * What moto can't answer, recorded; by the action of version 1, or by the path of version 2. All else is asked of moto.
 * moto has no account in version 2, and its identities and DKIM keys never fail.
 */
let recorded: { [operation: string]: Recorded };
let moto: MotoServer;
let front: Server;
let folder: string;
let ses: SESClient;
let environment: NodeJS.ProcessEnv;

const ACCOUNT = '/v2/email/account';
const healthy = account({ production: true });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mail-preflight-'));
  // As the package ships it: one file.
  buildSync({
    entryPoints: [join(__dirname, '..', '..', 'bin', 'mail-preflight.ts')],
    outfile: join(folder, 'mail-preflight.js'),
    bundle: true,
    platform: 'node',
  });
  moto = await startMotoServer();
  front = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const operation = new URLSearchParams(body.toString()).get('Action') ?? request.url!;
    const { status, body: text } = recorded[operation] ?? (await askMoto(request.url!, request.headers, body));
    const type = operation.startsWith('/') ? 'application/json' : 'text/xml';
    response.writeHead(status ?? 200, { 'content-type': type }).end(text);
  });
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  environment = {
    ...process.env,
    AWS_ENDPOINT_URL: `http://127.0.0.1:${(front.address() as AddressInfo).port}`,
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'testing',
    AWS_SECRET_ACCESS_KEY: 'testing',
  };
  ses = new SESClient(moto.clientOptions);
  await ses.send(new VerifyDomainIdentityCommand({ Domain: 'example.com' }));
  await ses.send(
    new SetIdentityMailFromDomainCommand({ Identity: 'example.com', MailFromDomain: 'bounce.example.com' }),
  );
  for (const name of ['mail', 'bare']) {
    await ses.send(new CreateConfigurationSetCommand({ ConfigurationSet: { Name: name } }));
  }
  await ses.send(
    new CreateConfigurationSetEventDestinationCommand({
      ConfigurationSetName: 'mail',
      EventDestination: { Name: 'events', Enabled: true, MatchingEventTypes: ['bounce', 'complaint'] },
    }),
  );
}, 90_000);

afterAll(async () => {
  ses?.destroy();
  front?.close();
  await moto?.stop();
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(() => {
  recorded = { [ACCOUNT]: healthy };
});

test('a domain that is ready', async () => {
  const { status, stdout } = await run('example.com');
  expect(stdout.trim().split('\n')).toEqual([
    'ok       account            production access, sending is on',
    'ok       quota              200 of 200 messages are left for 24 hours, 1 a second',
    'ok       identity           example.com: verified',
    expect.stringMatching(/^ok {7}dkim {15}example\.com: signs with \w{40,}, \w{40,}, \w{40,}$/),
    'ok       mail-from          example.com: bounce.example.com',
    'ok       suppression        addresses that bounced or complained get no more mail',
  ]);
  expect(status).toBe(0);
});

test('--json tells the same with what SES answered, in one line', async () => {
  const { status, stdout } = await run('--json', 'example.com');
  expect(stdout.trim()).not.toContain('\n');
  const { ready, region, checks } = JSON.parse(stdout);
  expect([status, ready, region]).toEqual([0, true, 'eu-central-1']);
  expect(checks.map(({ check, status: state }: { check: string; status: string }) => [check, state])).toEqual([
    ['account', 'ok'],
    ['quota', 'ok'],
    ['identity', 'ok'],
    ['dkim', 'ok'],
    ['mail-from', 'ok'],
    ['suppression', 'ok'],
  ]);
  expect(checks[1].facts).toEqual({ Max24HourSend: 200, SentLast24Hours: 0, MaxSendRate: 1 });
  expect(checks[3].facts.DkimTokens).toHaveLength(3);
});

test('an unknown domain, and a known one beside it', async () => {
  const { status, stdout } = await run('example.com', 'example.org');
  expect(stdout).toMatch(/^ok +identity +example\.com: verified$/m);
  expect(stdout).toMatch(/^failed +identity +example\.org: SES does not know the domain in this region/m);
  expect(stdout).toMatch(/^failed +dkim +example\.org: not set up/m);
  expect(stdout).toMatch(/^warning +mail-from +example\.org: none/m);
  expect(status).toBe(1);
});

describe('account', () => {
  test.each([
    [{ production: false }, 1, 'failed', 'in the sandbox'],
    [{ production: true, sending: false }, 1, 'failed', 'sending is switched off'],
    [{ production: true, enforcement: 'SHUTDOWN' }, 1, 'failed', 'stopped by AWS (SHUTDOWN)'],
    [{ production: true, enforcement: 'PROBATION' }, 0, 'warning', 'AWS reviews the account'],
  ])('%j', async (state, exit, expected, detail) => {
    recorded[ACCOUNT] = account(state);
    const { status, stdout } = await run('--json', 'example.com');
    expect(JSON.parse(stdout).checks[0]).toMatchObject({ status: expected, detail: expect.stringContaining(detail) });
    expect(status).toBe(exit);
  });

  test('that may not be asked is a failed check, and the others are still done', async () => {
    recorded[ACCOUNT] = { status: 403, body: '{"__type":"AccessDeniedException","message":"not authorized"}' };
    const { status, stdout } = await run('example.com');
    expect(stdout).toContain('failed   account            SES did not answer: AccessDeniedException: not authorized');
    expect(stdout).toMatch(/^ok +dkim/m);
    expect(status).toBe(1);
  });
});

describe('quota', () => {
  const quota = (max: number, sent: number) => ({
    GetSendQuota: xml(
      'GetSendQuota',
      `<SentLast24Hours>${sent}</SentLast24Hours><Max24HourSend>${max}</Max24HourSend><MaxSendRate>14.0</MaxSendRate>`,
    ),
  });

  test.each([
    [50_000, 49_000, '1000', 0, '1000 of 50000 messages are left for 24 hours, 14 a second'],
    [50_000, 49_000, '1001', 1, '1000 of 50000 messages are left for 24 hours, 14 a second; 1001 are needed'],
    [50_000, 50_100, '1', 1, '0 of 50000 messages'],
    [-1, 123_456, '100000', 0, 'no limit for 24 hours, 14 a second'],
  ])('of %d with %d sent, when %s are to be sent', async (max, sent, messages, exit, detail) => {
    Object.assign(recorded, quota(max, sent));
    const { status, stdout } = await run('--messages', messages, 'example.com');
    expect(stdout).toContain(detail);
    expect(status).toBe(exit);
  });
});

describe('DKIM', () => {
  const state = (status: string, enabled = true) => ({
    GetIdentityDkimAttributes: xml(
      'GetIdentityDkimAttributes',
      '<DkimAttributes><entry><key>example.com</key><value>' +
        `<DkimEnabled>${enabled}</DkimEnabled><DkimVerificationStatus>${status}</DkimVerificationStatus>` +
        '<DkimTokens><member>one</member><member>two</member><member>three</member></DkimTokens>' +
        '</value></entry></DkimAttributes>',
    ),
    '/v2/email/identities/example.com': {
      body: '{"IdentityType":"DOMAIN","DkimAttributes":{"SigningHostedZone":"dkim.af-south-1.amazonses.com"}}',
    },
  });

  test.each(['Failed', 'Pending', 'TemporaryFailure'])('%s: tells the records to publish', async (status) => {
    Object.assign(recorded, state(status));
    const { status: exit, stdout } = await run('example.com');
    expect(stdout).toMatch(new RegExp(`^failed +dkim +example\\.com: ${status}: SES does not find the records`, 'm'));
    // The zone that SES names: it is another one in some regions.
    expect(stdout).toContain(
      '\n           one._domainkey.example.com CNAME one.dkim.af-south-1.amazonses.com' +
        '\n           two._domainkey.example.com CNAME two.dkim.af-south-1.amazonses.com' +
        '\n           three._domainkey.example.com CNAME three.dkim.af-south-1.amazonses.com\n',
    );
    expect(exit).toBe(1);
  });

  test('verified, but switched off', async () => {
    Object.assign(recorded, state('Success', false));
    const { status, stdout } = await run('example.com');
    expect(stdout).toMatch(/^failed +dkim +example\.com: verified but switched off/m);
    expect(status).toBe(1);
  });
});

describe('MAIL FROM domain', () => {
  test.each([
    ['UseDefaultValue', 0, 'warning', 'amazonses.com stands in'],
    ['RejectMessage', 1, 'failed', 'SES refuses mail'],
  ])('without its MX record, %s', async (behaviour, exit, expected, detail) => {
    recorded.GetIdentityMailFromDomainAttributes = xml(
      'GetIdentityMailFromDomainAttributes',
      '<MailFromDomainAttributes><entry><key>example.com</key><value>' +
        '<MailFromDomain>bounce.example.com</MailFromDomain><MailFromDomainStatus>Failed</MailFromDomainStatus>' +
        `<BehaviorOnMXFailure>${behaviour}</BehaviorOnMXFailure></value></entry></MailFromDomainAttributes>`,
    );
    const { status, stdout } = await run('example.com');
    expect(stdout).toMatch(
      new RegExp(`^${expected} +mail-from +example\\.com: bounce\\.example\\.com is Failed: ${detail}`, 'm'),
    );
    expect(status).toBe(exit);
  });
});

describe('configuration set', () => {
  test('that does not exist', async () => {
    const { status, stdout } = await run('--configuration-set', 'other', 'example.com');
    expect(stdout).toMatch(/^failed +configuration-set +other: does not exist in this region/m);
    expect(status).toBe(1);
  });

  test.each([
    ['mail', 'TLS is optional'],
    ['bare', 'TLS is optional, no bounce events, no complaint events'],
  ])('%s: tells what it lacks', async (name, detail) => {
    const { status, stdout } = await run('--configuration-set', name, 'example.com');
    expect(stdout).toContain(`warning  configuration-set  ${name}: ${detail}\n`);
    expect(status).toBe(0);
  });

  test.each([
    [true, 0, 'ok       configuration-set  mail: TLS is required, bounces and complaints are told'],
    [false, 1, 'failed   configuration-set  mail: sending is switched off in it'],
  ])('with all that it should have, sending %s', async (sending, exit, line) => {
    recorded.DescribeConfigurationSet = xml(
      'DescribeConfigurationSet',
      '<ConfigurationSet><Name>mail</Name></ConfigurationSet>' +
        '<DeliveryOptions><TlsPolicy>Require</TlsPolicy></DeliveryOptions>' +
        `<ReputationOptions><SendingEnabled>${sending}</SendingEnabled>` +
        '<ReputationMetricsEnabled>true</ReputationMetricsEnabled></ReputationOptions>' +
        '<EventDestinations><member><Name>off</Name><Enabled>false</Enabled><MatchingEventTypes><member>send</member>' +
        '</MatchingEventTypes></member><member><Name>on</Name><Enabled>true</Enabled><MatchingEventTypes>' +
        '<member>bounce</member><member>complaint</member></MatchingEventTypes></member></EventDestinations>',
    );
    const { status, stdout } = await run('--configuration-set', 'mail', 'example.com');
    expect(stdout).toContain(`${line}\n`);
    expect(status).toBe(exit);
  });
});

describe('suppression', () => {
  test("a configuration set's own list stands in place of the account's", async () => {
    recorded['/v2/email/configuration-sets/mail'] = { body: '{"SuppressionOptions":{"SuppressedReasons":["BOUNCE"]}}' };
    const { stdout } = await run('--configuration-set', 'mail', 'example.com');
    expect(stdout).toMatch(/^warning +suppression +mail: off for COMPLAINT:/m);
  });

  test('without one the account tells', async () => {
    recorded[ACCOUNT] = account({ production: true, reasons: [] });
    const { status, stdout } = await run('example.com');
    expect(stdout).toMatch(/^warning +suppression +off for BOUNCE and COMPLAINT:/m);
    expect(status).toBe(0);
  });
});

test('SES that does not answer at all fails each check', async () => {
  const { status, stdout } = await run('--json', 'example.com', {
    ...environment,
    AWS_ENDPOINT_URL: 'http://127.0.0.1:1',
  });
  const { ready, checks } = JSON.parse(stdout);
  expect([status, ready]).toEqual([1, false]);
  expect(new Set(checks.map(({ detail }: { detail: string }) => detail.slice(0, 20)))).toEqual(
    new Set(['SES did not answer: ']),
  );
}, 120_000);

test.each([
  [[], 'at least one domain is expected'],
  [['Example.com'], 'domain must be lower-case such as example.com, got Example.com'],
  [['--messages', '-1', 'example.com'], 'messages'],
  [['--messages=0', 'example.com'], '--messages must be a whole number >= 1, got 0'],
  [['--wrong', 'example.com'], "Unknown option '--wrong'"],
])('fails when it is given %j', async (argv, message) => {
  const { status, stdout, stderr } = await run(...argv);
  expect(stderr).toContain(message);
  expect([status, stdout]).toEqual([1, '']);
});

test('fails when no region is known', async () => {
  // execFile leaves out what is undefined.
  expect((await run('example.com', { ...environment, AWS_REGION: undefined })).stderr).toContain(
    '--region is missing, and AWS_REGION is not set',
  );
});

function run(...argv: (string | NodeJS.ProcessEnv)[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const words = argv.filter((word) => typeof word === 'string');
  const env = argv.find((word) => typeof word === 'object') ?? environment;
  return new Promise((resolve) => {
    execFile(process.execPath, [join(folder, 'mail-preflight.js'), ...words], { env }, (error, stdout, stderr) =>
      resolve({ status: error ? Number(error.code) : 0, stdout, stderr }),
    );
  });
}

function account(state: {
  production: boolean;
  sending?: boolean;
  enforcement?: string;
  reasons?: string[];
}): Recorded {
  return {
    body: JSON.stringify({
      DedicatedIpAutoWarmupEnabled: true,
      EnforcementStatus: state.enforcement ?? 'HEALTHY',
      ProductionAccessEnabled: state.production,
      SendQuota: { Max24HourSend: 200, MaxSendRate: 1, SentLast24Hours: 0 },
      SendingEnabled: state.sending ?? true,
      SuppressionAttributes: { SuppressedReasons: state.reasons ?? ['BOUNCE', 'COMPLAINT'] },
    }),
  };
}

function xml(action: string, result: string): Recorded {
  return {
    body:
      `<${action}Response xmlns="http://ses.amazonaws.com/doc/2010-12-01/"><${action}Result>${result}</${action}Result>` +
      `<ResponseMetadata><RequestId>c0abcdcd-0000-0000-0000-000000000000</RequestId></ResponseMetadata></${action}Response>`,
  };
}

async function askMoto(path: string, headers: NodeJS.Dict<string | string[]>, body: Buffer): Promise<Recorded> {
  const kept = Object.entries(headers).filter(([name]) => !['host', 'connection', 'content-length'].includes(name));
  const answer = await fetch(`${moto.url}${path}`, {
    method: body.length > 0 ? 'POST' : 'GET',
    headers: kept as [string, string][],
    body: body.length > 0 ? body : undefined,
  });
  return { status: answer.status, body: await answer.text() };
}
