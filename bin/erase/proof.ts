import { createHash, KeyObject, verify } from 'node:crypto';
import { KMSClient, SignCommand } from '@aws-sdk/client-kms';
import type { HoldingBackups } from './backups';
import type { KeysErasure } from './destroy-keys';
import type { JournalErasure } from './erase-journal';

const FORMAT = 'cdk-mail-platform/erasure/1';

/** What a node said of itself and the store (libexec/erase --report). */
export interface NodeReport {
  readonly node: string;
  readonly subject: string;
  readonly at: string;
  readonly clean: boolean;
  readonly [more: string]: unknown;
}

/** What was erased, and what was not. Names nobody: who has the address can tell whom it is about. */
export interface Erased {
  /** SHA-256 of the address in lower case, hexadecimal. */
  readonly subject: string;
  /** When the mark was set, when mail was to be deleted, when the journal was gone through; ISO 8601. */
  readonly since: string;
  readonly due: string;
  readonly at: string;
  readonly nodes: readonly NodeReport[];
  readonly journals: readonly JournalErasure[];
  /** Keys of a sealed journal; nothing when nobody named their bucket, or a legal hold kept them. */
  readonly keys?: KeysErasure;
  /** Whether nothing is left that is the person's alone and can be read, but in backups. */
  readonly complete: boolean;
  /** When all was to be gone, ISO 8601, and whether it was. */
  readonly deadline: string;
  readonly inTime: boolean;
  /** What expires by age; nothing of vaults that nobody named. */
  readonly backups: readonly HoldingBackups[];
}

/** Two lines of JSON: what is signed, and its signature by a KMS key of the kind ECC_NIST_P256. */
export async function sign(kms: KMSClient, keyId: string, erased: Erased): Promise<string> {
  const line = JSON.stringify({ format: FORMAT, ...erased });
  const { Signature, KeyId } = await kms.send(
    new SignCommand({
      KeyId: keyId,
      Message: Buffer.from(statement(line)),
      MessageType: 'RAW',
      SigningAlgorithm: 'ECDSA_SHA_256',
    }),
  );
  const signature = Buffer.from(Signature!).toString('base64');
  return `${line}\n${JSON.stringify({ keyId: KeyId, algorithm: 'ECDSA_SHA_256', signature })}\n`;
}

/** @throws when the text is no such document, or none of the keys signed it */
export function readProof(text: string, keys: KeyObject[]): Erased {
  const [line, seal] = text.split('\n');
  let signature: string;
  let erased: Erased & { readonly format: string };
  try {
    erased = JSON.parse(line);
    ({ signature } = JSON.parse(seal));
  } catch {
    throw new Error('it is not two lines of JSON');
  }
  if (erased.format !== FORMAT || typeof signature !== 'string') throw new Error(`it is not of the format ${FORMAT}`);
  const [message, bytes] = [Buffer.from(statement(line)), Buffer.from(signature, 'base64')];
  if (!keys.some((key) => verify('sha256', message, key, bytes))) throw new Error('it has a wrong signature');
  return erased;
}

/** Short, because KMS takes at most 4096 bytes, and a text that nothing else would be signed as. */
function statement(line: string): string {
  return `${FORMAT} ${createHash('sha256').update(line).digest('hex')}`;
}
