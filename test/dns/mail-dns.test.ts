import { Duration, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { MailService } from '../../lib/access';
import { DmarcPolicy, MailDns, MailDnsProps, MtaStsMode } from '../../lib/dns';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

function mailDns(stack: Stack, props: Partial<MailDnsProps> = {}, zoneName = 'example.com'): MailDns {
  const { key } = new MailKey(stack, 'Key');
  return new MailDns(stack, 'Dns', {
    domains: ['example.com'],
    hostname: 'mail.example.com',
    hostedZone: zoneOf(stack, zoneName),
    services: [MailService.IMAPS, MailService.SUBMISSION, MailService.MX],
    outboundAddresses: ['192.0.2.1', '192.0.2.2'],
    encryptionKey: key,
    alarmTopic: new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic,
    ...props,
  });
}

function zoneOf(stack: Stack, zoneName: string) {
  const hostedZoneId = `Z0${zoneName.toUpperCase().replace(/\W/g, '')}`;
  return PublicHostedZone.fromPublicHostedZoneAttributes(stack, `Zone-${zoneName}`, { hostedZoneId, zoneName });
}

/** Record sets as `name type values`, in the order of their names. */
function recordsIn(template: Template): string[] {
  return Object.values(template.findResources('AWS::Route53::RecordSet'))
    .map(({ Properties: { Name, Type, ResourceRecords, AliasTarget } }) =>
      [Name, Type, ...(AliasTarget ? ['alias'] : ResourceRecords)].join(' '),
    )
    .sort();
}

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = testStack(context);
  mailDns(stack);
  const template = Template.fromStack(stack);

  test('a domain in Route 53 has all its records', () => {
    expect(recordsIn(template)).toEqual([
      '_dmarc.example.com. TXT "v=DMARC1; p=reject; rua=mailto:postmaster@example.com"',
      '_imap._tcp.example.com. SRV 0 0 0 .',
      '_imaps._tcp.example.com. SRV 0 1 993 mail.example.com.',
      '_mta-sts.example.com. CNAME _mta-sts.mail.example.com.',
      expect.stringMatching(/^_mta-sts\.mail\.example\.com\. TXT "v=STSv1; id=[0-9a-f]{32};"$/),
      '_pop3._tcp.example.com. SRV 0 0 0 .',
      '_pop3s._tcp.example.com. SRV 0 0 0 .',
      '_sieve._tcp.example.com. SRV 0 0 0 .',
      '_smtp._tls.example.com. TXT "v=TLSRPTv1; rua=mailto:postmaster@example.com"',
      '_submission._tcp.example.com. SRV 10 1 587 mail.example.com.',
      '_submissions._tcp.example.com. SRV 0 0 0 .',
      'autoconfig.example.com. CNAME autoconfig.example.com.mail.example.com.',
      'autoconfig.example.com.mail.example.com. A alias',
      'autodiscover.example.com. CNAME autodiscover.example.com.mail.example.com.',
      'autodiscover.example.com.mail.example.com. A alias',
      'example.com. MX 10 mail.example.com.',
      'example.com. TXT "v=spf1 a:outbound.mail.example.com ~all"',
      'mail1._domainkey.example.com. CNAME mail1._domainkey.mail.example.com.',
      'mail2._domainkey.example.com. CNAME mail2._domainkey.mail.example.com.',
      'mta-sts.example.com. CNAME mta-sts.example.com.mail.example.com.',
      'mta-sts.example.com.mail.example.com. A alias',
      'outbound.mail.example.com. A 192.0.2.1 192.0.2.2',
    ]);
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });

  test('the certificate of the site is proven in the zone, and the policy is announced after it can be read', () => {
    template.hasResourceProperties('AWS::CertificateManager::Certificate', {
      DomainName: 'autoconfig.example.com',
      SubjectAlternativeNames: ['autodiscover.example.com', 'mta-sts.example.com'],
      DomainValidationOptions: Match.arrayWith([{ DomainName: 'mta-sts.example.com', HostedZoneId: 'Z0EXAMPLECOM' }]),
    });
    template.hasResource('AWS::Route53::RecordSet', {
      Properties: { Name: '_mta-sts.mail.example.com.' },
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('^DnsSiteexamplecomMappingmtasts')]),
    });
  });
});

