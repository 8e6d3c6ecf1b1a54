import { randomBytes } from 'node:crypto';
import { hourOf, JOURNAL } from '../evidence/chain/entry';
import { newestBatch } from '../evidence/chain/head';
import { CoveredHour } from '../evidence/covered';
import { inOrder } from '../evidence/in-order';
import { sha256 } from '../evidence/chain/merkle';
import { JournalVersion } from '../evidence/journal-bucket';
import { PackBucket } from './pack-bucket';
import { Pack, PackBuilder, StoredMessage } from './pack-builder';
import { parseIndex } from './pack-index';
import { currentIndexes, PackName, packsOfDay } from './pack-names';
import { unnamed } from './unnamed';

/** Smaller objects go into packs, and no pack is smaller: below it S3 moves nothing, and Glacier bills it anyway. */
export const SMALL = 128 << 10;
/** A pack without an index is being made, or was left by a run that was killed; no run takes so long. */
export const ABANDONED_MILLISECONDS = 3_600_000;
const DAY = 86_400_000;
/** Messages read at a time. */
const READ_AHEAD = 16;

/** How packs are made. */
export interface PackLimits {
  /** Whether only what a batch of evidence attests is packed. */
  readonly onlyAttested: boolean;
  /** Whether to end now, because the time is nearly over. */
  readonly closing: () => boolean;
}

/** What became of a day. */
export interface PackedDay {
  packs: number;
  messages: number;
  /** Bytes in packs. */
  bytes: number;
  /** Messages that are not what was attested, each with its reason; they stay where they are. */
  readonly notPacked: string[];
  /** Whether all of it was looked at; not when time is over or another run is at it. */
  complete: boolean;
}

/**
 * Moves the small objects of a day into packs, in the order of their keys. Memory is that of one pack.
 *
 * A pack counts from the moment at which its index is stored, and then as a whole; originals are deleted when S3 has
 * confirmed both. A run that dies before has changed nothing, one that dies after leaves originals that the next run
 * deletes before all else: so none is in two packs. Of two runs at once one gets the name of the index, and the other one
 * leaves the day to it.
 */
export async function packDay(bucket: PackBucket, day: string, limits: PackLimits): Promise<PackedDay> {
  const result: PackedDay = { packs: 0, messages: 0, bytes: 0, notPacked: [], complete: false };
  const names = await bucket.journal.children(packsOfDay(day));
  const last = currentIndexes(names).at(-1);
  if (last) await deleteOriginals(bucket, last);
  await deleteAbandoned(bucket, day);

  let number = (last?.number ?? 0) + 1;
  let builder = new PackBuilder();
  const read = (candidate: Candidate) => readMessage(bucket, candidate, result.notPacked);
  for await (const message of inOrder(candidates(bucket, day, limits), READ_AHEAD, read)) {
    if (!message) continue;
    if (limits.closing()) return result;
    builder.add(message);
    if (!builder.isFull) continue;
    if (!(await store(bucket, day, number, builder, result))) return result;
    number++;
    builder = new PackBuilder();
  }
  // What is left stays as it is: less than 128 KB a day.
  if (builder.bytes >= SMALL && !(await store(bucket, day, number, builder, result))) return result;
  result.complete = true;
  return result;
}

/** @returns false when the day must be left alone: another run is at it, or a message went meanwhile */
async function store(
  bucket: PackBucket,
  day: string,
  number: number,
  builder: PackBuilder,
  result: PackedDay,
): Promise<boolean> {
  const pack = builder.build(day, number, 0, randomBytes(8).toString('hex'));
  const version = await bucket.putPack(pack);
  // In this order nothing comes back that is erased meanwhile: whoever deletes a message after this look finds the pack, and
  // packs without an index are looked for, too (docs/adr/0017-packs.md).
  if (!(await areAllThere(bucket, day, pack)) || !(await bucket.putIndex(pack.index))) {
    await bucket.delete([version]);
    return false;
  }
  await bucket.confirm(pack.key, sha256(pack.body));
  await bucket.confirm(pack.index.key, sha256(pack.index.text));
  await bucket.delete(pack.members);
  result.packs++;
  result.messages += pack.members.length;
  result.bytes += pack.body.length;
  return true;
}

