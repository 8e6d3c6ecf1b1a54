import { tagOf } from '../restore/journal-key';
import type { EraseOptions, JournalErasure } from './erase-journal';
import type { KeyVersion, KeyVersions } from './key-versions';
import type { WorkLog } from './work-log';

/** As many keys as metadata name for certain (assets/node/libexec/journal/seal.py). */
const NAMED_MAX = 50;

/** What came of the keys of a sealed journal. */
export interface KeysErasure {
  readonly bucket: string;
  /** Versions of keys that are gone, and since when, ISO 8601; in a dry run, that would be. Nobody brings them back. */
  readonly destroyed: (KeyVersion & { readonly at: string })[];
  /** Versions that S3 refused to delete. */
  readonly refused: KeyVersion[];
}

/** The tag of the key that mail of an address is sealed for: details (bob+lists@…) have none of their own. */
export function keyTagOf(address: string): string {
  return tagOf(address.replace(/\+[^@]*(?=@)/, ''));
}

/**
 * Destroys the keys of a person's addresses, all versions. Safe to be ended and begun again; what earlier runs destroyed is in the
 * log.
 */
export async function destroyKeys(
  keys: KeyVersions,
  tags: readonly string[],
  log: WorkLog,
  { dryRun, onProblem }: Pick<EraseOptions, 'dryRun' | 'onProblem'>,
): Promise<KeysErasure> {
  const { bucket } = keys;
  const result: KeysErasure = { bucket, destroyed: [], refused: [] };
  for (const tag of tags) {
    // Until none is left: a node may have been making one.
    for (let versions = await keys.of(tag); versions.length > 0; versions = await keys.of(tag)) {
      for (const version of versions) {
        const entry = { ...version, at: new Date().toISOString() };
        if (!dryRun) {
          log.intend(bucket, entry);
          if (!(await keys.delete(version))) {
            result.refused.push(version);
            onProblem?.(
              'refused',
              version.key,
              'S3 does not delete it: a right is missing, or a lock or a policy forbids it',
            );
            continue;
          }
        }
        result.destroyed.push(entry);
      }
      if (dryRun || result.refused.length > 0) break;
    }
  }
  const told = new Set(result.destroyed.map(nameOf));
  for (const { at, ...version } of log.intended(bucket)) {
    const { key, versionId } = version;
    if (told.has(nameOf(version)) || at === undefined) continue;
    const left = await keys.of(key.split('/')[1]);
    if (!left.map(nameOf).includes(nameOf(version))) result.destroyed.push({ key, versionId, at });
  }
  return result;
}

/**
 * Takes out of what a lock keeps what nobody can open any more.
 *
 * @param keys where it is looked whether one is left
 * @param gone tags of keys that count as destroyed, in a dry run
 */
export async function settleLocked(
  results: readonly JournalErasure[],
  keys: KeyVersions | undefined,
  gone: readonly string[],
  onProblem?: EraseOptions['onProblem'],
): Promise<void> {
  const there = new Map<string, boolean>(gone.map((tag) => [tag, false]));
  const opens = async (tag: string): Promise<boolean> => {
    if (!there.has(tag)) there.set(tag, await keys!.isThere(tag));
    return there.get(tag)!;
  };
  for (const { locked, unreadable } of results) {
    for (const { why, keysBucket, openedBy = [], ...version } of locked.splice(0)) {
      // Those of another bucket, or that metadata had no room for, can't be looked for.
      const isKnown = keysBucket === keys?.bucket && openedBy.length > 0 && openedBy.length <= NAMED_MAX;
      let canBeRead = !keys || !isKnown;
      for (const tag of openedBy) canBeRead ||= await opens(tag);
      (canBeRead ? locked : unreadable).push(version);
      if (!canBeRead || why === undefined) continue;
      const named =
        keysBucket === keys?.bucket ? '; a key is left that opens it' : `; --keys s3://${keysBucket} destroys its keys`;
      onProblem?.('locked', version.key, `${why}${keysBucket ? named : ''}`);
    }
  }
}

function nameOf({ key, versionId }: KeyVersion): string {
  return `${key} ${versionId}`;
}
