#!/usr/bin/env node
import { existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { zoneFile } from '../lib/dns/dns-record';
import { checkSettings, MailDnsSettings, withDefaults } from '../lib/dns/mail-dns-settings';
import { domainRecords } from '../lib/dns/mail-records';
import { checkDomain, Finding } from './dns/check-domain';
import { Lookup } from './dns/lookup';

const USAGE = `usage: mail-dns check [--settings JSON|file] [--resolver 192.0.2.1:53] [--json] domain
       mail-dns print [--settings JSON|file] [--json] domain

check looks up what the mail domain needs and says which record is missing or wrong; print writes lines for its zone
file. Settings are the stack's output DnsSettings, or MAIL_DNS_SETTINGS in the environment. Without them the mail host is
--hostname (mail. and the domain), with --services (imaps,submission,mx), and all else as MailDns does by default.
Exit status of check: 0 all is right, 1 something is missing or wrong, 2 it could not be checked.`;

interface Options {
  readonly settings?: string;
  readonly hostname?: string;
  readonly services?: string;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      settings: { type: 'string' },
      hostname: { type: 'string' },
      services: { type: 'string' },
      resolver: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const [command, name, ...more] = positionals;
  if (!['check', 'print'].includes(command) || name === undefined || more.length > 0) {
    throw new Error(`expected check or print, and one domain, got ${positionals.join(' ') || 'nothing'}\n${USAGE}`);
  }
  const domain = name.toLowerCase().replace(/\.$/, '');
  const settings = readSettings(domain, values);
  if (command === 'print') {
    const records = domainRecords(settings, domain);
    process.stdout.write(values.json ? `${JSON.stringify(records)}\n` : zoneFile(records));
    return 0;
  }
  const findings = await checkDomain(settings, domain, new Lookup(values.resolver));
  report(domain, findings, values.json);
  const has = (...statuses: string[]) => findings.some(({ status }) => statuses.includes(status));
  return has('missing', 'wrong') ? 1 : has('unknown') ? 2 : 0;
}

function readSettings(domain: string, { settings, hostname, services }: Options): MailDnsSettings {
  const source = settings ?? process.env.MAIL_DNS_SETTINGS;
  if (source !== undefined && (hostname !== undefined || services !== undefined)) {
    throw new Error('--hostname and --services are part of the settings; leave them out');
  }
  const given: Partial<MailDnsSettings> =
    source === undefined ? { hostname, services: services?.split(',') } : parseSettings(source);
  const complete = withDefaults({ ...given, domains: given.domains ?? [domain] });
  checkSettings(complete);
  if (!complete.domains.includes(domain)) {
    throw new Error(`${domain} is none of the domains in the settings: ${complete.domains.join(', ')}`);
  }
  return complete;
}

function parseSettings(source: string): Partial<MailDnsSettings> {
  const text = source.trimStart().startsWith('{') || !existsSync(source) ? source : readFileSync(source, 'utf8');
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(
      `settings must be the output DnsSettings, or a file with it, got ${JSON.stringify(source.slice(0, 60))}`,
    );
  }
}

function report(domain: string, findings: Finding[], json: boolean): void {
  const count = (status: string) => findings.filter((finding) => finding.status === status).length;
  const summary = {
    domain,
    checked: findings.length,
    missing: count('missing'),
    wrong: count('wrong'),
    unknown: count('unknown'),
  };
  if (json) {
    console.log(JSON.stringify({ ...summary, records: findings }));
    return;
  }
  for (const { name, type, status, found, expected, reasons } of findings) {
    console.log(`${status.padEnd(8)} ${type.padEnd(5)} ${name}`);
    if (status !== 'ok') {
      found.forEach((value) => console.log(`           is ${value}`));
      expected.forEach((value) => console.log(`    should be ${value}`));
      reasons.forEach((reason) => console.log(`      because ${reason}`));
    }
  }
  const { checked, missing, wrong, unknown } = summary;
  console.log(`${domain}: ${checked} checked, ${missing} missing, ${wrong} wrong, ${unknown} unknown`);
}

main().then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    console.error(`mail-dns: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 2;
  },
);
