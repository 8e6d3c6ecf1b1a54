import {
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  KeyObject,
  timingSafeEqual,
} from 'node:crypto';

// Reads what Debian's `age` writes for X25519 recipients (https://c2sp.org/age). Only to read: what this could not, the program could.

const VERSION = 'age-encryption.org/v1';
const CHUNK = 64 << 10;
const TAG = 16;
const BECH32 = 'QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L';
/** What stands before the 32 bytes of a key of X25519 (RFC 8410). */
const PRIVATE = Buffer.from('302e020100300506032b656e04220420', 'hex');
const PUBLIC = Buffer.from('302a300506032b656e032100', 'hex');

/** The private half of a key. */
export interface Identity {
  readonly key: KeyObject;
  readonly recipient: Buffer;
}

/** Whether it is encrypted by age. */
export function isSealed(body: Buffer): boolean {
  return body.toString('latin1', 0, VERSION.length + 1) === `${VERSION}\n`;
}

/** @param text of a file as `age-keygen` writes it @throws Error when it has no key */
export function parseIdentity(text: string): Identity {
  const [, digits] = /^AGE-SECRET-KEY-1([QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58})$/m.exec(text) ?? [];
  if (digits === undefined) throw new Error('it is no identity of age');
  // 52 digits of 5 bits; the last 6 are a checksum, and a wrong key opens nothing.
  const number = [...digits.slice(0, 52)].reduce((sum, digit) => (sum << 5n) + BigInt(BECH32.indexOf(digit)), 0n) >> 4n;
  const raw = Buffer.from(number.toString(16).padStart(64, '0'), 'hex');
  const key = createPrivateKey({ key: Buffer.concat([PRIVATE, raw]), format: 'der', type: 'pkcs8' });
  const recipient = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(PUBLIC.length);
  return { key, recipient };
}

/**
 * Opens a sealed body.
 *
 * @returns nothing when the key is none of those that open it
 * @throws Error when it is not whole, or is no such body
 */
export function unseal(body: Buffer, identity: Identity): Buffer | undefined {
  const end = body.indexOf('\n--- ');
  const line = body.indexOf('\n', end + 5);
  if (!isSealed(body) || end < 0 || line < 0) throw new Error('its header is not whole');
  const fileKey = fileKeyOf(body.toString('latin1', 0, end + 1), identity);
  if (!fileKey) return undefined;
  const mac = createHmac('sha256', derive(fileKey, Buffer.alloc(0), 'header'))
    .update(body.subarray(0, end + 4))
    .digest();
  const given = Buffer.from(body.toString('latin1', end + 5, line), 'base64');
  if (given.length !== mac.length || !timingSafeEqual(given, mac)) throw new Error('its header was changed');
  return readPayload(body.subarray(line + 1), fileKey);
}

function fileKeyOf(header: string, { key, recipient }: Identity): Buffer | undefined {
  for (const [, share64, body64] of header.matchAll(/^-> X25519 ([A-Za-z0-9+/]{43})\n([A-Za-z0-9+/]{43})$/gm)) {
    const [share, body] = [share64, body64].map((text) => Buffer.from(text, 'base64'));
    const publicKey = createPublicKey({ key: Buffer.concat([PUBLIC, share]), format: 'der', type: 'spki' });
    const secret = diffieHellman({ privateKey: key, publicKey });
    const wrapped = derive(secret, Buffer.concat([share, recipient]), `${VERSION}/X25519`);
    const fileKey = open(wrapped, Buffer.alloc(12), body);
    if (fileKey) return fileKey;
  }
  return undefined;
}

/** Chunks with a number each, the last of which says that it is it (STREAM). */
function readPayload(payload: Buffer, fileKey: Buffer): Buffer {
  const key = derive(fileKey, payload.subarray(0, 16), 'payload');
  const chunks: Buffer[] = [];
  const nonce = Buffer.alloc(12);
  for (let at = 16, isLast = false; !isLast; at += CHUNK + TAG) {
    isLast = at + CHUNK + TAG >= payload.length;
    nonce.writeUInt32BE(chunks.length, 7);
    nonce[11] = isLast ? 1 : 0;
    const chunk = open(key, nonce, payload.subarray(at, at + CHUNK + TAG));
    if (!chunk) throw new Error('it is cut off or was changed');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function derive(secret: Buffer, salt: Buffer, info: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, info, 32));
}

/** ChaCha20-Poly1305; nothing when it is not what was encrypted with the key. */
function open(key: Buffer, nonce: Buffer, sealed: Buffer): Buffer | undefined {
  if (sealed.length < TAG) return undefined;
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG });
  decipher.setAuthTag(sealed.subarray(-TAG));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, -TAG)), decipher.final()]);
  } catch {
    return undefined;
  }
}
