import { EvidenceReader } from '../evidence/chain/head';
import { parseIndex } from './pack-index';
import { indexKey, parsePackName } from './pack-names';

/**
 * Packs of a day that no index names, so that nothing in them counts: one is being made, or its run was killed.
 *
 * @param listed names of the day, all of them, indexes too; other keys are passed over
 */
export async function unnamed<T extends { readonly key: string }>(reader: EvidenceReader, listed: T[]): Promise<T[]> {
  const indexes = new Set(listed.map(({ key }) => key));
  const packsOf = new Map<string, T[]>();
  for (const one of listed) {
    const name = parsePackName(one.key);
    if (!name || name.isIndex) continue;
    const index = indexKey(name.day, name.number, name.generation);
    packsOf.set(index, [...(packsOf.get(index) ?? []), one]);
  }
  const found: T[] = [];
  for (const [index, packs] of packsOf) {
    if (!indexes.has(index)) {
      found.push(...packs);
    } else if (packs.length > 1) {
      const { pack } = parseIndex(index, (await reader.read(index))?.toString() ?? '');
      found.push(...packs.filter(({ key }) => key !== pack));
    }
  }
  return found;
}
