import { readFile } from 'node:fs/promises';
import { ageSince } from './age';

/** What libexec/block-lists writes when the firewall has taken the lists. */
export const BLOCK_LISTS = '/var/lib/mail-block-lists/state.json';

/** Age of the oldest block list in use, seconds; without any, the time since the machine was started. */
export const blockListAge = (path: string, now: number = Date.now()): Promise<number> =>
  ageSince(async () => {
    const { fetched } = JSON.parse(await readFile(path, 'utf8')) as { fetched?: unknown };
    if (typeof fetched !== 'number') throw new Error(`${path} does not say when lists were fetched`);
    return fetched * 1000;
  }, now);