/** Ends what a run began that was killed. */
async function deleteOriginals(bucket: PackBucket, { key }: PackName): Promise<void> {
  const text = await bucket.journal.read(key);
  const { pack, sha256: digest, members } = parseIndex(key, text?.toString() ?? '');
  if (pack === null) return;
  await bucket.confirm(pack, Buffer.from(digest, 'hex'));
  await bucket.confirm(key, sha256(text!));
  await bucket.delete(members);
}

/** Deletes packs that no index names: their runs were killed. */
async function deleteAbandoned(bucket: PackBucket, day: string): Promise<void> {
  const versions: JournalVersion[] = [];
  for await (const version of bucket.journal.versions(packsOfDay(day))) versions.push(version);
  const before = bucket.journal.now.getTime() - ABANDONED_MILLISECONDS;
  for (const version of await unnamed(bucket.journal, versions)) {
    if (version.lastModified.getTime() < before) await bucket.delete([version]);
  }
}

interface Candidate {
  readonly version: JournalVersion;
  /** As evidence has it; nothing where none is asked for. */
  readonly sha256?: string;
}

/** What may go into packs, sorted by key: small, stored a day ago, of one version only, and attested. */
async function* candidates(bucket: PackBucket, day: string, limits: PackLimits): AsyncGenerator<Candidate> {
  const { journal } = bucket;
  const newest = limits.onlyAttested ? await newestBatch(journal) : 0;
  const before = journal.now.getTime() - DAY;
  let hour: string | undefined;
  let covered: CoveredHour | undefined;
  for await (const version of singles(journal.versions(`${JOURNAL}${day}/`))) {
    const { key, versionId, size, lastModified } = version;
    const itsHour = hourOf(key);
    if (itsHour === undefined) continue;
    if (!limits.onlyAttested) {
      if (size < SMALL && lastModified.getTime() < before) yield { version };
      continue;
    }
    if (!covered || itsHour !== hour) {
      hour = itsHour;
      covered = await CoveredHour.open(journal, hour, newest);
    }
    const attested = (await covered.versionsOf(key)).get(versionId);
    if (attested && size < SMALL && lastModified.getTime() < before) yield { version, sha256: attested };
  }
}

/** Versions that are the only one of their key, and not hidden by a mark that it was deleted. */
async function* singles(versions: AsyncIterable<JournalVersion>): AsyncGenerator<JournalVersion> {
  let last: JournalVersion | undefined;
  let isOnly = false;
  for await (const version of versions) {
    if (version.key === last?.key) {
      isOnly = false;
      continue;
    }
    if (last && isOnly) yield last;
    last = version;
    isOnly = version.isLatest;
  }
  if (last && isOnly) yield last;
}

async function readMessage(
  bucket: PackBucket,
  { version, sha256: attested }: Candidate,
  notPacked: string[],
): Promise<StoredMessage | undefined> {
  const message = await bucket.message(version);
  if (message && attested !== undefined && message.entry.sha256 !== attested) {
    notPacked.push(`${version.key}: it is not what was attested`);
    return undefined;
  }
  return message;
}

/** Whether each message of the pack is still there, and the same. */
async function areAllThere({ journal }: PackBucket, day: string, { members }: Pack): Promise<boolean> {
  const stored = new Map(members.map(({ key, lastModified }) => [key, lastModified]));
  // S3 lists what comes after a key: so after one before the first.
  const after = members[0].key.slice(0, -1);
  for await (const { key, lastModified } of journal.objects(`${JOURNAL}${day}/`, after)) {
    if (stored.get(key) === lastModified.toISOString()) stored.delete(key);
    if (key >= members.at(-1)!.key) break;
  }
  return stored.size === 0;
}
