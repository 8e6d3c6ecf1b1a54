import { Entry, JOURNAL } from './chain/entry';
import { newestBatch } from './chain/head';
import { hashOf, manifestKey, manifestLine, parseManifest, SignedManifest } from './chain/manifest';
import { inOrder } from './in-order';
import { JournalBucket, JournalVersion, UnreadableError } from './journal-bucket';
import { PartWriter } from './part-writer';
import { Scan, ScanRange } from './scan';
import { Signer } from './signer';

/** Digests asked for at a time. */
const DIGESTS = 16;

/** What a batch may take. */
export interface BatchLimits extends ScanRange {
  /** Most entries in a batch; what is left goes into the next one. */
  readonly entries: number;
  /** Whether to close the batch now, because the time is nearly over. */
  readonly closing: () => boolean;
}

/** What one batch did. */
export interface BatchResult {
  readonly sequence: number;
  /** False when another run made the batch of this sequence. */
  readonly written: boolean;
  /** Entries in it. */
  readonly covered: number;
  /** Objects that no batch can attest as they are, each with its reason. */
  readonly notCovered: string[];
  /** Age of its oldest object, seconds; 0 without objects. */
  readonly lag: number;
  /** Whether it was closed before all was looked at. */
  readonly more: boolean;
}

/**
 * Makes the next batch of the chain, an empty one when nothing is new: that there was nothing is evidence too.
 *
 * The conditional write of the manifest is the moment at which all of it counts. A run that ends before has changed
 * nothing: the next one finds the same objects uncovered. Of two runs at once one gets its manifest written.
 */
export async function makeBatch(bucket: JournalBucket, signer: Signer, limits: BatchLimits): Promise<BatchResult> {
  const newest = await newestBatch(bucket);
  const before = newest === 0 ? undefined : await readBatch(bucket, newest);
  const sequence = newest + 1;
  const time = bucket.now;
  const notCovered: string[] = [];
  const sweptTo = before?.manifest.sweptTo ?? null;
  const scan = new Scan(bucket, newest, limits, sweptTo, (key) => notCovered.push(`${key}: not a key of the journal`));
  const writer = new PartWriter(bucket, sequence);
  let oldest = time.getTime();
  let more = false;

  for await (const entry of inOrder(scan.uncovered(), DIGESTS, (version) => attest(bucket, version, notCovered))) {
    if (!entry) {
      continue;
    }
    await writer.add(entry);
    oldest = Math.min(oldest, Date.parse(entry.lastModified));
    if (writer.tree.count >= limits.entries || limits.closing()) {
      more = true;
      break;
    }
  }
  await writer.flush();

  const line = manifestLine({
    journal: `s3://${bucket.name}/${JOURNAL}`,
    sequence,
    previous: before ? hashOf(before.line) : null,
    time: time.toISOString(),
    count: writer.tree.count,
    root: writer.tree.root().toString('hex'),
    parts: writer.parts,
    // A scan that was cut short did not come so far.
    sweptTo: more ? sweptTo : scan.sweptTo,
  });
  const written = await commit(bucket, sequence, line, await signer.sign(line));
  const lag = (time.getTime() - oldest) / 1000;
  return { sequence, written, covered: writer.tree.count, notCovered, lag, more };
}

async function attest(
  bucket: JournalBucket,
  { key, versionId, size, lastModified }: JournalVersion,
  notCovered: string[],
): Promise<Entry | undefined> {
  try {
    const sha256 = await bucket.digestOf({ key, versionId });
    return { key, versionId, size, sha256, lastModified: lastModified.toISOString() };
  } catch (error) {
    if (!(error instanceof UnreadableError)) {
      throw error;
    }
    // Looked at again by later runs; one such object must not stop the chain.
    notCovered.push(error.message);
    return undefined;
  }
}

async function readBatch(bucket: JournalBucket, sequence: number): Promise<SignedManifest> {
  const text = await bucket.read(manifestKey(sequence));
  return parseManifest(text?.toString() ?? '', sequence);
}

/** @returns false when another run wrote the batch first */
async function commit(bucket: JournalBucket, sequence: number, line: string, text: string): Promise<boolean> {
  if (await bucket.putOnce(manifestKey(sequence), text)) {
    return true;
  }
  // It may be ours: an answer that was lost on the way makes the SDK write a second time.
  return (await readBatch(bucket, sequence)).line === line;
}
