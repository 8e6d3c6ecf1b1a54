import { readFile } from 'node:fs/promises';
import { uptime } from 'node:os';

/** Where libexec/directory/sync writes when the directory last said what users there are, seconds since 1970. */
export const DIRECTORY_SEEN = '/etc/dovecot/directory-seen';

/** Seconds since the directory last said what users there are; where it never has, since the machine was started. */
export const directoryAge = async (path: string, now: number = Date.now()): Promise<number> => {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return uptime();
  }
  if (!/^\d+\n$/.test(text)) throw new Error(`${path} does not say when the directory answered`);
  return Math.max(0, now / 1000 - Number(text));
};
