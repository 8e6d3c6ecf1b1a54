import { readFile } from 'node:fs/promises';

/** Where libexec/fetch-client-revocations writes when the first of the revocation lists ends, seconds since 1970. */
export const CLIENT_REVOCATIONS = '/var/lib/mail-client-revocations/ends';

const HOUR = 3_600_000;

/** Hours until the first of the revocation lists ends, negative when it has; 0 while there is none. */
export const revocationHoursLeft = async (path: string, now: number = Date.now()): Promise<number> => {
  const text = await readFile(path, 'utf8');
  if (text === 'none\n') return 0;
  if (!/^\d+\n$/.test(text)) throw new Error(`${path} does not say when revocation lists end`);
  return (Number(text) * 1000 - now) / HOUR;
};
