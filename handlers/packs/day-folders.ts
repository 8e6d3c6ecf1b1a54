import { EvidenceReader } from '../evidence/chain/head';
import { dayOf } from './pack-names';

/** Days that have a folder in the journal or among packs, `YYYY/MM/DD`, sorted. */
export async function dayFolders(reader: EvidenceReader, root: 'journal/' | 'packs/'): Promise<string[]> {
  let folders: string[] = [root];
  for (let level = 0; level < 3; level++) {
    const below: string[] = [];
    for (const folder of folders) below.push(...(await reader.children(folder)));
    folders = below.filter((name) => /\/\d+\/$/.test(name));
  }
  return folders.map(dayOf).filter((day) => day !== undefined);
}
