#!/usr/bin/env node
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { BackupClient } from '@aws-sdk/client-backup';
import { KMSClient } from '@aws-sdk/client-kms';
import { publicKeyFrom } from '../handlers/evidence/chain/manifest';
import { BucketSource } from '../handlers/evidence/evidence-source';
import { holdingBackups } from './erase/backups';
import { destroyKeys, KeysErasure, keyTagOf, settleLocked } from './erase/destroy-keys';
import { eraseFromJournal, JournalErasure, LockedVersion } from './erase/erase-journal';
import { JournalVersions } from './erase/journal-versions';
import { KeyVersions } from './erase/key-versions';
import { storedReports } from './erase/node-reports';
import { Erased, NodeReport, readProof, sign } from './erase/proof';
import { WorkLog } from './erase/work-log';
import { type Directory, openDirectory } from './users/directory';
import { checkAddress, Erasure, subjectOf } from './users/user-file';

// The SDK's notice about Node.js 20 would stand among the problems.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';

const HOUR = 60 * 60 * 1000;
/** Hours that the profile `gdpr` gives; after two thirds of them nodes delete, the rest is to finish. */
const WITHIN = 72;
const HOURS_MAX = 720;

const USAGE = `usage: mail-erase begin|hold|undo|status address --directory s3://bucket/users [--within n] [--hours n]
       mail-erase finish address --directory s3://bucket/users --journal s3://bucket --sign key --proof file
       mail-erase verify --public-key key.pem proof

Erases a person's mail: begin takes the user away and sets the mailbox aside, finish erases the journal when the time has come
and writes a signed proof. Each may be run again.

  begin    now no mail comes in or is read; after --hours nodes delete the mailbox and what is in the queue
  hold     a legal hold: the mailbox stays aside and nothing is deleted until begin is run again
  undo     takes the mark away; before the time has come, the mailbox is back when mail-users has added the user again
           --within hours         until all must be gone, the output EraseWithinHours (72, MAIL_ERASE_WITHIN)
           --hours n              default two thirds of --within
  status   what the users file says
  finish   deletes each version of the person's messages from the journal:
             --journal s3://bucket  may be repeated: each copy of it, too; nodes report in the first
             --keys s3://bucket     of a sealed journal: destroys the person's keys, so that what a lock keeps can't be read
             --also address         further addresses, aliases, names with a detail; may be repeated
             --node-report file     instead of what nodes report there: of each node what libexec/erase --report prints; may be repeated
             --sign key             id, ARN or alias of a KMS key of the kind ECC_NIST_P256
             --proof file           where the proof goes
             --vault name           may be repeated: says until when backups there hold the mailbox
             --within hours         as for begin
             --shared               mail that is other users' as well, too
             --bypass-governance    lifts locks in governance mode
             --dry-run              changes nothing, needs neither reports nor key
  verify   checks a proof with nothing but the public key

The last line of output is JSON. Exit status 0: done; of finish and verify, nothing is left. 1: not. docs/erasure.md says more.`;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      directory: { type: 'string', default: process.env.MAIL_DIRECTORY_OBJECT },
      hours: { type: 'string' },
      within: { type: 'string', default: process.env.MAIL_ERASE_WITHIN ?? `${WITHIN}` },
      vault: { type: 'string', multiple: true, default: [] },
      journal: { type: 'string', multiple: true, default: [] },
      keys: { type: 'string' },
      also: { type: 'string', multiple: true, default: [] },
      'node-report': { type: 'string', multiple: true, default: [] },
      sign: { type: 'string' },
      proof: { type: 'string' },
      'public-key': { type: 'string', multiple: true, default: [] },
      shared: { type: 'boolean', default: false },
      'bypass-governance': { type: 'boolean', default: false },
      'dry-run': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const [command, subject, ...more] = positionals;
  if (values.help) {
    console.log(USAGE);
    return;
  }
  if (!['begin', 'hold', 'undo', 'status', 'finish', 'verify'].includes(command) || !subject || more.length > 0) {
    throw new Error(`a command and one address, or proof, are expected\n${USAGE}`);
  }
  if (command === 'verify') {
    verify(subject, values['public-key']);
    return;
  }
  if (!values.directory) throw new Error(`--directory is missing\n${USAGE}`);
  const address = checkAddress(subject);
  const directory = openDirectory(values.directory);

  const within = hoursOf('--within', values.within);
  if (command === 'finish') {
    await finish(address, directory, { ...values, within });
    return;
  }
  const hours = values.hours === undefined ? Math.floor((within * 2) / 3) : hoursOf('--hours', values.hours);
  if (hours > within) {
    throw new Error(`--hours must be at most --within (${within}), by when all must be gone, got ${hours}`);
  }
  const now = new Date();
  if (command === 'undo') {
    await directory.update((file) => file.unerase(address));
  } else if (command !== 'status') {
    await directory.update((file) => {
      const before = file.erasure(address);
      if (!before && !file.has(address)) throw new Error(`${address} is not a user; nothing was changed`);
      // Begun once, the time does not begin anew, but after a hold.
      if (command === 'begin' && before?.due) return;
      file.erase(address, now, command === 'hold' ? undefined : new Date(now.getTime() + hours * HOUR));
    });
  }
  const mark = (await directory.read()).erasure(address);
  console.log(JSON.stringify({ address, ...(mark ? describe(mark) : { state: 'not marked' }) }));
}

