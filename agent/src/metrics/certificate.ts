import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';

const DAY = 86_400_000;

/** What libexec/render writes: the authorities whose certificates mail clients need. */
export const CLIENT_AUTHORITIES = '/etc/mail-platform/client-ca.pem';

/** Days until the first certificate of a PEM file expires; negative when it has. @throws when there is none. */
export const certificateDaysLeft = async (path: string, now: number = Date.now()): Promise<number> => {
  // X509Certificate reads the first of several, which is the server's own (RFC 8446, 4.4.2).
  const certificate = new X509Certificate(await readFile(path));
  return (Date.parse(certificate.validTo) - now) / DAY;
};

/** Days until the one of a PEM file's certificates expires that does so first; negative when it has. @throws when there is none. */
export const soonestDaysLeft = async (path: string, now: number = Date.now()): Promise<number> => {
  const text = await readFile(path, 'utf8');
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (!blocks) throw new Error(`${path} has no certificate`);
  return Math.min(...blocks.map((block) => (Date.parse(new X509Certificate(block).validTo) - now) / DAY));
};
