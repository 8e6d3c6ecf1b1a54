import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { checkDomain, Finding } from '../../bin/dns/check-domain';
import { Lookup } from '../../bin/dns/lookup';
import { DKIM_REVOKED, dkimText } from '../../lib/dns/dkim-text';
import { txt, zoneFile } from '../../lib/dns/dns-record';
import { MailDnsSettings, withDefaults } from '../../lib/dns/mail-dns-settings';
import { domainRecords, hostRecords, siteLabels, siteTarget } from '../../lib/dns/mail-records';
import { knotInstalled, NameServer, startNameServer } from '../support/name-server';

const describeWithKnot = knotInstalled ? describe : describe.skip;
if (!knotInstalled) {
  console.warn('knot is not installed: mail-dns was not tested (apt-get install knot)');
}

const KEY = publicText(2048);
const OTHER_KEY = publicText(2048);
const SHORT_KEY = publicText(1024);

function publicText(bits: number): string {
  return dkimText(generateKeyPairSync('rsa', { modulusLength: bits }).publicKey);
}

/** What a zone is to hold, and how `check` shall find it. */
interface Case {
  /** Changes the lines of a good zone; `$` stands for the domain. */
  readonly change: (lines: string[]) => string[];
  /** Names below the domain, with type, that are not ok, and a part of the reason. */
  readonly faults: { readonly [record: string]: RegExp };
  readonly settings?: Partial<MailDnsSettings>;
}

const add =
  (...more: string[]) =>
  (lines: string[]) => [...lines, ...more];
const without = (pattern: RegExp) => (lines: string[]) => lines.filter((line) => !pattern.test(line));
const instead =
  (pattern: RegExp, ...more: string[]) =>
  (lines: string[]) => [...without(pattern)(lines), ...more];
const spf = (...lines: string[]) => instead(/v=spf1/, ...lines.map((text) => `$. 60 IN TXT ${text}`));
const dkim = (...lines: string[]) =>
  instead(/^mail1\._domainkey\.\$\./, ...lines.map((text) => `mail1._domainkey.$. 60 IN ${text}`));