function hoursOf(option: string, text: string): number {
  const hours = Number(text);
  if (!/^\d+$/.test(text) || hours > HOURS_MAX) {
    throw new Error(`${option} must be a whole number up to ${HOURS_MAX}, got ${text}`);
  }
  return hours;
}

function describe({ subject, since, due }: Erasure) {
  const state = due === undefined ? 'held' : due.getTime() > Date.now() ? 'aside' : 'due';
  return { state, subject, since, due: due ?? null };
}

interface FinishOptions {
  readonly journal: string[];
  readonly keys?: string;
  readonly also: string[];
  readonly 'node-report': string[];
  readonly sign?: string;
  readonly proof?: string;
  readonly vault: string[];
  readonly within: number;
  readonly shared: boolean;
  readonly 'bypass-governance': boolean;
  readonly 'dry-run': boolean;
}

async function finish(address: string, directory: Directory, options: FinishOptions): Promise<void> {
  const dryRun = options['dry-run'];
  const file = await directory.read();
  const mark = file.erasure(address);
  const also = options.also.map((alias) => alias.toLowerCase());
  const wrong = also.find((alias) => !/^[^@\s]+@[^@\s]+$/.test(alias));
  if (wrong !== undefined) throw new Error(`--also must be an address such as bob+lists@example.com, got ${wrong}`);
  if (!dryRun) checkMark(address, mark);
  const keys = options.keys === undefined ? undefined : new KeyVersions(options.keys);
  const tags = [...new Set([address, ...also].map(keyTagOf))];
  if (keys && !dryRun) checkUnused(tags, file.allAddresses());
  const journals = options.journal.map((location) => {
    const [, bucket] = /^s3:\/\/([a-z0-9][a-z0-9.-]+)\/?$/.exec(location) ?? [];
    if (!bucket) throw new Error(`--journal must be an address such as s3://bucket, got ${location}`);
    return new JournalVersions(bucket);
  });
  if (!dryRun && (!options.sign || !options.proof)) throw new Error('finish wants --sign and --proof, or --dry-run');
  const nodes = await nodeReports(address, options, journals[0]?.bucket, mark);

  const log = new WorkLog(dryRun ? undefined : `${options.proof}.work`);
  const person = { addresses: [address, ...also], others: file.allAddresses() };
  const results: JournalErasure[] = [];
  const onProblem = (what: string, key: string, why: string) => console.error(`${what}: ${key}: ${why}`);
  for (const journal of journals) {
    results.push(
      await eraseFromJournal(journal, person, log, {
        shared: options.shared,
        liftGovernance: options['bypass-governance'],
        dryRun,
        onProblem,
      }),
    );
  }
  // After all of them: a legal hold on one of the messages is one on what opens it.
  let destroyed: KeysErasure | undefined;
  if (keys && results.some(({ held }) => held.length > 0)) {
    onProblem('held', `s3://${keys.bucket}`, 'the keys stay, as they open messages under a legal hold');
  } else if (keys) {
    destroyed = await destroyKeys(keys, tags, log, { dryRun, onProblem });
  }
  await settleLocked(results, keys, destroyed && dryRun ? tags : [], onProblem);
  const left = results.flatMap(({ locked, held, refused }) => [...locked, ...held, ...refused]).length;
  // What was backed up before the first node said that the mailbox is gone may have it.
  const gone = Math.min(Date.now(), ...nodes.map(({ at }) => Date.parse(at)));
  const client = new BackupClient({});
  const backups = await Promise.all(options.vault.map((vault) => holdingBackups(client, vault, new Date(gone))));
  const deadline = mark && new Date(mark.since.getTime() + options.within * HOUR);
  const inTime = deadline === undefined || deadline.getTime() >= Date.now();
  if (!inTime) console.error(`late: all was to be gone by ${deadline.toISOString()}`);
  const complete = left === 0 && !destroyed?.refused.length && nodes.every(({ clean }) => clean);
  if (!dryRun) {
    const erased: Erased = {
      ...{ subject: subjectOf(address), since: mark!.since.toISOString(), due: mark!.due!.toISOString() },
      ...{ at: new Date().toISOString(), nodes, journals: results, keys: destroyed, complete },
      ...{ deadline: deadline!.toISOString(), inTime, backups },
    };
    const text = await sign(new KMSClient({}), options.sign!, erased);
    // What was deleted for an earlier proof is in the log until nothing is left.
    writeFileSync(`${options.proof}.new`, text, { flush: true, mode: 0o600 });
    renameSync(`${options.proof}.new`, options.proof!);
    if (complete) log.end();
  }
  const sum = (of: (result: JournalErasure) => number) => results.reduce((all, one) => all + of(one), 0);
  const last = (of: (result: JournalErasure) => readonly LockedVersion[]) =>
    results
      .flatMap((result) => of(result).map(({ until }) => until))
      .sort()
      .at(-1) ?? null;
  console.log(
    JSON.stringify({
      looked: sum(({ looked }) => looked),
      deleted: sum(({ deleted }) => deleted.length),
      shared: sum(({ shared }) => shared),
      locked: sum(({ locked }) => locked.length),
      lockedUntil: last(({ locked }) => locked),
      unreadable: sum(({ unreadable }) => unreadable.length),
      unreadableUntil: last(({ unreadable }) => unreadable),
      keysDestroyed: destroyed?.destroyed.length ?? 0,
      held: sum(({ held }) => held.length),
      refused: sum(({ refused }) => refused.length),
      backups: backups.reduce((count, { points }) => count + points, 0),
      backupsUntil: backups.some(({ forever }) => forever > 0)
        ? 'for ever'
        : (backups
            .flatMap(({ until: end }) => end ?? [])
            .sort()
            .at(-1) ?? null),
      inTime,
      complete,
      dryRun,
    }),
  );
  process.exitCode = complete ? 0 : 1;
}

