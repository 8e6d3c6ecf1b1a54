import { Entry, Part, parseEntry, partLines } from '../evidence/chain/entry';
import { BucketSource } from '../evidence/evidence-source';
import { UnreadableError } from '../evidence/journal-bucket';

/** What an audit looks at, and how. */
export interface Audit {
  readonly source: BucketSource;
  /** Told of each fault, one line. */
  readonly onFault: (what: string) => void;
  /** What S3 stored before is deleted by its age, milliseconds since 1970; -Infinity when nothing is. */
  readonly keptFrom: number;
}

/** What became of a message. */
export type Verdict = 'intact' | 'broken' | 'missing' | 'expired';

/** Compares a message with its entry: read whole, or by S3's own SHA-256. One in Deep Archive, by that in any case. */
export async function checkEntry(audit: Audit, entry: Entry, check: 'read' | 'checksum'): Promise<Verdict> {
  if (Date.parse(entry.lastModified) < audit.keptFrom) return 'expired';
  const digest = await audit.source.digestOf(entry, check).catch((error) => {
    if (check === 'checksum' || !isInDeepArchive(error)) throw error;
    return audit.source.digestOf(entry, 'checksum');
  });
  if (digest === undefined) {
    audit.onFault(`${entry.key} (version ${entry.versionId}) is missing`);
    return 'missing';
  }
  if (digest === entry.sha256) return 'intact';
  audit.onFault(`${entry.key} (version ${entry.versionId}) was changed: its SHA-256 is ${digest}, not ${entry.sha256}`);
  return 'broken';
}

/** @throws BrokenEvidenceError when the part is missing or was changed */
export async function entriesOfPart(audit: Audit, part: Part): Promise<Entry[]> {
  return partLines(part, await audit.source.read(part.key)).map(parseEntry);
}

function isInDeepArchive(error: Error): boolean {
  return (
    error.name === 'InvalidObjectState' ||
    (error instanceof UnreadableError && error.message.endsWith('InvalidObjectState'))
  );
}
