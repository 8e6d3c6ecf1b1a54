import { BrokenEvidenceError, Entry, hourOf } from '../evidence/chain/entry';

const FORMAT = 'cdk-mail-platform/pack/1';

/** A message in a pack: what evidence says of the object that it was, byte for byte, and where it is. */
export interface Member extends Entry {
  /** Where it begins in the pack, bytes; it has `size`. */
  readonly offset: number;
  /** As the object had it. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** What an index says of its pack. */
export interface PackFacts {
  /** Key of the pack; nothing when all that was in it was erased. */
  readonly pack: string | null;
  /** SHA-256 of the pack, hexadecimal. */
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
  /** Messages. */
  readonly count: number;
}

/** An index whole: a line of JSON about the pack, and one for each message, in the order of the pack. */
export interface PackIndex extends PackFacts {
  readonly members: Member[];
}

export function memberLine({ key, versionId, size, sha256, lastModified, offset, metadata }: Member): string {
  return JSON.stringify({ key, versionId, size, sha256, lastModified, offset, metadata });
}

export function indexText({ pack, sha256, size, count }: PackFacts, lines: string[]): string {
  return [JSON.stringify({ format: FORMAT, pack, sha256, size, count }), ...lines].map((line) => `${line}\n`).join('');
}

/** @throws BrokenEvidenceError when it is no index, or not whole */
export function parseIndex(key: string, text: string): PackIndex {
  try {
    const [first, ...lines] = text.split('\n').slice(0, -1);
    const { format, ...facts } = JSON.parse(first) as PackFacts & { readonly format: string };
    const members = lines.map((line) => JSON.parse(line) as Member);
    const isWhole = format === FORMAT && facts.count === members.length && endOf(members) === facts.size;
    if (isWhole && members.every((member) => hourOf(member.key) !== undefined)) {
      return { ...facts, members };
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new BrokenEvidenceError(`${key} is no index of a pack, or not whole`);
}

/** Bytes of a pack whose messages lie one after the other; -1 when they don't. */
function endOf(members: Member[]): number {
  return members.reduce((end, { offset, size }) => (offset === end ? end + size : -1), 0);
}