function checkMark(address: string, mark?: Erasure): asserts mark is Erasure {
  if (!mark) throw new Error(`${address} is not marked; run mail-erase begin first`);
  if (!mark.due) throw new Error(`${address} is under a legal hold; nothing was changed`);
  if (mark.due.getTime() > Date.now()) {
    throw new Error(`${address} may still be brought back, until ${mark.due.toISOString()}; run finish after that`);
  }
}

/** Who still has an address would lose what comes to it. */
function checkUnused(tags: readonly string[], addresses: readonly string[]): void {
  const used = addresses.find((address) => tags.includes(keyTagOf(address)));
  if (used)
    throw new Error(
      `${used} is still in use, so its key can't be destroyed; take it from whoever has it, or leave it out`,
    );
}

/** As they were brought; else as nodes stored them in the first journal. */
async function nodeReports(
  address: string,
  { 'node-report': files, 'dry-run': dryRun }: FinishOptions,
  bucket?: string,
  mark?: Erasure,
): Promise<NodeReport[]> {
  if (dryRun || files.length > 0) return files.map((name) => nodeReport(name, address, mark));
  if (!bucket) throw new Error('finish wants a --journal, where nodes report, or a --node-report of each node');
  return storedReports(new BucketSource(bucket), subjectOf(address), mark!.due!);
}

function nodeReport(name: string, address: string, mark?: Erasure): NodeReport {
  if (!existsSync(name)) throw new Error(`there is no file ${name}`);
  let report: NodeReport;
  try {
    report = JSON.parse(readFileSync(name, 'utf8'));
  } catch {
    throw new Error(`${name} is not what libexec/erase --report prints`);
  }
  if (report.subject !== subjectOf(address)) throw new Error(`${name} is about somebody else`);
  if (mark?.due && !(new Date(report.at) >= mark.due)) throw new Error(`${name} is from before the mailbox was due`);
  return report;
}

function verify(name: string, keyFiles: string[]): void {
  if (keyFiles.length === 0) throw new Error(`--public-key is missing\n${USAGE}`);
  const keys = keyFiles.map((key) => publicKeyFrom(readFileSync(key, 'utf8')));
  const { subject, since, at, complete, inTime, journals } = readProof(readFileSync(name, 'utf8'), keys);
  const deleted = journals.reduce((count, one) => count + one.deleted.length, 0);
  console.log(JSON.stringify({ subject, since, at, deleted, complete, inTime }));
  process.exitCode = complete ? 0 : 1;
}

main().catch((error: unknown) => {
  console.error(`mail-erase: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
