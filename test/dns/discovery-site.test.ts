import { spawnSync } from 'node:child_process';
import { Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { Construct } from 'constructs';
import { handler, SiteRequest } from '../../handlers/discovery';
import { MailService } from '../../lib/access';
import { ISingleSignOn, OpenIdOptions, SingleSignOn } from '../../lib/directory';
import { MailDns } from '../../lib/dns';
import { MailKey } from '../../lib/security';
import { testStack } from '../support/apps';

const saved = { ...process.env };
const stack = testStack();
siteOf(stack);
const template = Template.fromStack(stack);

beforeAll(() => {
  // What the function is really given.
  process.env.SITE = settingsIn(template);
});

afterAll(() => {
  process.env = saved;
});

/** Settings that the function of the stack is given. */
function settingsIn(made: Template): string | undefined {
  const functions = Object.values(made.findResources('AWS::Lambda::Function'));
  return functions.map(({ Properties }) => Properties.Environment?.Variables?.SITE).find(Boolean);
}

function siteOf(scope: Stack, singleSignOn?: ISingleSignOn): MailDns {
  return new MailDns(scope, 'Dns', {
    singleSignOn,
    domains: ['example.com', 'example.org'],
    hostname: 'mail.example.com',
    hostedZone: PublicHostedZone.fromPublicHostedZoneAttributes(scope, 'Zone', {
      hostedZoneId: 'Z0123456789',
      zoneName: 'example.com',
    }),
    services: [MailService.IMAPS, MailService.SUBMISSION, MailService.SUBMISSIONS, MailService.POP3S, MailService.MX],
    outboundAddresses: ['192.0.2.1'],
    encryptionKey: new MailKey(scope, 'Key').key,
  });
}

async function ask(method: string, url: string, more: Partial<SiteRequest> = {}) {
  const { hostname, pathname } = new URL(url);
  const answer = await handler({
    // As API Gateway hands it on, format 2.0.
    rawPath: pathname,
    isBase64Encoded: false,
    requestContext: { domainName: hostname, http: { method } },
    ...more,
  });
  return {
    status: answer.statusCode,
    type: answer.headers?.['content-type'],
    body: answer.body ?? '',
    headers: answer.headers,
  };
}

/** Texts of elements by their path, read by a real XML parser. */
function parse(xml: string): { path: string; text: string }[] {
  const program = `
import json, sys, xml.etree.ElementTree as tree
def walk(element, path):
    path = path + '/' + element.tag.split('}')[-1] + ''.join('[%s=%s]' % pair for pair in element.attrib.items())
    if element.text and element.text.strip(): yield {'path': path, 'text': element.text}
    for child in element: yield from walk(child, path)
print(json.dumps(list(walk(tree.fromstring(sys.stdin.buffer.read()), ''))))`;
  const { status, stdout, stderr } = spawnSync('python3', ['-c', program], { input: xml, encoding: 'utf8' });
  if (status !== 0) {
    throw new Error(stderr);
  }
  return JSON.parse(stdout);
}

test('the MTA-STS policy is what its id stands for, with the line ends of RFC 8461', async () => {
  const { status, type, body } = await ask('GET', 'https://mta-sts.example.com/.well-known/mta-sts.txt');
  expect([status, type]).toEqual([200, 'text/plain; charset=us-ascii']);
  expect(body).toBe('version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmax_age: 1209600\r\n');
});

test.each([
  'https://autoconfig.example.org/mail/config-v1.1.xml?emailaddress=alice%40example.org',
  'https://autoconfig.example.org/.well-known/autoconfig/mail/config-v1.1.xml',
])('%s tells of the servers, the better one of a kind first', async (url) => {
  const { status, type, body } = await ask('GET', url);
  expect([status, type]).toEqual([200, 'application/xml; charset=utf-8']);
  const elements = parse(body);
  const server = (kind: string) =>
    elements.filter(({ path }) => path.includes(kind)).map(({ path, text }) => `${path.replace(/^.*\//, '')} ${text}`);
  expect(server('incomingServer[type=imap]')).toEqual([
    'hostname mail.example.com',
    'port 993',
    'socketType SSL',
    'authentication password-cleartext',
    'username %EMAILADDRESS%',
  ]);
  expect(server('incomingServer[type=pop3]')).toContain('port 995');
  expect(server('outgoingServer[type=smtp]').filter((line) => /^(port|socketType)/.test(line))).toEqual([
    'port 465',
    'socketType SSL',
    'port 587',
    'socketType STARTTLS',
  ]);
  // Nothing about the other domain.
  expect(elements.filter(({ path }) => path.endsWith('/domain')).map(({ text }) => text)).toEqual(['example.org']);
});

describe('with a provider where people sign in', () => {
  const provider = { issuer: 'https://login.example.com/realms/staff', clientId: 'mail' };
  const urls = {
    authorizationUrl: 'https://login.example.com/auth?a=1&b=2',
    tokenUrl: 'https://login.example.com/token',
  };
  const told = async (options: OpenIdOptions) => {
    const scope = testStack();
    const before = process.env.SITE;
    const bound = { hostname: 'mail.example.com', encryptionKey: new MailKey(scope, 'SignInKey').key };
    siteOf(scope, SingleSignOn.openId(options).bind(new Construct(scope, 'SignIn'), bound));
    process.env.SITE = settingsIn(Template.fromStack(scope));
    try {
      const { body } = await ask('GET', 'https://autoconfig.example.com/mail/config-v1.1.xml');
      return parse(body).map(({ path, text }) => `${path.replace(/^.*\//, '')} ${text}`);
    } finally {
      process.env.SITE = before;
    }
  };

  test('clients are told to get a token there, or else to ask for a password', async () => {
    const lines = await told({ ...provider, ...urls });
    expect(lines.filter((line) => line.startsWith('authentication '))).toEqual(
      [1, 2, 3, 4].flatMap(() => ['authentication OAuth2', 'authentication password-cleartext']),
    );
    expect(lines.slice(-5)).toEqual([
      'issuer login.example.com',
      'scope openid email offline_access',
      'authURL https://login.example.com/auth?a=1&b=2',
      'tokenURL https://login.example.com/token',
      'clientID mail',
    ]);
  });

  test('clients are told nothing that they could not begin with', async () => {
    expect(await told(provider)).not.toContainEqual(expect.stringMatching(/OAuth2|issuer/));
  });
});

function outlook(address: string, schema = 'outlook/responseschema/2006a'): string {
  return `<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006">
  <Request>
    <EMailAddress>${address}</EMailAddress>
    <AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/${schema}</AcceptableResponseSchema>
  </Request>
</Autodiscover>`;
}

test.each([
  ['/autodiscover/autodiscover.xml', false],
  ['/Autodiscover/Autodiscover.xml', true],
])('Outlook that posts to %s is set up', async (path, isBase64Encoded) => {
  const xml = outlook('Alice@Example.com');
  const body = isBase64Encoded ? Buffer.from(xml).toString('base64') : xml;
  const answer = await ask('POST', `https://autodiscover.example.com${path}`, { body, isBase64Encoded });
  expect([answer.status, answer.headers!['cache-control']]).toEqual([200, 'no-store']);
  const values = parse(answer.body).map(({ path: where, text }) => `${where.replace(/^.*\//, '')} ${text}`);
  expect(values.filter((value) => /^(Type|Server|Port|LoginName|SSL|Encryption)/.test(value))).toEqual([
    ...['Type IMAP', 'Server mail.example.com', 'Port 993', 'LoginName Alice@Example.com', 'SSL on', 'Encryption SSL'],
    ...['Type POP3', 'Server mail.example.com', 'Port 995', 'LoginName Alice@Example.com', 'SSL on', 'Encryption SSL'],
    ...['Type SMTP', 'Server mail.example.com', 'Port 465', 'LoginName Alice@Example.com', 'SSL on', 'Encryption SSL'],
  ]);
});

test.each([
  ['a phone that wants ActiveSync', outlook('alice@example.com', 'mobilesync/responseschema/2006'), '601'],
  ['an address of somebody else', outlook('alice@example.net'), '600'],
  ['no address', outlook(''), '600'],
  ['markup for an address', outlook('&lt;b&gt;@example.com'), '600'],
  ['no XML', 'hello', '600'],
  ['nothing', '', '600'],
])('Autodiscover answers %s with an error', async (_name, body, code) => {
  const answer = await ask('POST', 'https://autodiscover.example.com/autodiscover/autodiscover.xml', { body });
  expect(answer.status).toBe(200);
  expect(parse(answer.body)).toContainEqual({ path: '/Autodiscover/Response/Error/ErrorCode', text: code });
});

test.each([
  ['GET', 'https://autodiscover.example.com/autodiscover/autodiscover.xml', 405],
  ['POST', 'https://mta-sts.example.com/.well-known/mta-sts.txt', 405],
  ['GET', 'https://mta-sts.example.com/', 404],
  ['GET', 'https://mta-sts.example.net/.well-known/mta-sts.txt', 404],
])('%s %s is answered with %i', async (method, url, status) => {
  expect((await ask(method, url)).status).toBe(status);
});

test('the site is reached by its names only, by TLS 1.2, and not more often than it may cost', () => {
  template.hasResourceProperties('AWS::ApiGatewayV2::Api', { DisableExecuteApiEndpoint: true, ProtocolType: 'HTTP' });
  template.resourceCountIs('AWS::ApiGatewayV2::DomainName', 6);
  template.allResourcesProperties('AWS::ApiGatewayV2::DomainName', {
    DomainNameConfigurations: [Match.objectLike({ SecurityPolicy: 'TLS_1_2', EndpointType: 'REGIONAL' })],
  });
  template.hasResourceProperties('AWS::ApiGatewayV2::Stage', {
    StageName: '$default',
    DefaultRouteSettings: { ThrottlingRateLimit: 100, ThrottlingBurstLimit: 200 },
    AccessLogSettings: { Format: Match.not(Match.stringLikeRegexp('query|rawPath|emailaddress')) },
  });
});
