import { createPublicKey, KeyObject } from 'node:crypto';

/**
 * The two selectors. One signs, the other stands for mail in transit that the key before signed, and is revoked when
 * there is none any more. The next rotation gives it a new key.
 */
export const DKIM_SELECTORS = ['mail1', 'mail2'];

/** Shortest key that is good, bits (RFC 8301, 3.2 wants 2048 of signers). */
export const DKIM_BITS = 2048;

/** A selector whose key is revoked (RFC 6376, 3.6.1). */
export const DKIM_REVOKED = 'v=DKIM1; p=';

/** Name of a selector below a domain or a host name. */
export function selectorName(selector: string, below: string): string {
  return `${selector}._domainkey.${below}`;
}

/** The text that publishes a public key (RFC 6376, 3.6.1). */
export function dkimText(publicKey: KeyObject): string {
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return `v=DKIM1; k=rsa; p=${der.toString('base64')}`;
}

/**
 * The public key in a selector's text; nothing when it is revoked.
 *
 * @throws when the text is none of a key that verifiers take
 */
export function publicKeyOf(text: string): KeyObject | undefined {
  const { v, k, p } = tagsOf(text);
  if (v !== undefined && v !== 'DKIM1') {
    throw new Error(`v must be DKIM1, got ${v}`);
  }
  if (k !== undefined && k !== 'rsa') {
    throw new Error(`k must be rsa, got ${k}`);
  }
  if (p === undefined) {
    throw new Error('it has no p');
  }
  if (p === '') {
    return undefined;
  }
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(p, 'base64'), format: 'der', type: 'spki' });
  } catch {
    throw new Error('p is no public key; cut off at 255 bytes, or pasted in part?');
  }
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (bits < DKIM_BITS) {
    throw new Error(`the key must have ${DKIM_BITS} bits or more, got ${bits}`);
  }
  return key;
}

/** Tags of a `tag=value; …` text, as DKIM, DMARC, MTA-STS and TLS-RPT records have them; blanks in values go. */
export function tagsOf(text: string): { readonly [tag: string]: string | undefined } {
  const tags = text.split(';').map((part) => /^\s*([A-Za-z0-9_]+)\s*=([\s\S]*)$/.exec(part));
  return Object.fromEntries(
    tags.filter((tag) => tag !== null).map(([, name, value]) => [name, value.replace(/\s/g, '')]),
  );
}
