#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { JournalReader, Tier, TIERS } from './restore/journal-reader';
import { Restore, RestoreReport, sumOf } from './restore/restore-mail';
import { RestoreStore } from './restore/restore-store';
import { readLine } from './users/read-password';
import { openDirectory } from './users/directory';

// The SDK's notice about Node.js 20 would stand among the progress.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

const USAGE = `usage: mail-restore --journal s3://bucket --imap imaps://host[:993] [options] --user address
       mail-restore --journal s3://bucket --imap imaps://host[:993] [options] --domain domain --login '{user}*master'
       mail-restore --store imaps://host[:993] --store-password file [--journal s3://bucket] --imap …

Gets mail back from the journal, from a copy of the store, or to a point in time from both. Run again, it goes on where it was;
what is in the mailbox already is not put in twice.

  --user address      what was sent to this address, into its mailbox; of a copy, the mailbox
  --domain domain     what was sent to addresses of the domain, each into its mailbox; of a copy, its mailboxes
  --message id        only this message: <Message-ID>, or its key journal/…
  --from, --to time   only what was accepted from then, or before then: 2026-11-22 or 2026-11-22T09:30:00Z; with both
                      --store and --journal the copy is as it was at --from, and the journal has what came after
  --folder name       default Restored/ and today's date; INBOX puts it where it was delivered. With --store the folder below
                      which the copy's folders are put, by default where they were
  --directory object  s3://bucket/users: nothing goes to those whose mail was erased (MAIL_DIRECTORY_OBJECT)
  --login name        login at the IMAP server, {user} stands for the address (default {user})
  --tls-name name     name that the server's certificate must have, if not the host's
  --dry-run           reads and checks everything, changes nothing
  --connections n     connections to one mailbox (4)

of the journal
  --also address      what was sent to this address, too: an alias or a name with a detail; may be repeated
  --sent              instead, what the user sent
  --seen              not as unread
  --envelopes         reads each message of that time to see whom it is to, details (bob+lists@…) included
  --wait              waits until S3 has brought back what is in Glacier, and restores that, too
  --wait-interval s   seconds between looks at it (900)
  --tier, --days      how it is asked for: Standard (default), Bulk, Expedited; days that it can then be read (7)
  --concurrency n     messages at once (256)

of a copy of the store, with folders, flags and times; libexec/restore-store serves one
  --store url         IMAP server of the copy, without TLS on 127.0.0.1 only
  --store-password f  file whose first line is the password for each of its mailboxes
  --store-users file  its mailboxes, one a line; --domain needs it
  --from-folder name  only this folder and those below; may be repeated (default all but Trash)

The password of the login is asked for, or read from the first line of standard input. The last line of output is JSON.
Exit status 0 when all of it is in the mailboxes, 1 when not. docs/restore.md says more.`;