test('a domain elsewhere gets an output of lines that hold nothing which changes', () => {
  const stack = testStack();
  const dns = mailDns(stack, { domains: ['example.com', 'example.org'] }, 'mail.example.com');
  const template = Template.fromStack(stack);
  expect(recordsIn(template).filter((record) => !/^\S+\.mail\.example\.com\. /.test(record))).toEqual([]);
  const outputs = template.findOutputs('*');
  const files = Object.keys(outputs).filter((id) => id.startsWith('DnsZoneFile'));
  expect(files.map((id) => id.slice(0, -8))).toEqual(['DnsZoneFileExampleCom', 'DnsZoneFileExampleOrg']);
  const lines: string[] = outputs[files[1]].Value.trimEnd().split('\n');
  expect(lines).toContain('example.org. 3600 IN MX 10 mail.example.com.');
  expect(lines).toContain('mail1._domainkey.example.org. 3600 IN CNAME mail1._domainkey.mail.example.com.');
  expect(lines).toContain('example.org. 3600 IN TXT "v=spf1 a:outbound.mail.example.com ~all"');
  expect(lines).toHaveLength(dns.records('example.org').length);
  // Reports about the second domain go to the first, which must allow that.
  expect(outputs[files[0]].Value).toContain('example.org._report._dmarc.example.com. 3600 IN TXT "v=DMARC1"\n');
  expect(JSON.parse(Object.entries(outputs).find(([id]) => id.startsWith('DnsSettings'))![1].Value)).toEqual(
    dns.settings,
  );
  expect(openFindings(stack)).toEqual([]);
});

test('services decide what clients find, and in which order they try', () => {
  const stack = testStack();
  const dns = mailDns(stack, { services: MailService.all() });
  const values = Object.fromEntries(dns.records('example.com').map(({ name, values }) => [name, values[0]]));
  expect(values).toMatchObject({
    '_imaps._tcp.example.com': '0 1 993 mail.example.com.',
    '_imap._tcp.example.com': '0 0 0 .',
    '_pop3s._tcp.example.com': '10 1 995 mail.example.com.',
    '_pop3._tcp.example.com': '0 0 0 .',
    '_submissions._tcp.example.com': '0 1 465 mail.example.com.',
    '_submission._tcp.example.com': '10 1 587 mail.example.com.',
    '_sieve._tcp.example.com': '0 1 4190 mail.example.com.',
  });
});

test('policies are staged by props, and each change of the MTA-STS policy has another id', () => {
  const staged = testStack();
  mailDns(staged, { dmarc: DmarcPolicy.QUARANTINE, mtaSts: MtaStsMode.TESTING, spfHardFail: true });
  const [template, strict] = [staged, withDefaults()].map((stack) => recordsIn(Template.fromStack(stack)));
  expect(template).toContain('_dmarc.example.com. TXT "v=DMARC1; p=quarantine; rua=mailto:postmaster@example.com"');
  expect(template).toContain('example.com. TXT "v=spf1 a:outbound.mail.example.com -all"');
  const id = (records: string[]) => records.find((record) => record.startsWith('_mta-sts.mail.'));
  expect(id(template)).toMatch(/id=/);
  expect(id(template)).not.toBe(id(strict));
});

test('without a mail exchanger there is neither MX nor MTA-STS, and a warning', () => {
  const stack = testStack();
  const dns = mailDns(stack, { services: [MailService.IMAPS, MailService.SUBMISSION] });
  const purposes = dns.records('example.com').map(({ purpose }) => purpose);
  expect(purposes.filter((purpose) => /^(Mx|MtaSts|TlsReports)/.test(purpose))).toEqual([]);
  Annotations.fromStack(stack).hasWarning('/Test/Dns', Match.stringLikeRegexp('no MX record is made'));
});

test('other mail exchangers and other senders', () => {
  const stack = testStack();
  const dns = mailDns(stack, {
    mailExchangers: [{ preference: 10, host: 'inbound-smtp.eu-central-1.amazonaws.com' }],
    senders: ['include:amazonses.com'],
    otherTexts: { 'example.com': ['proof="1"'] },
  });
  expect(dns.records('example.com').find(({ purpose }) => purpose === 'Mx')!.values).toEqual([
    '10 inbound-smtp.eu-central-1.amazonaws.com.',
  ]);
  expect(recordsIn(Template.fromStack(stack))).toContain(
    'example.com. TXT "v=spf1 a:outbound.mail.example.com include:amazonses.com ~all" "proof=\\"1\\""',
  );
});

