#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { JournalReader, Tier, TIERS } from './restore/journal-reader';
import { Restore, RestoreReport } from './restore/restore-mail';
import { readLine } from './users/read-password';
import { openDirectory } from './users/directory';

// The SDK's notice about Node.js 20 would stand among the progress.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

const USAGE = `usage: mail-restore --journal s3://bucket --imap imaps://host[:993] [options] --user address
       mail-restore --journal s3://bucket --imap imaps://host[:993] [options] --domain domain --login '{user}*master'

Gets mail back from the journal. Run again, it goes on where it was; what is in the mailbox already is not put in twice.

  --user address      what was sent to this address, into its mailbox
  --also address      ... and to this one, an alias or a name with a detail; may be repeated
  --sent              instead, what the user sent
  --domain domain     what was sent to addresses of the domain, each into its mailbox
  --message id        only this message: <Message-ID>, or its key journal/…
  --from, --to time   only what was accepted from then, or before then: 2026-11-22 or 2026-11-22T09:30:00Z
  --folder name       default Restored/ and today's date; INBOX puts it where it was delivered
  --seen              not as unread
  --envelopes         reads each message of that time to see whom it is to, details (bob+lists@…) included
  --directory object  s3://bucket/users: nothing goes to those whose mail was erased (MAIL_DIRECTORY_OBJECT)
  --login name        login at the IMAP server, {user} stands for the address (default {user})
  --tls-name name     name that the server's certificate must have, if not the host's
  --dry-run           reads and checks everything, changes nothing
  --wait              waits until S3 has brought back what is in Glacier, and restores that, too
  --wait-interval s   seconds between looks at it (900)
  --tier, --days      how it is asked for: Standard (default), Bulk, Expedited; days that it can then be read (7)
  --concurrency n     messages at once (256)
  --connections n     connections to one mailbox (4)

The password of the login is asked for, or read from the first line of standard input. The last line of output is JSON.
Exit status 0 when all of it is in the mailboxes, 1 when not. docs/restore.md says more.`;

const INTERVAL = process.stderr.isTTY ? 500 : 0;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      journal: { type: 'string', default: process.env.MAIL_JOURNAL },
      imap: { type: 'string' },
      user: { type: 'string' },
      also: { type: 'string', multiple: true },
      sent: { type: 'boolean', default: false },
      domain: { type: 'string' },
      message: { type: 'string' },
      from: { type: 'string' },
      to: { type: 'string' },
      folder: { type: 'string' },
      seen: { type: 'boolean', default: false },
      envelopes: { type: 'boolean', default: false },
      directory: { type: 'string', default: process.env.MAIL_DIRECTORY_OBJECT },
      login: { type: 'string' },
      'tls-name': { type: 'string' },
      'dry-run': { type: 'boolean', default: false },
      wait: { type: 'boolean', default: false },
      'wait-interval': { type: 'string', default: '900' },
      tier: { type: 'string', default: 'Standard' },
      days: { type: 'string', default: '7' },
      concurrency: { type: 'string', default: '256' },
      connections: { type: 'string', default: '4' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const { journal, imap, user, domain, sent, message, tier } = values;
  if (!journal || !imap) {
    throw new Error(`${journal ? '--imap' : '--journal'} is missing\n${USAGE}`);
  }
  if (!/^imaps?:\/\/[^/@\s]+\/?$/.test(imap)) {
    throw new Error(`--imap must be imaps://host[:port], or imap://host[:port] for STARTTLS, got ${imap}`);
  }
  if ((user === undefined) === (domain === undefined)) {
    throw new Error(`one of --user and --domain is expected\n${USAGE}`);
  }
  if (domain !== undefined && (sent || values.also)) {
    throw new Error('--sent and --also go with --user only');
  }
  for (const address of [user, ...(values.also ?? [])]) {
    if (address !== undefined && !/^[^@\s]+@[^@\s]+$/.test(address)) {
      throw new Error(`an address such as bob@example.com is expected, got ${address}`);
    }
  }
  if (!(TIERS as readonly string[]).includes(tier)) {
    throw new Error(`--tier must be ${TIERS.join(', ')}, got ${tier}`);
  }
  const reader = new JournalReader(journal);
  const { directory } = values;
  const erasures = directory === undefined ? [] : (await openDirectory(directory).read()).erasures();
  const options = {
    journal: reader,
    selection: {
      ...{ user, domain, sent, message, also: values.also },
      erased: new Set(erasures.map(({ subject }) => subject)),
      from: time('--from', values.from) ?? new Date(0),
      to: time('--to', values.to) ?? new Date(),
    },
    folder: values.folder ?? `Restored/${new Date().toISOString().slice(0, 10)}`,
    envelopes: values.envelopes,
    concurrency: whole('--concurrency', values.concurrency, 1024),
    connections: whole('--connections', values.connections, 16),
    flags: values.seen ? ['\\Seen'] : [],
    dryRun: values['dry-run'],
    tier: tier as Tier,
    days: whole('--days', values.days, 365),
    wait: values.wait ? whole('--wait-interval', values['wait-interval'], 86_400) : undefined,
    onProblem: (what: string, key: string, why: string) => tell(`${what}: ${key}: ${why}`),
  };
  if (options.selection.from >= options.selection.to) {
    throw new Error(`--from must be before --to, got ${values.from} and ${values.to ?? 'now'}`);
  }
  const password = await readLine(process.stdin.isTTY ? `Password for ${values.login ?? user ?? '{user}'}: ` : '');
  const server = { url: imap, tlsName: values['tls-name'], login: values.login, password };

  const restore = new Restore({ ...options, imap: server });
  const progress = INTERVAL ? setInterval(() => show(restore), INTERVAL) : undefined;
  try {
    const report = await restore.run();
    finish({ ...report }, report.missing === 0);
  } catch (error) {
    tell(`mail-restore: ${(error as Error).message}; run it again to go on`);
    finish({ ...restore.report(), error: (error as Error).message }, false);
  } finally {
    clearInterval(progress);
  }
}

function finish(report: RestoreReport & { readonly error?: string }, complete: boolean): void {
  tell('');
  console.log(JSON.stringify(report));
  process.exitCode = complete ? 0 : 1;
}

function show(restore: Restore): void {
  const { looked, found, restored, duplicates, broken, failed, perSecond } = restore.report();
  const until = restore.position ? `, until ${new Date(restore.position).toISOString().slice(0, 16)}Z` : '';
  const counts = `${looked} looked at${until}: ${found} found, ${restored} restored (${perSecond}/s), ${duplicates} there`;
  process.stderr.write(`\r\x1b[K${counts}${broken + failed ? `, ${broken + failed} not` : ''}`);
}

/** A line on standard error, where the progress was. */
function tell(line: string): void {
  process.stderr.write(`${INTERVAL ? '\r\x1b[K' : ''}${line && `${line}\n`}`);
}

function time(option: string, text?: string): Date | undefined {
  if (text === undefined) return undefined;
  const moment = new Date(text);
  if (!/^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?$/.test(text) || Number.isNaN(moment.getTime())) {
    throw new Error(`${option} must be a day or a time with its zone, 2026-11-22 or 2026-11-22T09:30:00Z, got ${text}`);
  }
  return moment;
}

function whole(option: string, text: string, max: number): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > max) {
    throw new Error(`${option} must be a whole number from 1 to ${max}, got ${text}`);
  }
  return number;
}

main().catch((error: unknown) => {
  console.error(`mail-restore: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
