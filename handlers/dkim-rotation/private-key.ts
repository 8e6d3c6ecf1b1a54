import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { DKIM_BITS, dkimText } from '../../lib/dns/dkim-text';
import { SigningKey } from './dkim-secret';

/** A new RSA key, PKCS #8 in PEM, as OpenDKIM, rspamd and SES take it. */
export function newPrivateKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: DKIM_BITS });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** The text of the selector that verifies what the key signs. */
export function publishedText(key: SigningKey): string {
  return dkimText(createPublicKey(key.privateKey));
}
