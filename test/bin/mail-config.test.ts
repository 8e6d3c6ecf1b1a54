import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../bin/load-config';
import { checkConfig } from '../../bin/mail-config';

const KEY = 'arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555';
const SECRET = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:mail/copy-AbCdEf';
const copy = { endpoint: 'https://s3.example.net', bucketName: 'copy', secretArn: SECRET };
const alice = ['arn:aws:iam::111122223333:user/alice'];
const located = { account: '111122223333', region: 'eu-central-1' };

test('takes a domain alone, and everything together', () => {
  expect(checkConfig({ domain: 'example.com' })).toEqual({ domain: 'example.com' });
  const everything = {
    ...located,
    domain: 'example.com',
    additionalDomains: ['example.org'],
    hostname: 'imap.example.com',
    vpcId: 'vpc-0123456789abcdef0',
    hostedZone: { id: 'Z0123456789ABCDEFGHIJ', name: 'example.com' },
    dns: { dmarc: 'quarantine', mtaSts: 'testing', reportAddress: 'dmarc@example.com', senders: ['mx'] },
    services: ['imaps', 'submission', 'mx'],
    allow: { imaps: { cidrs: ['192.0.2.0/24'] }, submission: { prefixList: 'pl-0123456789abcdef0' }, mx: 'anywhere' },
    connectionLimits: {
      ...{ newPerMinute: 30, newBurst: 40, sessionsPerSource: 100, sessionsPerUser: 30, halfOpenPerMinute: 4000 },
      ...{ lockoutFailures: 5, lockoutMinutes: 60, exempt: ['198.51.100.0/24'] },
    },
    blockLists: {
      lists: ['tor-exits', 'spamhaus-drop', { name: 'ours', networks: ['198.51.100.0/24'] }],
      ...{ services: ['imaps'], refreshHours: 6, staleHours: 48, growthMax: 100 },
    },
    filtering: { duringOutage: 'defer', greylisting: false, virusScan: true, junkScore: 5.5, rejectScore: 12 },
    users: 2000,
    minNodes: 3,
    maxNodes: 9,
    instanceType: 'm7g.xlarge',
    connectionsPerNode: 3000,
    implicitTls: 'node',
    idleTimeoutMinutes: 30,
    clientCertificates: { authorities: 'PEM' },
    nodeCertificate: { secretArn: 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:c' },
    mailboxQuotaMiB: 10_240,
    mailboxFormat: 'sdbox',
    messageSizeMiB: 25,
    maintenanceWindow: { start: '03:30', timeZone: 'Europe/Berlin' },
    trashDays: 30,
    junkDays: 14,
    pauseMinutes: 20,
    rollbackOnAlarm: false,
    sessionManager: false,
    shieldAdvanced: true,
    globalAccelerator: true,
    operators: {
      operators: ['arn:aws:iam::111122223333:user/alice'],
      auditors: ['permissionSet:MailAudit'],
      ...{ sessionHours: 2, erasure: true, restore: true },
    },
    restoreAccess: { sources: ['192.0.2.7/32'], rotateDays: 10 },
    archiveTiers: { glacierDays: 30, deepArchiveDays: 120 },
    archiveReplication: { bucketName: 'copy', keyArn: KEY, region: 'eu-west-1' },
    storeReplication: { region: 'eu-west-1', keyArn: KEY },
    archiveCopy: { endpoint: 'https://s3.example.net', bucketName: 'copy', secretArn: SECRET, lateMinutes: 10 },
    archiveLock: { mode: 'governance', days: 365 },
    journal: true,
    retention: ['gdpr', 'iso27001'],
    alarmEmail: 'ops@example.net',
    terminationProtection: false,
  };
  expect(checkConfig(everything)).toEqual(everything);
});

test.each<[string, object, string]>([
  ['no domain', {}, 'domain must be a lower-case domain such as example.com, got nothing; add it'],
  ['a wrong domain', { domain: 'example' }, 'domain must be a lower-case domain such as example.com, got "example"'],
  ['a domain with capitals', { domain: 'Example.com' }, 'domain must be a lower-case domain'],
  ['an address as domain', { domain: 'info@example.com' }, 'domain must be a lower-case domain'],
  ['a field that is not known', { domian: 'example.com' }, 'domian is not a field; expected one of domain, '],
  ['a second domain twice', { additionalDomains: ['a.org', 'a.org'] }, 'additionalDomains has "a.org" twice'],
  ['the primary domain again', { additionalDomains: ['example.com'] }, 'additionalDomains has example.com twice'],
  ['a host name with a port', { hostname: 'mail.example.com:993' }, 'hostname must be a lower-case name'],
  ['no such stage of DMARC', { dns: { dmarc: 'strict' } }, 'dns.dmarc must be one of none, quarantine, reject'],
  ['a number as account', { account: 111122223333, region: 'eu-central-1' }, 'account must be 12 digits in quotes'],
  ['an account without region', { account: '111122223333' }, 'region is missing; account and region go together'],
  ['a region without account', { region: 'eu-central-1' }, 'account is missing; account and region go together'],
  ['no such region', { ...located, region: 'frankfurt' }, 'region must be a region such as eu-central-1'],
  ['a network without account', { vpcId: 'vpc-0123456789abcdef0' }, 'vpcId needs account and region'],
  ['no network id', { ...located, vpcId: 'default' }, 'vpcId must be an id such as vpc-0123456789abcdef0'],
  ['zones of an imported network', { ...located, vpcId: 'vpc-01234567', zones: 3 }, 'zones is for a new network'],
  ['a relay that is none', { relay: 'smtp' }, 'relay must be one of ses, got "smtp"'],
  ['inbound mail by nobody', { inbound: 'mx' }, 'inbound must be one of ses, got "mx"'],
  [
    'few recipients',
    { sendingLimits: { recipientsPerHour: 1 } },
    'sendingLimits.recipientsPerHour must be a whole number from 10 to',
  ],
  ['two zones', { zones: 2 }, 'zones must be a whole number from 3 to 6, got 2'],
  ['a filter that is none', { filtering: 'rspamd' }, 'filtering must be { duringOutage, greylisting, virusScan, '],
  [
    'a score below 0',
    { filtering: { junkScore: -1 } },
    'filtering.junkScore must be a number above 0 and <= 100, got -1',
  ],
  ['an unknown service', { services: ['imap'] }, 'services[0] must be one of imaps, submission, submissions,'],
  ['a port as service', { services: ['imaps', 143] }, 'services[1] must be one of imaps, submission, submissions,'],
  ['no submission', { services: ['imaps'] }, 'services must have submission, got ["imaps"]; add it'],
  ['a service twice', { services: ['imaps', 'submission', 'imaps'] }, 'services has "imaps" twice; remove one'],
  ['a rule for an unknown service', { allow: { ssh: 'anywhere' } }, 'allow, service name, must be one of imaps'],
  ['a rule for a service not offered', { allow: { mx: 'anywhere' } }, 'allow.mx is for a service that is not offered'],
  [
    'a limit out of its range',
    { connectionLimits: { newPerMinute: 501 } },
    'connectionLimits.newPerMinute must be a whole number from 1 to 500, got 501',
  ],
  ['a block list that is none', { blockLists: { lists: ['tor'] } }, 'blockLists.lists[0] must be one of tor-exits, '],
  ['no list, but false', { blockLists: 'none' }, 'blockLists must be { lists, services, refreshHours, '],
  ['a limit that is none', { connectionLimits: { perMinute: 5 } }, 'connectionLimits.perMinute is not a field'],
  ['an address that is no range', { allow: { imaps: { cidrs: ['192.0.2.1'] } } }, 'allow.imaps.cidrs[0] must be'],
  ['no address', { allow: { imaps: { cidrs: [] } } }, 'allow.imaps.cidrs must be a list with at least one entry'],
  ['no prefix list id', { allow: { imaps: { prefixList: 'office' } } }, 'allow.imaps.prefixList must be an id'],
  ['two kinds of source', { allow: { imaps: { cidrs: ['192.0.2.0/24'], prefixList: 'pl-1' } } }, 'allow.imaps must be'],
  ['a zone of another domain', { hostedZone: { id: 'Z0123456789', name: 'example.org' } }, 'hostedZone.name must hold'],
  ['no zone id', { hostedZone: { id: 'example.com', name: 'example.com' } }, 'hostedZone.id must be a hosted zone id'],
  ['half a zone', { hostedZone: { id: 'Z0123456789' } }, 'hostedZone.name must be the name of the zone'],
  ['min above max', { minNodes: 4, maxNodes: 3 }, 'maxNodes must be >= minNodes (4), got 3; raise maxNodes'],
  ['max below the zones', { maxNodes: 2 }, 'maxNodes must be >= minNodes (3), got 2; raise maxNodes'],
  ['nobody', { users: 0 }, 'users must be a whole number from 1 to 100000, got 0'],
  ['too many users', { users: 1_000_000 }, 'users must be a whole number from 1 to 100000, got 1000000'],
  ['no nodes', { minNodes: 0 }, 'minNodes must be a whole number from 1 to 1000, got 0'],
  ['text for a number', { minNodes: '3' }, 'minNodes must be a whole number from 1 to 1000, got "3"'],
  ['no instance type', { instanceType: 'large' }, 'instanceType must be an instance type such as m7g.large'],
  ['TLS nowhere', { implicitTls: 'none' }, 'implicitTls must be one of balancer, node, got "none"'],
  [
    'an idle timeout on a TLS listener',
    { idleTimeoutMinutes: 30 },
    "idleTimeoutMinutes can't be set on a TLS listener, which drops after 350 seconds",
  ],
  ['too long an idle timeout', { implicitTls: 'node', idleTimeoutMinutes: 120 }, 'idleTimeoutMinutes must be'],
  ['an unknown certificate', { nodeCertificate: 'letsencrypt' }, 'nodeCertificate must be one of acm-acme, dns-01'],
  ['no secret', { nodeCertificate: { secretArn: 'x' } }, 'nodeCertificate.secretArn must be the ARN of a secret'],
  ['an hour as number', { maintenanceWindow: { start: 2 } }, 'maintenanceWindow.start must be a text in quotes, got 2'],
  ['a window of no start', { maintenanceWindow: {} }, 'maintenanceWindow.start must be a text in quotes, got nothing'],
  ['no mail in Trash at all', { trashDays: 0 }, 'trashDays must be a whole number from 1 to 36500, got 0'],
  ['half a day', { junkDays: 0.5 }, 'junkDays must be a whole number from 1 to 36500, got 0.5'],
  ['a pause shorter than a boot', { pauseMinutes: 5 }, 'pauseMinutes must be a whole number from 10 to 1440, got 5'],
  ['a word for false', { rollbackOnAlarm: 'off' }, 'rollbackOnAlarm must be true or false, got "off"'],
  ['a number for true', { sessionManager: 0 }, 'sessionManager must be true or false, got 0'],
  ['shards of unknown disks', { shards: { type: 'gp2' } }, 'shards.type must be one of gp3, io2, got "gp2"'],
  [
    'shards of io2 without a size',
    { shards: { type: 'io2', iops: 5000 } },
    "shards with type 'io2' must have sizeGiB and iops",
  ],
  ['an unknown mailbox format', { mailboxFormat: 'mdbox' }, 'mailboxFormat must be one of maildir, sdbox, got "mdbox"'],
  ['text for true', { shieldAdvanced: 'yes' }, 'shieldAdvanced must be true or false, got "yes"'],
  ['a lock of no length', { archiveLock: { mode: 'governance' } }, 'archiveLock.days must be a whole number'],
  ['an unknown lock', { archiveLock: { mode: 'strict', days: 1 } }, 'archiveLock.mode must be one of governance'],
  [
    'an unknown profile',
    { retention: ['hipaa'] },
    'retention[0] must be one of gdpr, us, mlps3, iso27001, got "hipaa"',
  ],
  ['a role as operator', { operators: { operators: ['arn:aws:iam::111122223333:role/x'] } }, 'the ARN of an IAM user'],
  ['no operator', { operators: { sessionHours: 1 } }, 'operators must name somebody'],
  ['a session of a day', { operators: { operators: alice, sessionHours: 24 } }, 'a whole number from 1 to 12'],
  ['a word for a journal', { journal: 'sealed' }, 'journal must be { sealed }, got "sealed"'],
  ['an unknown setting of it', { journal: { packs: true } }, 'journal.packs is not a field; expected sealed'],
  ['erasure without a journal', { operators: { operators: alice, erasure: true } }, 'operators.erasure needs'],
  ['restores by nobody', { operators: { helpDesk: alice, restore: true }, journal: true }, 'operators.restore needs'],
  ['a word for a firewall', { networkFirewall: 'on' }, 'networkFirewall must be { alertOnly, rules'],
  ['no rule group', { networkFirewall: { ruleGroupArns: ['x'] } }, 'must be the ARN of a rule group'],
  ['an unknown setting of it', { networkFirewall: { drop: true } }, 'networkFirewall.drop is not a field'],
  ['a firewall for a network', { ...located, vpcId: 'vpc-01234567', networkFirewall: true }, 'is for a new network'],
  ['an accelerator before TLS', { globalAccelerator: true }, "globalAccelerator needs implicitTls: 'node'"],
  [
    'an accelerator with a firewall',
    { globalAccelerator: true, implicitTls: 'node', networkFirewall: true },
    'do not go together',
  ],
  [
    'a copy in clear',
    { journal: true, archiveCopy: { ...copy, endpoint: 'http://x' } },
    'archiveCopy.endpoint must be',
  ],
  ['a copy of nothing', { archiveCopy: copy }, 'archiveCopy copies the journal'],
  ['half an ARN', { archiveCopy: { ...copy, secretArn: SECRET.slice(0, -7) } }, 'the whole ARN of a secret'],
  [
    'a second copy in the same region',
    { ...located, archiveReplication: { bucketName: 'copy', keyArn: KEY, region: 'eu-central-1' } },
    'must be another region than eu-central-1',
  ],
  [
    'a copy of the store in the same region',
    { ...located, storeReplication: { region: 'eu-central-1' } },
    'storeReplication.region must be another region than eu-central-1',
  ],
  ['a copy of shards', { shards: {}, storeReplication: { region: 'eu-west-1' } }, 'is for EFS, not for shards'],
  [
    'a second copy without a key',
    { archiveReplication: { bucketName: 'copy', region: 'eu-west-1' } },
    'the ARN of a key',
  ],
  [
    'classes too near',
    { archiveTiers: { glacierDays: 30, deepArchiveDays: 100 } },
    'at least 90 more than glacierDays (30)',
  ],
  [
    'a balancer that passes no certificates on',
    { clientCertificates: { authorities: 'PEM' } },
    "clientCertificates needs implicitTls: 'node'",
  ],
  ['a file for an authority', { clientCertificates: { file: 'ca.pem' } }, 'clientCertificates.file is not a field'],
  ['restores from nowhere', { restoreAccess: { sources: [] } }, 'restoreAccess.sources must be a list'],
  ['no alarm address', { alarmEmail: 'ops' }, 'alarmEmail must be an address such as ops@example.net'],
])('fails when there is %s', (_name, fields, message) => {
  const config =
    'domain' in fields || 'domian' in fields || Object.keys(fields).length === 0
      ? fields
      : { domain: 'example.com', ...fields };
  expect(() => checkConfig(config)).toThrow(message);
});

describe('a file', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'mail-config-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  function file(name: string, content: string): string {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  }

  test('is read', () => {
    const path = file('good.config.ts', "export default { domain: 'example.net' };\n");
    expect(loadConfig(path)).toEqual({ domain: 'example.net' });
  });

  test('fails when it is not there', () => {
    expect(() => loadConfig(join(folder, 'none.ts'))).toThrow('there is no such file');
  });

  test('fails when it exports nothing', () => {
    expect(() => loadConfig(file('empty.config.ts', 'export {};\n'))).toThrow('must have a default export');
  });

  test('fails when it throws', () => {
    const path = file('throws.config.ts', "throw new Error('first line\\nsecond line');\n");
    expect(() => loadConfig(path)).toThrow(/^can't be read: first line$/);
  });
});