/** Options that only one of the two sources knows. */
const OF_JOURNAL = ['also', 'sent', 'seen', 'envelopes', 'wait'] as const;
const OF_STORE = ['store-password', 'store-users', 'from-folder'] as const;

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
      store: { type: 'string' },
      'store-password': { type: 'string' },
      'store-users': { type: 'string' },
      'from-folder': { type: 'string', multiple: true },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const { journal, store, imap, user, domain, sent, message, tier } = values;
  if ((!journal && !store) || !imap) {
    throw new Error(`${imap ? '--journal or --store' : '--imap'} is missing\n${USAGE}`);
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
  const stray =
    (journal ? [] : OF_JOURNAL).find((name) => values[name]) ?? (store ? [] : OF_STORE).find((name) => values[name]);
  if (stray !== undefined) {
    throw new Error(`--${stray} goes with --${journal ? 'store' : 'journal'} only`);
  }
  for (const address of [user, ...(values.also ?? [])]) {
    if (address !== undefined && !/^[^@\s]+@[^@\s]+$/.test(address)) {
      throw new Error(`an address such as bob@example.com is expected, got ${address}`);
    }
  }
  if (!(TIERS as readonly string[]).includes(tier)) {
    throw new Error(`--tier must be ${TIERS.join(', ')}, got ${tier}`);
  }
  const { directory } = values;
  const erasures = directory === undefined ? [] : (await openDirectory(directory).read()).erasures();
  const erased = new Set(erasures.map(({ subject }) => subject));
  const [from, to] = [time('--from', values.from), time('--to', values.to)];
  const connections = whole('--connections', values.connections, 16);
  const dryRun = values['dry-run'];
  const both = journal !== undefined && store !== undefined;
  if ((from ?? new Date(0)) >= (to ?? new Date())) {
    throw new Error(`--from must be before --to, got ${values.from} and ${values.to ?? 'now'}`);
  }
  if (both && from === undefined) {
    throw new Error('--store with --journal needs --from, when the copy was made: from then on the journal is read');
  }
  if (both && message !== undefined) {
    throw new Error('--message goes with one of --store and --journal');
  }
  const onProblem = (what: string, which: string, why: string) => tell(`${what}: ${which}: ${why}`);
  const reader = journal === undefined ? undefined : new JournalReader(journal);
  const copy = store === undefined ? undefined : copyOf(store, values, { user, domain });

  const password = await readLine(process.stdin.isTTY ? `Password for ${values.login ?? user ?? '{user}'}: ` : '');
  const server = { url: imap, tlsName: values['tls-name'], login: values.login, password };
  const common = { imap: server, connections, dryRun, onProblem };
  const steps: (Restore | RestoreStore)[] = [];
  if (copy) {
    // Of a point in time: all that the copy has from before.
    const selection = { fromFolders: values['from-folder'], message, from: both ? undefined : from, to };
    steps.push(new RestoreStore({ ...common, ...copy, selection, below: values.folder, erased }));
  }
  if (reader) {
    const selection = { user, domain, sent, message, also: values.also, erased };
    const folder = both ? 'INBOX' : `Restored/${new Date().toISOString().slice(0, 10)}`;
    steps.push(
      new Restore({
        ...common,
        journal: reader,
        selection: { ...selection, from: from ?? new Date(0), to: to ?? new Date() },
        folder: values.folder === undefined || !both ? (values.folder ?? folder) : `${values.folder}/INBOX`,
        envelopes: values.envelopes,
        concurrency: whole('--concurrency', values.concurrency, 1024),
        flags: values.seen ? ['\\Seen'] : [],
        tier: tier as Tier,
        days: whole('--days', values.days, 365),
        wait: values.wait ? whole('--wait-interval', values['wait-interval'], 86_400) : undefined,
      }),
    );
  }
  await runAll(steps);
}

/** Where the copy is, and which of its mailboxes are restored. */
function copyOf(
  url: string,
  options: { readonly 'store-password'?: string; readonly 'store-users'?: string },
  { user, domain }: { readonly user?: string; readonly domain?: string },
) {
  if (!/^(imaps:\/\/[^/@\s]+|imap:\/\/127\.0\.0\.1(:\d+)?)\/?$/.test(url)) {
    throw new Error(`--store must be imaps://host[:port], or imap://127.0.0.1[:port], got ${url}`);
  }
  const { 'store-password': file, 'store-users': list } = options;
  if (file === undefined) {
    throw new Error('--store-password is missing, a file with the password of the copy');
  }
  if (domain !== undefined && list === undefined) {
    throw new Error('--domain needs --store-users, a file with the mailboxes of the copy');
  }
  const [password] = readFileSync(file, 'utf8').split('\n');
  const known = list === undefined ? undefined : readFileSync(list, 'utf8').split('\n').filter(Boolean);
  const wanted = (name: string) =>
    user === undefined ? name.endsWith(`@${domain!.toLowerCase()}`) : name === user.toLowerCase();
  const users = known === undefined ? [user!.toLowerCase()] : known.filter(wanted);
  if (users.length === 0) {
    throw new Error(`the copy has no mailbox of ${user ?? domain}`);
  }
  return { store: { url, password }, users };
}

/** One after the other; all of them together are the report. */
async function runAll(steps: readonly (Restore | RestoreStore)[]): Promise<void> {
  const report = () => steps.map((step) => step.report()).reduce(sumOf);
  const position = () => Math.max(...steps.map((step) => ('position' in step ? step.position : 0)));
  const progress = INTERVAL ? setInterval(() => show(report(), position()), INTERVAL) : undefined;
  try {
    for (const step of steps) await step.run();
    finish(report(), report().missing === 0);
  } catch (error) {
    tell(`mail-restore: ${(error as Error).message}; run it again to go on`);
    finish({ ...report(), error: (error as Error).message }, false);
  } finally {
    clearInterval(progress);
  }
}

function finish(report: RestoreReport & { readonly error?: string }, complete: boolean): void {
  tell('');
  console.log(JSON.stringify(report));
  process.exitCode = complete ? 0 : 1;
}

function show(
  { looked, found, restored, duplicates, broken, failed, perSecond }: RestoreReport,
  position: number,
): void {
  const until = position ? `, until ${new Date(position).toISOString().slice(0, 16)}Z` : '';
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
