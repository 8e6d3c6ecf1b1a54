/** Folder of packs and of what tells what is in them. */
export const PACKS = 'packs/';
/** Folder of marks of days that are not looked at any more. */
const DONE = `${PACKS}done/`;

const NAME = /^packs\/(\d{4}\/\d{2}\/\d{2})\/(\d{6})-(\d{3})(?:\.jsonl|-[0-9a-f]{16}\.zst)$/;

/** What the name of a pack, or of the index of one, says. */
export interface PackName {
  readonly key: string;
  /** Day (UTC) in which its messages were accepted, `YYYY/MM/DD`. */
  readonly day: string;
  /** From 1 on, in the order in which the packs of a day were made. */
  readonly number: number;
  /** From 0 on; a pack that is written anew without some of its messages has one more, and the highest counts. */
  readonly generation: number;
  readonly isIndex: boolean;
}

/** @returns nothing when the key is none of these names */
export function parsePackName(key: string): PackName | undefined {
  const [, day, number, generation] = NAME.exec(key) ?? [];
  return day === undefined
    ? undefined
    : { key, day, number: Number(number), generation: Number(generation), isIndex: key.endsWith('.jsonl') };
}

/** @param token 16 hexadecimal digits of the run's own: so no run takes for its own what another one left */
export function packKey(day: string, number: number, generation: number, token: string): string {
  return `${stem(day, number, generation)}-${token}.zst`;
}

/** One name for each number and generation: of two runs that write it at once, one gets it. */
export function indexKey(day: string, number: number, generation: number): string {
  return `${stem(day, number, generation)}.jsonl`;
}

export function doneKey(day: string): string {
  return `${DONE}${day.replace(/\//g, '-')}`;
}

/** Folder of a day's packs. */
export function packsOfDay(day: string): string {
  return `${PACKS}${day}/`;
}

/** The day of a key of the journal or of a pack, `YYYY/MM/DD`; nothing for other keys. */
export function dayOf(key: string): string | undefined {
  return /^[a-z]+\/(\d{4}\/\d{2}\/\d{2})\//.exec(key)?.[1];
}

/** The indexes that count: of each number the highest generation, in the order of the numbers. */
export function currentIndexes(keys: Iterable<string>): PackName[] {
  const current = new Map<number, PackName>();
  for (const key of keys) {
    const name = parsePackName(key);
    if (name?.isIndex && name.generation >= (current.get(name.number)?.generation ?? 0)) {
      current.set(name.number, name);
    }
  }
  return [...current.values()].sort((a, b) => a.number - b.number);
}

function stem(day: string, number: number, generation: number): string {
  return `${packsOfDay(day)}${`${number}`.padStart(6, '0')}-${`${generation}`.padStart(3, '0')}`;
}
