import { readFile } from 'node:fs/promises';
import { uptime } from 'node:os';

/** What libexec/block-lists writes when the firewall has taken the lists. */
export const BLOCK_LISTS = '/var/lib/mail-block-lists/state.json';

/**
 * Age of the oldest block list in use, seconds. Without any it is the time since the machine was started, so that one which
 * never gets a list becomes conspicuous like one whose list is old.
 */
export const blockListAge = async (path: string, now: number = Date.now()): Promise<number> => {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return uptime();
  }
  const { fetched } = JSON.parse(text) as { fetched?: unknown };
  if (typeof fetched !== 'number') throw new Error(`${path} does not say when lists were fetched`);
  return Math.max(0, now / 1000 - fetched);
};