const CASES: { [name: string]: Case } = {
  'all is right': { change: (lines) => lines, faults: {} },
  'the key before is revoked': {
    change: add(`mail2._domainkey.mail.$. 60 IN TXT ${txt(DKIM_REVOKED)}`),
    faults: {},
  },
  'somebody else sends too, and SPF is as strict as can be': {
    change: spf('"v=spf1 ip4:198.51.100.0/24 a:outbound.mail.$ -all"'),
    faults: {},
  },
  'a service has another port': {
    change: instead(/^_imaps/, '_imaps._tcp.$. 60 IN SRV 0 1 143 mail.$.'),
    faults: { '_imaps._tcp SRV': /something else/ },
  },
  'a service that is off is offered': {
    change: instead(/^_pop3s/, '_pop3s._tcp.$. 60 IN SRV 0 1 995 mail.$.'),
    faults: { '_pop3s._tcp SRV': /something else/ },
  },
  'MX names an alias': {
    change: instead(/ MX /, '$. 60 IN MX 10 mx.$.', 'mx.$. 60 IN CNAME mail.$.'),
    faults: { ' MX': /mx\.\S+ is an alias of mail\.\S+ and must not be one/ },
  },
  'MX names no host': {
    change: add('$. 60 IN MX 20 old.$.'),
    faults: { ' MX': /20 old\.\S+ would take mail too; old\.\S+ has no address/ },
  },
  'the mail host has no address': {
    change: without(/^mail\.\$\. .* A /),
    faults: { 'mail A': /no address/, ' MX': /has no address/ },
  },
  'SPF is there twice': {
    change: add('$. 60 IN TXT "v=spf1 -all"'),
    faults: { ' TXT': /there are several, so that none counts/ },
  },
  'SPF lacks the nodes': { change: spf('"v=spf1 mx -all"'), faults: { ' TXT': /it lacks a:outbound\.mail\./ } },
  'SPF lets everybody in': {
    change: spf('"v=spf1 a:outbound.mail.$ +all"'),
    faults: { ' TXT': /must end in ~all or -all, not in all/ },
  },
  'SPF has no end': { change: spf('"v=spf1 a:outbound.mail.$"'), faults: { ' TXT': /not in nothing/ } },
  'SPF is softer than asked for': {
    settings: { spfHardFail: true },
    change: spf('"v=spf1 a:outbound.mail.$ ~all"'),
    faults: { ' TXT': /must end in -all, not in ~all/ },
  },
  'SPF needs ten lookups': {
    change: (lines) => add(...chain(9))(spf('"v=spf1 a:outbound.mail.$ include:s1.$ ~all"')(lines)),
    faults: {},
  },
  'SPF needs eleven lookups': {
    change: (lines) => add(...chain(10))(spf('"v=spf1 a:outbound.mail.$ include:s1.$ ~all"')(lines)),
    faults: { ' TXT': /it needs 11 lookups, and verifiers give up after 10/ },
  },
  'SPF includes itself': {
    change: spf('"v=spf1 a:outbound.mail.$ include:$ ~all"'),
    faults: { ' TXT': /it needs 50 or more lookups/ },
  },
  'SPF includes what has none': {
    change: (lines) => add('s1.$. 60 IN TXT "hello"')(spf('"v=spf1 a:outbound.mail.$ include:s1.$ ~all"')(lines)),
    faults: { ' TXT': /s1\.\S+ has no SPF record/ },
  },
  'SPF names three that are not there': {
    change: spf('"v=spf1 a:outbound.mail.$ a:x.$ a:y.$ mx:z.$ ~all"'),
    faults: { ' TXT': /more than 2 of its names are not there: x\.\S+, y\.\S+, z\./ },
  },
  'SPF has a typing error': {
    change: spf('"v=spf1 a:outbound.mail.$ ipv4:192.0.2.1 ~all"'),
    faults: { ' TXT': /ipv4:192\.0\.2\.1 in the record of \S+ is no mechanism/ },
  },
  'the addresses that send are not there': {
    change: without(/^outbound/),
    faults: { ' TXT': /outbound\.mail\.\S+, from where mail is sent, has no address/ },
  },
  'DKIM is a copy of the key': {
    change: dkim(`TXT ${txt(KEY)}`),
    faults: { 'mail1._domainkey TXT': /^it is a TXT record and no alias, so that the next rotation breaks it$/ },
  },
  'DKIM has another key': {
    change: dkim(`TXT ${txt(OTHER_KEY)}`),
    faults: { 'mail1._domainkey TXT': /it has another key than mail1\._domainkey\.mail\./ },
  },
  'DKIM is cut off after 255 bytes': {
    change: dkim(`TXT "${KEY.slice(0, 255)}"`),
    faults: { 'mail1._domainkey TXT': /p is no public key; cut off at 255 bytes/ },
  },
  'DKIM strings are two records': {
    change: dkim(`TXT "${KEY.slice(0, 255)}"`, `TXT "${KEY.slice(255)}"`),
    faults: { 'mail1._domainkey TXT': /there are several records; the strings of a key belong into one/ },
  },
  'DKIM leads elsewhere': {
    change: dkim('CNAME mail2._domainkey.mail.$.'),
    faults: { 'mail1._domainkey CNAME': /it leads elsewhere/ },
  },
  'the published key is short': {
    change: instead(/^mail1\._domainkey\.mail\./, `mail1._domainkey.mail.$. 60 IN TXT ${txt(SHORT_KEY)}`),
    faults: { '….mail TXT': /the key must have 2048 bits or more, got 1024/ },
  },
  'no key is published': {
    change: without(/^mail1\._domainkey\.mail\./),
    faults: { '….mail TXT': /no key is published; did the first rotation fail/ },
  },
  'DMARC is weak': {
    change: instead(/DMARC1/, '_dmarc.$. 60 IN TXT "v=DMARC1; p=none"'),
    faults: { '_dmarc TXT': /p must be reject, got none; rua must have mailto:postmaster@/ },
  },
  'DMARC leaves subdomains and half of the mail': {
    change: instead(/DMARC1/, '_dmarc.$. 60 IN TXT "v=DMARC1; p=reject; sp=none; pct=50; rua=mailto:postmaster@$"'),
    faults: { '_dmarc TXT': /sp leaves subdomains open: it must be reject, got none; pct must be 100, got 50/ },
  },
  'DMARC is there twice': {
    change: add('_dmarc.$. 60 IN TXT "v=DMARC1; p=none"'),
    faults: { '_dmarc TXT': /there are several/ },
  },
  'the MTA-STS id is that of another policy': {
    change: instead(/^_mta-sts\.mail/, '_mta-sts.mail.$. 60 IN TXT "v=STSv1; id=20260101;"'),
    faults: { '_mta-sts.mail TXT': /something else/ },
  },
  'the site has no address': {
    change: without(/^autoconfig\.\$\.mail/),
    faults: { 'autoconfig CNAME': /has no address/ },
  },
  'reports go to a domain that does not take them': {
    settings: { reportAddress: 'dmarc@reports.example' },
    change: (lines) => lines,
    faults: { 'reports.example': /no such record/ },
  },
};

