import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';

/** PBKDF2 rounds of new verifiers (requirement C1: 100 000 or more). */
export const ITERATIONS = 100_000;

/** How a verifier is made; both are for tests with published vectors. */
export interface ScramOptions {
  /** @default ITERATIONS */
  readonly iterations?: number;
  /** @default - 16 random bytes */
  readonly salt?: Buffer;
}

/**
 * What a server stores to check a password by SCRAM-SHA-256 and PLAIN, in Dovecot's notation:
 * `{SCRAM-SHA-256}iterations,salt,storedKey,serverKey`. It can not be used to log in.
 *
 * @throws when the password can not be prepared, see `preparePassword`
 * @see https://www.rfc-editor.org/rfc/rfc5802#section-3 and https://www.rfc-editor.org/rfc/rfc7677
 */
export function scramVerifier(password: string, options: ScramOptions = {}): string {
  const iterations = options.iterations ?? ITERATIONS;
  const salt = options.salt ?? randomBytes(16);
  const saltedPassword = pbkdf2Sync(preparePassword(password), salt, iterations, 32, 'sha256');
  const clientKey = createHmac('sha256', saltedPassword).update('Client Key').digest();
  const storedKey = createHash('sha256').update(clientKey).digest();
  const serverKey = createHmac('sha256', saltedPassword).update('Server Key').digest();
  return `{SCRAM-SHA-256}${[iterations, ...[salt, storedKey, serverKey].map((part) => part.toString('base64'))].join(',')}`;
}

/**
 * A password in the one form that every client sends (SASLprep, RFC 4013, made stricter).
 *
 * SCRAM clients send NFKC, PLAIN clients send what was typed. So a password whose NFKC form differs from its NFC form
 * (ligatures, full-width letters, no-break spaces) would work in one client and not in the next: it is refused.
 *
 * @throws with a reason that can be shown to the person who chose the password; it does not repeat the password
 */
export function preparePassword(password: string): string {
  if (password === '') {
    throw new Error('password must not be empty');
  }
  if (/\p{C}/u.test(password)) {
    throw new Error('password must not hold control or invisible characters');
  }
  const prepared = password.normalize('NFKC');
  if (prepared !== password.normalize('NFC')) {
    throw new Error('password must not hold characters that clients write in different ways (ligatures, wide letters)');
  }
  if (Buffer.byteLength(prepared) > 1024) {
    throw new Error('password must be at most 1024 bytes');
  }
  return prepared;
}
