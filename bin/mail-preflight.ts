#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { Finding, preflight } from './preflight/checks';

const USAGE = `usage: mail-preflight [--region eu-central-1] [--configuration-set name] [--messages 1] [--json] domain...

Asks Amazon SES whether mail of the domains would go out: sandbox, quota, identity, DKIM, MAIL FROM domain, configuration
set, suppression. --messages is how many must be left of the quota for 24 hours. Exit status 0 when no check failed,
otherwise 1. The region is AWS_REGION unless it is given; docs/outbound.md says more.`;

const DOMAIN = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      region: { type: 'string', default: process.env.AWS_REGION },
      'configuration-set': { type: 'string' },
      messages: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const { region, messages, json, 'configuration-set': configurationSet } = values;
  if (!region) {
    throw new Error(`--region is missing, and AWS_REGION is not set\n${USAGE}`);
  }
  if (positionals.length === 0) {
    throw new Error(`at least one domain is expected\n${USAGE}`);
  }
  const wrong = positionals.find((domain) => !DOMAIN.test(domain));
  if (wrong !== undefined) {
    throw new Error(`domain must be lower-case such as example.com, got ${wrong}`);
  }
  if (!/^[1-9][0-9]{0,9}$/.test(messages)) {
    throw new Error(`--messages must be a whole number >= 1, got ${messages}`);
  }

  const checks: Finding[] = [];
  await preflight({ region, domains: positionals, configurationSet, messages: Number(messages) }, (finding) => {
    checks.push(finding);
    if (!json) {
      tell(finding);
    }
  });
  const ready = checks.every(({ status }) => status !== 'failed');
  if (json) {
    console.log(JSON.stringify({ ready, region, checks }));
  }
  process.exitCode = ready ? 0 : 1;
}

function tell({ check, subject, status, detail, records = [] }: Finding): void {
  console.log(`${status.padEnd(8)} ${check.padEnd(18)} ${subject === undefined ? '' : `${subject}: `}${detail}`);
  for (const { name, type, value } of records) {
    console.log(`           ${name} ${type} ${value}`);
  }
}

main().catch((error: unknown) => {
  console.error(`mail-preflight: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
