import { KeyObject } from 'node:crypto';
import { BrokenEvidenceError, Entry, hourOf, Part, parseEntry, partLines } from '../../handlers/evidence/chain/entry';
import { EvidenceReader } from '../../handlers/evidence/chain/head';
import { hashOf, isSignedBy, manifestKey, parseManifest, SignedManifest } from '../../handlers/evidence/chain/manifest';
import { leafHash, MerkleTree } from '../../handlers/evidence/chain/merkle';
import { inOrder } from '../../handlers/evidence/in-order';
import { EvidenceSource } from '../../handlers/evidence/evidence-source';
import { ObjectCheck } from './source';

/** A batch that somebody noted down earlier. */
export interface KnownBatch {
  readonly sequence: number;
  /** `hashOf` its manifest. */
  readonly hash: string;
}

/** What to check, and against what. */
export interface ChainCheck {
  readonly source: EvidenceSource;
  /** Public keys that may have signed; more than one when the key was replaced. */
  readonly keys: KeyObject[];
  /** Newest batch. */
  readonly newest: number;
  readonly objects: ObjectCheck;
  /**
   * A batch that the chain must hold. Without one nobody can tell a chain that was cut from one that is younger.
   * @default - none
   */
  readonly known?: KnownBatch;
}

/** Counts of a check. */
export interface ChainReport {
  /** Journal objects that were compared with their entries; with `objects: 'none'` the entries. */
  checked: number;
  broken: number;
  batches: number;
  /** The newest batch as `sequence:hash`; note it down, and a chain that is cut later is found out. */
  head?: string;
}

const OBJECTS_AT_A_TIME = 8;

/**
 * Checks a chain from its newest batch back to the first: signatures, order, links, trees, and each object.
 *
 * @param onBroken is told each fault, one line
 */
export async function verifyChain(check: ChainCheck, onBroken: (what: string) => void): Promise<ChainReport> {
  const report: ChainReport = { checked: 0, broken: 0, batches: 0 };
  const broken = (what: string) => {
    report.broken++;
    onBroken(what);
  };
  const { known } = check;
  if (check.newest === 0) {
    broken('there is no batch');
  }
  if (known && known.sequence > check.newest) {
    broken(`the chain ends with batch ${check.newest}, it had ${known.sequence}: the last ones are missing`);
  }
  let next: SignedManifest | undefined;
  for (let sequence = check.newest; sequence > 0; sequence--) {
    const batch = await readBatch(check, sequence, broken);
    if (!batch) {
      next = undefined;
      continue;
    }
    report.batches++;
    report.head ??= `${sequence}:${hashOf(batch.line)}`;
    if (known?.sequence === sequence && known.hash !== hashOf(batch.line)) {
      broken(`batch ${sequence} is not the one that was known`);
    }
    checkLink(batch, next, broken);
    report.checked += await checkEntries(check, batch, broken);
    next = batch;
  }
  return report;
}

/** Reads a batch and checks its signature. @returns nothing when it can't be read */
export async function readBatch(
  { source, keys }: Pick<ChainCheck, 'source' | 'keys'>,
  sequence: number,
  broken: (what: string) => void,
): Promise<SignedManifest | undefined> {
  const text = await source.read(manifestKey(sequence));
  if (!text) {
    broken(`batch ${sequence} is missing`);
    return undefined;
  }
  try {
    const batch = parseManifest(text.toString(), sequence);
    if (!isSignedBy(keys, batch)) {
      broken(`batch ${sequence} has a wrong signature`);
    }
    return batch;
  } catch (error) {
    if (!(error instanceof BrokenEvidenceError)) {
      throw error;
    }
    broken(error.message);
    return undefined;
  }
}

function checkLink(
  { line, manifest }: SignedManifest,
  next: SignedManifest | undefined,
  broken: (what: string) => void,
) {
  const { sequence } = manifest;
  if ((manifest.previous === null) !== (sequence === 1)) {
    broken(`batch ${sequence} ${sequence === 1 ? 'has one before it' : 'has none before it'}`);
  }
  if (!next) {
    return;
  }
  if (next.manifest.previous !== hashOf(line)) {
    broken(`batch ${sequence + 1} does not follow batch ${sequence}`);
  }
  if (next.manifest.journal !== manifest.journal) {
    broken(`batch ${sequence} is of another journal, ${manifest.journal}`);
  }
  if (next.manifest.time < manifest.time) {
    broken(`batch ${sequence} is of ${manifest.time}, later than the next`);
  }
}

/** Entries of a batch in the order of its tree, each with its line. */
export async function* entriesOf(
  source: EvidenceReader,
  parts: Part[],
): AsyncGenerator<{ line: string; entry: Entry }> {
  for (const part of parts) {
    for (const line of partLines(part, await source.read(part.key))) {
      yield { line, entry: parseEntry(line) };
    }
  }
}

async function checkEntries(
  { source, objects }: ChainCheck,
  { manifest }: SignedManifest,
  broken: (what: string) => void,
): Promise<number> {
  const tree = new MerkleTree();
  let checked = 0;
  const checks = inOrder(entriesOf(source, manifest.parts), OBJECTS_AT_A_TIME, async ({ line, entry }) => {
    tree.add(leafHash(line));
    return objects === 'none' ? undefined : checkObject(source, entry, objects);
  });
  try {
    for await (const fault of checks) {
      checked++;
      if (fault) {
        broken(fault);
      }
    }
  } catch (error) {
    // Faults of a part; those of S3 or the disk end the check, it would report mail as lost that is not.
    if (!(error instanceof BrokenEvidenceError)) {
      throw error;
    }
    broken(`batch ${manifest.sequence}: ${error.message}`);
    return checked;
  }
  if (tree.count !== manifest.count || tree.root().toString('hex') !== manifest.root) {
    broken(`batch ${manifest.sequence}: its entries do not make its root`);
  }
  return checked;
}

/** @returns what is wrong with an object; nothing when it is there and intact */
export async function checkObject(
  source: EvidenceSource,
  entry: Entry,
  check: 'read' | 'checksum',
): Promise<string | undefined> {
  const digest = await source.digestOf(entry, check);
  if (digest === undefined) {
    return `${entry.key} is missing`;
  }
  return digest === entry.sha256 ? undefined : `${entry.key} was changed`;
}

/** The hour of a message that somebody asks for. @throws when it is no key of the journal */
export function hourOfMessage(key: string): string {
  const hour = hourOf(key);
  if (hour === undefined) {
    throw new Error(`a message has a key such as journal/2026/11/22/05/<id>.eml.zst, got ${key}`);
  }
  return hour;
}
