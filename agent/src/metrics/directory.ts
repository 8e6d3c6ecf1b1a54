import { readFile } from 'node:fs/promises';
import { ageSince } from './age';

/** Where libexec/directory/sync writes when the directory last said what users there are, seconds since 1970. */
export const DIRECTORY_SEEN = '/etc/dovecot/directory-seen';

/** Seconds since the directory last said what users there are; where it never has, since the machine was started. */
export const directoryAge = (path: string, now: number = Date.now()): Promise<number> =>
  ageSince(async () => {
    const text = await readFile(path, 'utf8');
    if (!/^\d+\n$/.test(text)) throw new Error(`${path} does not say when the directory answered`);
    return Number(text) * 1000;
  }, now);
