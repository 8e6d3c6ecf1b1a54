import { eraseFromPacks } from './erase-packs';
import { tagOf } from '../restore/journal-key';
import type { JournalVersions, ObjectVersion, VersionFacts } from './journal-versions';
import type { WorkLog } from './work-log';

/** Versions looked at at once. */
const AT_ONCE = 32;

/** Whose mail is erased from a journal. */
export interface Person {
  /** Address, aliases and names with a detail. */
  readonly addresses: readonly string[];
  /** Everybody else's of the cluster: mail that is theirs as well stays. */
  readonly others: readonly string[];
}

export interface EraseOptions {
  /** Whether mail that is others' as well goes, too. */
  readonly shared: boolean;
  /** Whether a lock in governance mode is lifted. */
  readonly liftGovernance: boolean;
  readonly dryRun: boolean;
  readonly onProblem?: (what: string, key: string, why: string) => void;
}

/** A version that a lock keeps. */
export interface LockedVersion {
  readonly key: string;
  readonly versionId: string;
  /** ISO 8601. */
  readonly until: string;
  /** Not told yet. */
  readonly why?: string;
  /** Of one that is sealed where its keys are, and the tags of those that open it. None of these is part of a proof. */
  readonly keysBucket?: string;
  readonly openedBy?: readonly string[];
}

/** What came of one journal. */
export interface JournalErasure {
  readonly bucket: string;
  /** Versions looked at. */
  looked: number;
  /** Versions deleted, with SHA-256 of the object where S3 had it; in a dry run, what would be. */
  readonly deleted: { readonly key: string; readonly versionId: string; readonly sha256?: string }[];
  /** Packs and indexes of packs that were written anew, because something of the person was in them, or never counted. */
  readonly rewritten: { readonly key: string; readonly versionId: string; readonly sha256?: string }[];
  /** Versions that a lock keeps, and until when. */
  readonly locked: LockedVersion[];
  /** Versions that a lock keeps until then, and that nobody can open any more: their keys were destroyed. */
  readonly unreadable: LockedVersion[];
  /** Versions under a legal hold. */
  readonly held: { readonly key: string; readonly versionId: string }[];
  /** Versions that S3 refused to delete for another reason. */
  readonly refused: { readonly key: string; readonly versionId: string }[];
  /** Versions that are others' as well, and stay. */
  shared: number;
}

/**
 * Deletes each version of each message of a person from a journal, by what metadata tell: nobody reads mail for it. Safe to be
 * ended and begun again; what earlier runs deleted is in the log.
 */
export async function eraseFromJournal(
  journal: JournalVersions,
  person: Person,
  log: WorkLog,
  options: EraseOptions,
): Promise<JournalErasure> {
  const { bucket } = journal;
  const result: JournalErasure = {
    ...{ bucket, looked: 0, deleted: [], rewritten: [], locked: [], unreadable: [], held: [], refused: [], shared: 0 },
  };
  const own = new Set(person.addresses.map(tagOf));
  const others = new Set(person.others.map(tagOf).filter((tag) => !own.has(tag)));
  const tell = options.onProblem ?? (() => undefined);

  const erase = async (version: ObjectVersion, facts: VersionFacts): Promise<void> => {
    const { key, versionId } = version;
    const whose = ownerOf(facts.metadata, own, others);
    if (whose === 'others') return;
    if (whose === 'both' && !options.shared) {
      result.shared++;
      return;
    }
    if (facts.legalHold) {
      result.held.push({ key, versionId });
      tell('held', key, 'a legal hold keeps it');
      return;
    }
    if (facts.lockedUntil && !(facts.isGovernance && options.liftGovernance)) {
      const until = facts.lockedUntil.toISOString();
      const lift = facts.isGovernance ? '; --bypass-governance lifts it' : ', and nobody can lift that';
      const why = `Object Lock keeps it until ${until}${lift}`;
      const { keys, 'keys-bucket': keysBucket } = facts.metadata;
      result.locked.push({ key, versionId, until, why, keysBucket, openedBy: keys?.split(',') });
      return;
    }
    const entry = { key, versionId, sha256: facts.checksum };
    if (!options.dryRun) {
      // Before it is gone: afterwards nothing tells that it was the person's.
      log.intend(bucket, entry);
      if (!(await journal.delete(version, options.liftGovernance))) {
        result.refused.push({ key, versionId });
        tell('refused', key, 'S3 does not delete it: a right is missing, or a policy forbids it');
        return;
      }
    }
    result.deleted.push(entry);
  };

  const versions = journal.all();
  const worker = async () => {
    for (;;) {
      const { value: version, done } = await versions.next();
      if (done) return;
      result.looked++;
      if (version.isMarker) continue; // empty; its object's versions are looked at themselves
      const facts = await journal.facts(version);
      if (facts) await erase(version, facts);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  // After the objects: what was moved into a pack meanwhile is there.
  const whose = (metadata: Readonly<Record<string, string>>) => ownerOf(metadata, own, others);
  await eraseFromPacks(journal, whose, log, options, result);
  await addEarlier(journal, log, result);
  return result;
}

/** Adds what earlier runs deleted, and what was an object and in a pack only once. */
async function addEarlier(journal: JournalVersions, log: WorkLog, result: JournalErasure): Promise<void> {
  const told = new Set([...result.deleted, ...result.rewritten].map(({ key, versionId }) => `${key} ${versionId}`));
  const gone = new Map<string, boolean>();
  for (const { pack, rewritten, ...entry } of log.intended(result.bucket)) {
    const name = `${entry.key} ${entry.versionId}`;
    const where = pack ?? entry;
    const place = `${where.key} ${where.versionId}`;
    if (told.has(name)) continue;
    if (!gone.has(place)) gone.set(place, (await journal.facts(where)) === undefined);
    if (!gone.get(place)) continue;
    told.add(name);
    (rewritten ? result.rewritten : result.deleted).push(entry);
  }
}

/**
 * Whose a message is. One to so many that metadata has no room for all counts as others', too. Of a sealed one the keys tell besides, also
 * for names with a detail.
 */
function ownerOf(
  { from, to = '', recipients, keys }: Readonly<Record<string, string>>,
  own: ReadonlySet<string>,
  others: ReadonlySet<string>,
): 'person' | 'both' | 'others' {
  const named = to.split(',');
  const tags = [from, ...named, ...(keys?.split(',') ?? [])];
  if (!tags.some((tag) => own.has(tag))) return 'others';
  const more = Number(recipients) > named.length;
  return more || tags.some((tag) => others.has(tag)) ? 'both' : 'person';
}
