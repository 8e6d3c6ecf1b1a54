import { createPublicKey, KeyObject, verify } from 'node:crypto';
import { BrokenEvidenceError, Part } from './entry';
import { sha256 } from './merkle';

const FORMAT = 'cdk-mail-platform/evidence/1';

/** What a batch attests, and its place in the chain. */
export interface Manifest {
  readonly format: typeof FORMAT;
  /** The journal, such as `s3://bucket/journal/`. */
  readonly journal: string;
  /** 1 for the first batch. */
  readonly sequence: number;
  /** `hashOf` the batch before; nothing for the first one. */
  readonly previous: string | null;
  /** When the batch was made, by S3's clock, ISO 8601. */
  readonly time: string;
  /** Entries in all parts. */
  readonly count: number;
  /** Root of the Merkle tree over the lines of all parts in this order, hexadecimal. */
  readonly root: string;
  readonly parts: Part[];
  /** Key up to which the sweep over the whole journal came; nothing when it starts anew. */
  readonly sweptTo: string | null;
}

/** A manifest as it is stored: a line of JSON that is signed, and a line of JSON with the signature. */
export interface SignedManifest {
  readonly manifest: Manifest;
  /** The line that is signed. */
  readonly line: string;
  /** Signature of `statement(line)`: ECDSA over P-256 with SHA-256, in DER. */
  readonly signature: Buffer;
}

export const BATCHES = 'evidence/batches/';

/** Key of a batch: three folders of three digits, so that the newest is found by three listings. */
export function manifestKey(sequence: number): string {
  const digits = `${sequence}`.padStart(9, '0');
  return `${BATCHES}${digits.slice(0, 3)}/${digits.slice(3, 6)}/${digits.slice(6)}.jsonl`;
}

/** Sequence in the key of a batch; nothing for other keys. */
export function sequenceOf(key: string): number | undefined {
  const digits = /^evidence\/batches\/([0-9]{3})\/([0-9]{3})\/([0-9]{3})\.jsonl$/.exec(key);
  return digits ? Number(digits.slice(1).join('')) : undefined;
}

export function manifestLine(manifest: Omit<Manifest, 'format'>): string {
  return JSON.stringify({ format: FORMAT, ...manifest });
}

/** What the next batch has as `previous`: SHA-256 of the signed line, hexadecimal. */
export function hashOf(line: string): string {
  return sha256(line).toString('hex');
}

/** What is signed: short, because KMS takes at most 4096 bytes, and a text that nothing else would be signed as. */
export function statement(line: string): string {
  return `${FORMAT} ${hashOf(line)}`;
}

export function signedText(line: string, keyId: string, signature: Uint8Array): string {
  const seal = { keyId, algorithm: 'ECDSA_SHA_256', signature: Buffer.from(signature).toString('base64') };
  return `${line}\n${JSON.stringify(seal)}\n`;
}

/**
 * Reads a stored manifest; its signature is not checked.
 *
 * @throws when the text is not that of the batch with this sequence
 */
export function parseManifest(text: string, sequence: number): SignedManifest {
  const [line, seal] = text.split('\n');
  let manifest: Manifest;
  let signature: unknown;
  try {
    manifest = JSON.parse(line);
    ({ signature } = JSON.parse(seal));
  } catch {
    throw new BrokenEvidenceError(`batch ${sequence} is not two lines of JSON`);
  }
  if (manifest.format !== FORMAT || !Array.isArray(manifest.parts) || typeof signature !== 'string') {
    throw new BrokenEvidenceError(`batch ${sequence} is not of the format ${FORMAT}`);
  }
  if (manifest.sequence !== sequence) {
    throw new BrokenEvidenceError(`batch ${manifest.sequence} lies in the place of batch ${sequence}`);
  }
  return { manifest, line, signature: Buffer.from(signature, 'base64') };
}

/** A public key in PEM, as `openssl` and the console write it. */
export function publicKeyFrom(pem: string): KeyObject {
  const key = createPublicKey(pem);
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new Error('the public key must be one on the curve P-256');
  }
  return key;
}

/** Whether one of the keys signed the manifest. */
export function isSignedBy(keys: KeyObject[], { line, signature }: SignedManifest): boolean {
  return keys.some((key) => verify('sha256', Buffer.from(statement(line)), key, signature));
}
