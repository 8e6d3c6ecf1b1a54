import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';

const DAY = 86_400_000;

/** Days until the first certificate of a PEM file expires; negative when it has. @throws when there is none. */
export const certificateDaysLeft = async (path: string, now: number = Date.now()): Promise<number> => {
  // X509Certificate reads the first of several, which is the server's own (RFC 8446, 4.4.2).
  const certificate = new X509Certificate(await readFile(path));
  return (Date.parse(certificate.validTo) - now) / DAY;
};
