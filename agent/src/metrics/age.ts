import { uptime } from 'node:os';

/**
 * Seconds since a time that a file tells. Where there is no such file, since the machine was started: what has never happened
 * becomes conspicuous like what was long ago.
 *
 * @param read milliseconds since 1970; throws as node:fs does when there is no file
 * @param now milliseconds since 1970
 */
export const ageSince = async (read: () => Promise<number>, now: number): Promise<number> => {
  try {
    return Math.max(0, (now - (await read())) / 1000);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return uptime();
  }
};