/** `s1` includes `s2` and so on: as many lookups as there are records. */
function chain(length: number): string[] {
  return Array.from({ length }, (_unused, index) => {
    const next = index + 1 < length ? `include:s${index + 2}.$` : 'ip4:192.0.2.1';
    return `s${index + 1}.$. 60 IN TXT "v=spf1 ${next} ~all"`;
  });
}

describeWithKnot('mail-dns', () => {
  const names = Object.keys(CASES);
  const domainOf = (index: number) => `case${index}.example`;
  const settingsOf = (domain: string, more: Partial<MailDnsSettings> = {}) =>
    withDefaults({ domains: [domain], ...more });
  let server: NameServer;
  let folder: string;
  let command: string;

  /** A whole zone: the printed lines, and what the stack itself keeps in Route 53. */
  function goodLines(settings: MailDnsSettings): string[] {
    const [domain] = settings.domains;
    const host = `mail.${domain}`;
    const text = [
      zoneFile([...domainRecords(settings, domain), ...hostRecords(settings)]),
      `${host}. 60 IN A 192.0.2.10`,
      `outbound.${host}. 60 IN A 192.0.2.20`,
      `mail1._domainkey.${host}. 300 IN TXT ${txt(KEY)}`,
      ...siteLabels(settings).map((label) => `${siteTarget(label, domain, host)}. 60 IN A 192.0.2.30`),
    ].join('\n');
    return text.split('\n').filter((line) => line !== '');
  }

  function zone(domain: string, lines: string[]): string {
    const soa = `${domain}. 60 IN SOA ns.${domain}. hostmaster.${domain}. 1 3600 600 86400 60`;
    return [soa, `${domain}. 60 IN NS ns.${domain}.`, `ns.${domain}. 60 IN A 127.0.0.1`, ...lines, ''].join('\n');
  }

  beforeAll(async () => {
    const zones: { [name: string]: string } = {
      'empty.example': zone('empty.example', []),
      'reports.example': zone('reports.example', []),
      example: zone('example', []),
    };
    names.forEach((name, index) => {
      const domain = domainOf(index);
      const { change, settings } = CASES[name];
      const lines = goodLines(settingsOf(domain, settings)).map((line) => line.replaceAll(domain, '$'));
      zones[domain] = zone(
        domain,
        change(lines).map((line) => line.replaceAll('$', domain)),
      );
    });
    // One zone for each record, that lacks it.
    domainRecords(settingsOf('lacks.example'), 'lacks.example').forEach(({ name, type }, index) => {
      const domain = `lacks${index}.example`;
      const lacking = `${name}. `.replaceAll('lacks.example', domain);
      const lines = goodLines(settingsOf(domain)).filter(
        (line) => !(line.startsWith(lacking) && line.includes(` IN ${type} `)),
      );
      zones[domain] = zone(domain, lines);
    });
    server = await startNameServer(zones);
    folder = mkdtempSync(join(tmpdir(), 'mail-dns-'));
    command = join(folder, 'mail-dns.js');
    // As the package ships it: one file.
    const entryPoints = [join(__dirname, '..', '..', 'bin', 'mail-dns.ts')];
    buildSync({ entryPoints, outfile: command, bundle: true, platform: 'node' });
  }, 60_000);

  afterAll(async () => {
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  function run(...argv: string[]) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...argv], { encoding: 'utf8' });
    return { status, stdout, stderr };
  }

  const check = (...argv: string[]) => run('check', '--resolver', server.address, ...argv);

  test.each(names)('%s', async (name) => {
    const domain = domainOf(names.indexOf(name));
    const { faults, settings } = CASES[name];
    const findings = await checkDomain(settingsOf(domain, settings), domain, new Lookup(server.address));
    const bad = findings.filter(({ status }) => status !== 'ok');
    const shortened = ({ name: found, type }: Finding) =>
      found.endsWith('reports.example')
        ? 'reports.example'
        : `${found.replace('…._domainkey', '…').replace(new RegExp(`\\.?${domain}$`), '')} ${type}`;
    // Records whose type is another one are named with the type that is expected.
    const seen = Object.fromEntries(bad.map((finding) => [shortened(finding), finding.reasons.join('; ')]));
    const expected = Object.entries(faults).map(([key, reason]) => [
      key.replace('_domainkey TXT', '_domainkey CNAME'),
      expect.stringMatching(reason),
    ]);
    expect(seen).toEqual(Object.fromEntries(expected));
  });

  test('each record that lacks is missing, and only that', async () => {
    const records = domainRecords(settingsOf('lacks.example'), 'lacks.example');
    expect(records.length).toBeGreaterThan(15);
    for (const [index, { purpose }] of records.entries()) {
      const domain = `lacks${index}.example`;
      const findings = await checkDomain(settingsOf(domain), domain, new Lookup(server.address));
      const bad = findings
        .filter(({ status }) => status !== 'ok')
        .map((finding) => `${finding.status} ${finding.purpose}`);
      expect(bad).toEqual([`missing ${purpose}`]);
    }
  }, 30_000);

  test('what print writes is a zone that check finds nothing in', () => {
    const printed = run('print', domainOf(0));
    expect(printed).toMatchObject({ status: 0, stderr: '' });
    const lines = goodLines(settingsOf(domainOf(0)));
    // knot serves these very lines.
    expect(printed.stdout.trimEnd().split('\n')).toEqual(lines.slice(0, printed.stdout.trimEnd().split('\n').length));
    const { status, stdout } = check(domainOf(0));
    expect(stdout).toMatch(/^ok {7}MX {4}case0\.example$/m);
    expect(stdout).toMatch(/case0\.example: \d+ checked, 0 missing, 0 wrong, 0 unknown\n$/);
    expect(status).toBe(0);
  });

  test('a person reads what it is, what it should be, and why', () => {
    const domain = domainOf(names.indexOf('MX names an alias'));
    const { status, stdout } = check(domain);
    expect(status).toBe(1);
    expect(stdout).toContain(
      [
        `wrong    MX    ${domain}`,
        `           is 10 mx.${domain}.`,
        `    should be 10 mail.${domain}.`,
        `      because it lacks 10 mail.${domain}.`,
      ].join('\n'),
    );
  });

  test('a program reads JSON', () => {
    const { status, stdout } = check('--json', 'empty.example');
    expect(status).toBe(1);
    const { records, ...summary } = JSON.parse(stdout);
    expect(summary).toEqual({
      domain: 'empty.example',
      checked: records.length,
      missing: records.length,
      wrong: 0,
      unknown: 0,
    });
    expect(records).toContainEqual({
      purpose: 'Mx',
      name: 'empty.example',
      type: 'MX',
      status: 'missing',
      found: [],
      expected: ['10 mail.empty.example.'],
      reasons: ['there is no such record'],
    });
  });

  test('takes the output of the stack, also from a file', () => {
    const settings = JSON.stringify(settingsOf(domainOf(0), { dmarc: 'none' }));
    expect(check('--settings', settings, domainOf(0))).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('p must be none, got reject'),
    });
    writeFileSync(join(folder, 'settings.json'), settings);
    expect(check('--settings', join(folder, 'settings.json'), domainOf(0)).status).toBe(1);
    expect(run('print', '--settings', settings, domainOf(0)).stdout).toContain('"v=DMARC1; p=none; ');
  });

  test('says that it does not know when no name server answers', () => {
    const { status, stdout } = run('check', '--resolver', '127.0.0.1:1', '--json', 'empty.example');
    expect(status).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ missing: 0, wrong: 0 });
    expect(JSON.parse(stdout).unknown).toBeGreaterThan(15);
  });

  test.each([
    ['the command is unknown', ['fix', 'example.com'], 'expected check or print, and one domain, got fix example.com'],
    ['there is no domain', ['check'], 'expected check or print, and one domain, got check'],
    [
      'the domain is none',
      ['check', 'example'],
      'domains must be lower-case domains such as example.com, got "example"',
    ],
    ['a service is unknown', ['check', '--services', 'imap', 'example.com'], 'services must be of imaps, submission'],
    ['settings are none', ['check', '--settings', 'nowhere', 'example.com'], 'settings must be the output DnsSettings'],
    [
      'the domain is of somebody else',
      ['check', '--settings', '{"domains":["example.com"]}', 'example.net'],
      'example.net is none of the domains in the settings: example.com',
    ],
    [
      'the resolver is no address',
      ['check', '--resolver', 'ns.example', 'example.com'],
      '--resolver must be an address',
    ],
  ])('fails when %s', (_name, argv, message) => {
    const { status, stderr } = run(...argv);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(status).toBe(2);
  });
});
