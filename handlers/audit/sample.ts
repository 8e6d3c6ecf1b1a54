import { randomInt } from 'node:crypto';
import { BrokenEvidenceError, Entry } from '../evidence/chain/entry';
import { manifestKey, parseManifest } from '../evidence/chain/manifest';
import { inOrder } from '../evidence/in-order';
import { Audit, checkEntry, entriesOfPart } from './check-entry';
import { Counts } from './state';

/** Messages of one part at most: so that a sample is of many hours. */
const OF_A_PART = 10;
/** Batches looked at for one message of the sample, at most: those of the night are empty. */
const TRIES = 3;
const AT_ONCE = 16;

/** Reads messages that are picked at random, whole, and compares them with their entries. */
export async function takeSample(audit: Audit, newest: number, size: number, closing: () => boolean): Promise<Counts> {
  let [checked, broken, missing] = [0, 0, 0];
  const picked = pick(audit, newest, size, (what) => {
    audit.onFault(what);
    broken++;
  });
  for await (const verdict of inOrder(picked, AT_ONCE, (entry) => checkEntry(audit, entry, 'read'))) {
    checked += verdict === 'expired' ? 0 : 1;
    broken += verdict === 'broken' ? 1 : 0;
    missing += verdict === 'missing' ? 1 : 0;
    if (closing()) break;
  }
  return { checked, broken, missing };
}

async function* pick(
  audit: Audit,
  newest: number,
  size: number,
  broken: (what: string) => void,
): AsyncGenerator<Entry> {
  const seen = new Set<string>();
  for (let tries = 0; newest > 0 && tries < TRIES * size && seen.size < size; tries++) {
    const sequence = 1 + randomInt(newest);
    try {
      const text = await audit.source.read(manifestKey(sequence));
      const { parts } = parseManifest(text?.toString() ?? '', sequence).manifest;
      if (parts.length === 0) continue;
      const part = parts[randomInt(parts.length)];
      const entries = await entriesOfPart(audit, part);
      for (let count = Math.min(OF_A_PART, entries.length, size - seen.size); count > 0; count--) {
        const [entry] = entries.splice(randomInt(entries.length), 1);
        const name = `${entry.key} ${entry.versionId}`;
        if (!seen.has(name)) yield entry;
        seen.add(name);
      }
    } catch (error) {
      if (!(error instanceof BrokenEvidenceError)) throw error;
      broken(`batch ${sequence}: ${error.message}`);
    }
  }
}
