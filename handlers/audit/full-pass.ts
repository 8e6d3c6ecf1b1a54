import { KeyObject } from 'node:crypto';
import { BrokenEvidenceError, Entry } from '../evidence/chain/entry';
import { hashOf, isSignedBy, manifestKey, parseManifest, SignedManifest } from '../evidence/chain/manifest';
import { inOrder } from '../evidence/in-order';
import { Audit, checkEntry, entriesOfPart } from './check-entry';
import { Pass } from './state';

/** Messages asked for at a time. */
const AT_ONCE = 32;

/**
 * Goes on with a pass over the chain and all that it attests, by S3's own SHA-256 of each message: batch by batch, signature
 * and link of each, each part against its digest, each message against its entry.
 *
 * @param closing asked after each part whether to leave the rest to the next run
 * @returns the pass as it is then; it is over when `sequence` is more than `newest`
 */
export async function goOn(
  audit: Audit,
  key: KeyObject,
  pass: Pass,
  newest: number,
  closing: () => boolean,
): Promise<Pass> {
  let now = pass;
  const broken = (what: string) => {
    audit.onFault(what);
    now = { ...now, broken: now.broken + 1 };
  };
  while (now.sequence <= newest) {
    const batch = await readBatch(audit, now.sequence, broken);
    if (batch && now.part === 0) checkPlace(batch, key, now, broken);
    for (const part of batch?.manifest.parts.slice(now.part) ?? []) {
      if (closing()) return now;
      let entries: Entry[] = [];
      try {
        entries = await entriesOfPart(audit, part);
      } catch (error) {
        if (!(error instanceof BrokenEvidenceError)) throw error;
        broken(`batch ${now.sequence}: ${error.message}`);
      }
      for await (const verdict of inOrder(each(entries), AT_ONCE, (entry) => checkEntry(audit, entry, 'checksum'))) {
        now = {
          ...now,
          checked: now.checked + (verdict === 'expired' ? 0 : 1),
          broken: now.broken + (verdict === 'broken' ? 1 : 0),
          missing: now.missing + (verdict === 'missing' ? 1 : 0),
        };
      }
      now = { ...now, part: now.part + 1 };
    }
    now = { ...now, sequence: now.sequence + 1, part: 0, previous: batch && hashOf(batch.line) };
    if (closing()) return now;
  }
  return now;
}

async function readBatch(
  { source }: Audit,
  sequence: number,
  broken: (what: string) => void,
): Promise<SignedManifest | undefined> {
  const text = await source.read(manifestKey(sequence));
  try {
    if (!text) throw new BrokenEvidenceError(`batch ${sequence} is missing`);
    return parseManifest(text.toString(), sequence);
  } catch (error) {
    if (!(error instanceof BrokenEvidenceError)) throw error;
    broken(error.message);
    return undefined;
  }
}

function checkPlace(batch: SignedManifest, key: KeyObject, { previous }: Pass, broken: (what: string) => void): void {
  const { sequence } = batch.manifest;
  if (!isSignedBy([key], batch)) broken(`batch ${sequence} has a wrong signature`);
  if (previous !== undefined && batch.manifest.previous !== previous) {
    broken(`batch ${sequence} does not follow batch ${sequence - 1}`);
  }
}

async function* each<T>(items: T[]): AsyncGenerator<T> {
  yield* items;
}
