import { stat } from 'node:fs/promises';
import { uptime } from 'node:os';

/** What libexec/fetch-token-keys touches when it has the provider's keys. */
export const TOKEN_KEYS = '/var/lib/mail-token-keys/.fetched';

/** Seconds since the keys of tokens were fetched; where that has never succeeded, since the machine was started. */
export const tokenKeysAge = async (path: string, now: number = Date.now()): Promise<number> => {
  try {
    const { mtimeMs } = await stat(path);
    return Math.max(0, (now - mtimeMs) / 1000);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return uptime();
  }
};
