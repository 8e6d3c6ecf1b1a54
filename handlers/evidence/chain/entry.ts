import { sha256 } from './merkle';

/** One version of a journal object, as a batch attests it. */
export interface Entry {
  /** Key of the object, `journal/YYYY/MM/DD/HH/<id>.eml.zst`. */
  readonly key: string;
  readonly versionId: string;
  /** Bytes. */
  readonly size: number;
  /** SHA-256 of its bytes, hexadecimal. */
  readonly sha256: string;
  /** When S3 stored it, by S3's clock, ISO 8601. */
  readonly lastModified: string;
}

/** A file of entries of one hour and one batch, one JSON line each, sorted by key. */
export interface Part {
  readonly key: string;
  /** SHA-256 of the file, hexadecimal. */
  readonly sha256: string;
  /** Entries in it. */
  readonly count: number;
}

/** Thrown for evidence that is missing or not as it was signed. */
export class BrokenEvidenceError extends Error {}

export const JOURNAL = 'journal/';
const ENTRIES = 'evidence/entries/';
// Letters, digits and three marks: their order is the same to S3, which sorts bytes, and to this program.
const JOURNAL_KEY = /^journal\/([0-9]{4}\/[0-9]{2}\/[0-9]{2}\/[0-9]{2})\/[A-Za-z0-9._-]+$/;
const PART_KEY = /^evidence\/entries\/[0-9/]{13}\/([0-9]{9})-[0-9]{4}-[0-9a-f]{16}\.jsonl$/;

/** Hour of a journal object, `YYYY/MM/DD/HH`; nothing when the key is not one of the journal's. */
export function hourOf(key: string): string | undefined {
  return JOURNAL_KEY.exec(key)?.[1];
}

/** The hour of a moment, `YYYY/MM/DD/HH`, UTC. */
export function hourAt(time: Date): string {
  return time.toISOString().slice(0, 13).replace(/[-T]/g, '/');
}

/** Folder of all parts with entries of an hour. */
export function partsOfHour(hour: string): string {
  return `${ENTRIES}${hour}/`;
}

/**
 * Key of a part. The digest in it keeps two runs that make the same batch with different entries apart, and lets a run
 * that repeats one that was killed find its part already there.
 */
export function partKey(hour: string, sequence: number, index: number, content: string): string {
  const number = `${sequence}`.padStart(9, '0');
  const digest = sha256(content).toString('hex').slice(0, 16);
  return `${partsOfHour(hour)}${number}-${`${index}`.padStart(4, '0')}-${digest}.jsonl`;
}

/** Sequence of the batch that a part was written for; nothing for other keys. */
export function batchOfPart(key: string): number | undefined {
  const number = PART_KEY.exec(key)?.[1];
  return number === undefined ? undefined : Number(number);
}

/** The bytes that are the leaf of an entry. */
export function entryLine({ key, versionId, size, sha256: digest, lastModified }: Entry): string {
  return JSON.stringify({ key, versionId, size, sha256: digest, lastModified });
}

/** @throws when the line is no entry, or not written as `entryLine` does */
export function parseEntry(line: string): Entry {
  const entry = JSON.parse(line) as Entry;
  if (hourOf(entry.key) === undefined || !/^[0-9a-f]{64}$/.test(entry.sha256) || entryLine(entry) !== line) {
    throw new BrokenEvidenceError(`not an entry: ${line.slice(0, 200)}`);
  }
  return entry;
}

/**
 * Lines of a part, checked against its digest.
 *
 * @throws when the part is missing or is not what the batch signed
 */
export function partLines(part: Part, content: Buffer | undefined): string[] {
  if (!content) {
    throw new BrokenEvidenceError(`${part.key} is missing`);
  }
  if (sha256(content).toString('hex') !== part.sha256) {
    throw new BrokenEvidenceError(`${part.key} was changed`);
  }
  const lines = content.toString().split('\n').slice(0, -1);
  if (lines.length !== part.count) {
    throw new BrokenEvidenceError(`${part.key} has ${lines.length} entries, expected ${part.count}`);
  }
  return lines;
}
