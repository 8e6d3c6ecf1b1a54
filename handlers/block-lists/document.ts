import { createHash, createPublicKey, verify } from 'node:crypto';
import { KMSClient, SignCommand } from '@aws-sdk/client-kms';

const FORMAT = 'cdk-mail-platform/block-lists/1';

/** A list as nodes are given it. */
export interface CheckedList {
  readonly name: string;
  /** When it was fetched and found good, or first asked for if that has never been; seconds since 1970. */
  readonly fetched: number;
  /** In CIDR notation. */
  readonly networks: string[];
}

/** All lists together. Nodes take no document that was made before the one that they have. */
export interface BlockDocument {
  /** Seconds since 1970. */
  readonly made: number;
  readonly lists: CheckedList[];
}

/** What is signed: short, because KMS takes at most 4096 bytes, and a text that nothing else would be signed as. */
function statement(line: string): Buffer {
  return Buffer.from(`${FORMAT} ${createHash('sha256').update(line).digest('hex')}`);
}

/** The document as it is stored: a line of JSON, and a line of JSON with its signature (ECDSA over P-256 with SHA-256). */
export async function signDocument(kms: KMSClient, keyId: string, document: BlockDocument): Promise<string> {
  const line = JSON.stringify({ format: FORMAT, ...document });
  const { Signature } = await kms.send(
    new SignCommand({
      KeyId: keyId,
      Message: statement(line),
      MessageType: 'RAW',
      SigningAlgorithm: 'ECDSA_SHA_256',
    }),
  );
  const seal = { algorithm: 'ECDSA_SHA_256', signature: Buffer.from(Signature!).toString('base64') };
  return `${line}\n${JSON.stringify(seal)}\n`;
}

/**
 * Reads a stored document.
 *
 * @param publicKey SubjectPublicKeyInfo in DER, base64
 * @throws when it is none, or not signed by this key
 */
export function openDocument(text: string, publicKey: string): BlockDocument {
  const [line, seal] = text.split('\n');
  const key = createPublicKey({ key: Buffer.from(publicKey, 'base64'), format: 'der', type: 'spki' });
  const { signature } = JSON.parse(seal ?? '{}') as { signature?: string };
  if (!verify('sha256', statement(line), key, Buffer.from(signature ?? '', 'base64'))) {
    throw new Error('its signature is not by our key');
  }
  return JSON.parse(line);
}