test('without the site, only DNS', () => {
  const stack = testStack();
  const dns = mailDns(stack, { discoverySite: false });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::ApiGatewayV2::Api', 0);
  template.resourceCountIs('AWS::CertificateManager::Certificate', 0);
  expect(dns.records('example.com').filter(({ purpose }) => /^(Auto|MtaSts)/.test(purpose))).toEqual([]);
});

test("takes the owner's zones and certificate", () => {
  const stack = testStack();
  const arn = 'arn:aws:acm:eu-central-1:111122223333:certificate/c';
  mailDns(
    stack,
    {
      domainZones: { 'example.com': zoneOf(stack, 'example.com') },
      siteCertificate: Certificate.fromCertificateArn(stack, 'Certificate', arn),
    },
    'mail.example.com',
  );
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::CertificateManager::Certificate', 0);
  template.hasResourceProperties('AWS::ApiGatewayV2::DomainName', {
    DomainNameConfigurations: [Match.objectLike({ CertificateArn: arn, SecurityPolicy: 'TLS_1_2' })],
  });
  template.hasResourceProperties('AWS::Route53::RecordSet', { Type: 'MX', HostedZoneId: 'Z0EXAMPLECOM' });
  template.hasResourceProperties('AWS::Route53::RecordSet', {
    Name: 'outbound.mail.example.com.',
    HostedZoneId: 'Z0MAILEXAMPLECOM',
  });
});

test('a domain that is the name of the mail host itself leads to no name by itself', () => {
  const stack = testStack();
  const dns = mailDns(stack, { hostname: 'example.com' });
  const names = [...recordsIn(Template.fromStack(stack))].map((record) => record.split(' ').slice(0, 2).join(' '));
  expect(new Set(names).size).toBe(names.length);
  expect(
    dns.records('example.com').filter(({ type, values, name }) => type === 'CNAME' && values[0] === `${name}.`),
  ).toEqual([]);
});

test.each<[string, Partial<MailDnsProps>, string]>([
  ['nothing sends', { outboundAddresses: [] }, 'outboundAddresses or senders must say what sends mail, got none'],
  [
    'an address is none',
    { outboundAddresses: ['192.0.2.256'] },
    'outboundAddresses must be IPv4 addresses, got "192.0.2.256"',
  ],
  ['a sender is none', { senders: ['amazonses.com'] }, 'senders must be SPF mechanisms such as ip4:192.0.2.1'],
  ['a sender is everybody', { senders: ['+all'] }, 'senders must be SPF mechanisms'],
  ['a domain is none', { domains: ['Example.com'] }, 'domains must be lower-case domains such as example.com'],
  [
    'an exchanger is an address',
    { mailExchangers: [{ preference: 10, host: '192.0.2.1' }] },
    'mailExchangers.host must be a lower-case name',
  ],
  ['reports go nowhere', { reportAddress: 'ops' }, 'reportAddress must be an address such as postmaster@example.com'],
  [
    'a text is for another domain',
    { otherTexts: { 'example.net': ['a'] } },
    'otherTexts has example.net, which is none of the mail domains example.com',
  ],
  ['the key turns too fast', { dkimRotateAfter: Duration.days(7) }, 'rotateAfter must be 10 to 1000 whole days, got 7'],
  [
    'the overlap is shorter than queues',
    { dkimOverlap: Duration.days(2) },
    'overlap must be 5 to 45 whole days, got 2',
  ],
])('fails when %s', (_name, props, message) => {
  expect(() => mailDns(testStack(), props)).toThrow(message);
});

test('fails when a zone holds none of its domain', () => {
  const stack = testStack();
  expect(() => mailDns(stack, { domainZones: { 'example.com': zoneOf(stack, 'example.org') } })).toThrow(
    'domainZones must hold example.com, got example.org',
  );
});

function withDefaults(): Stack {
  const stack = testStack();
  mailDns(stack);
  return stack;
}
