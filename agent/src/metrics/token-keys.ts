import { stat } from 'node:fs/promises';
import { ageSince } from './age';

/** What libexec/fetch-token-keys touches when it has the provider's keys. */
export const TOKEN_KEYS = '/var/lib/mail-token-keys/.fetched';

/** Seconds since the keys of tokens were fetched; where that has never succeeded, since the machine was started. */
export const tokenKeysAge = (path: string, now: number = Date.now()): Promise<number> =>
  ageSince(async () => (await stat(path)).mtimeMs, now);
