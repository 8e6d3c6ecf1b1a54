import { KeyObject } from 'node:crypto';
import { batchOfPart, BrokenEvidenceError, Entry, parseEntry, partsOfHour } from '../../handlers/evidence/chain/entry';
import { isSignedBy, manifestKey, parseManifest } from '../../handlers/evidence/chain/manifest';
import { inclusionPath, leafHash, rootFromPath } from '../../handlers/evidence/chain/merkle';
import { EvidenceSource } from '../../handlers/evidence/evidence-source';
import { entriesOf, hourOfMessage } from './verify-chain';

const FORMAT = 'cdk-mail-platform/evidence-proof/1';

/** Proves that a batch attests one message. It is verified with a public key and nothing else. */
export interface Proof {
  readonly format: typeof FORMAT;
  /** The message's line in the batch. */
  readonly entry: string;
  /** Place of the line in the batch's tree, from 0. */
  readonly index: number;
  /** Hashes beside the way to the root, the lowest first, hexadecimal. */
  readonly path: string[];
  /** The batch, both of its lines. */
  readonly manifest: string;
}

/** What a proof says once it has been verified. */
export interface Proven {
  readonly entry: Entry;
  readonly batch: number;
  /** When the batch was made, ISO 8601. */
  readonly time: string;
}

/**
 * Makes the proofs of a message, one for each version of its object, which is one when the journal was written as it
 * should be.
 *
 * @throws when the batch with the message can't be trusted
 */
export async function prove(source: EvidenceSource, keys: KeyObject[], key: string): Promise<Proof[]> {
  const written = (await source.children(partsOfHour(hourOfMessage(key)))).map(batchOfPart);
  const proofs: Proof[] = [];
  for (const sequence of new Set(written)) {
    const text = sequence === undefined ? undefined : await source.read(manifestKey(sequence));
    if (sequence === undefined || text === undefined) {
      // A part whose batch was never made is left from a run that was killed.
      continue;
    }
    const batch = parseManifest(text.toString(), sequence);
    if (!isSignedBy(keys, batch)) {
      throw new BrokenEvidenceError(`batch ${sequence} has a wrong signature`);
    }
    const leaves: Buffer[] = [];
    const found: { line: string; index: number }[] = [];
    for await (const { line, entry } of entriesOf(source, batch.manifest.parts)) {
      if (entry.key === key) {
        found.push({ line, index: leaves.length });
      }
      leaves.push(leafHash(line));
    }
    for (const { line, index } of found) {
      proofs.push({
        format: FORMAT,
        entry: line,
        index,
        path: inclusionPath(leaves, index).map((hash) => hash.toString('hex')),
        manifest: text.toString(),
      });
    }
  }
  return proofs;
}

/** @throws when it proves nothing, with the reason */
export function verifyProof(text: string, keys: KeyObject[]): Proven {
  const proof = JSON.parse(text) as Proof;
  if (proof.format !== FORMAT) {
    throw new Error(`a proof has the format ${FORMAT}, got ${JSON.stringify(proof.format)}`);
  }
  const { sequence } = JSON.parse(proof.manifest.split('\n')[0]) as { sequence: number };
  const batch = parseManifest(proof.manifest, sequence);
  if (!isSignedBy(keys, batch)) {
    throw new BrokenEvidenceError(`batch ${sequence} has a wrong signature`);
  }
  const path = proof.path.map((hash) => Buffer.from(hash, 'hex'));
  const root = rootFromPath(leafHash(proof.entry), proof.index, batch.manifest.count, path);
  if (root?.toString('hex') !== batch.manifest.root) {
    throw new BrokenEvidenceError(`the entry is not in batch ${sequence}`);
  }
  return { entry: parseEntry(proof.entry), batch: sequence, time: batch.manifest.time };
}
