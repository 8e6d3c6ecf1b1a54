#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { checkStore } from './check/check-store';
import { JournalReader } from './restore/journal-reader';

// The SDK's notice about Node.js 20 would stand among the problems.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

const USAGE = `usage: check-store folder [options]

Checks a copy of the mail store in three stages. The last line of output is JSON; exit status 0 when all three passed.

  --journal s3://bucket  where digests of messages are recorded; without it stage 1 checks nothing
  --integrity n          messages that are compared with their digests (1000)
  --messages n           messages that are read by IMAP (100)
  --connections n        sessions at the same time (200)

docs/backup.md says more.`;

/** Run by libexec/check-store on the machine that serves the copy: users on a file, the password on descriptor 3. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '10143' },
      users: { type: 'string' },
      journal: { type: 'string' },
      integrity: { type: 'string', default: '1000' },
      messages: { type: 'string', default: '100' },
      connections: { type: 'string', default: '200' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help || values.users === undefined) {
    console.log(USAGE);
    return;
  }
  const report = await checkStore({
    host: '127.0.0.1',
    port: whole('--port', values.port),
    users: readFileSync(values.users, 'utf8').split('\n').filter(Boolean),
    password: readFileSync(3, 'utf8').trim(),
    journal: values.journal === undefined ? undefined : new JournalReader(values.journal),
    integrity: whole('--integrity', values.integrity),
    messages: whole('--messages', values.messages),
    connections: whole('--connections', values.connections),
    onProblem: (stage, what) => console.error(`${stage}: ${what}`),
  });
  console.log(JSON.stringify(report));
  process.exitCode = report.passed ? 0 : 1;
}

function whole(option: string, text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new Error(`${option} must be a whole number from 1 on, got ${text}`);
  return Number(text);
}

main().catch((error: unknown) => {
  console.error(`check-store: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
