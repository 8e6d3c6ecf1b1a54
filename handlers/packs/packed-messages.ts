import { EvidenceReader } from '../evidence/chain/head';
import { Member, PackIndex, parseIndex } from './pack-index';
import { currentIndexes, dayOf, packsOfDay } from './pack-names';

/** Indexes that are kept in memory, 100 KB each. */
const KEPT = 16;

/** A bucket, or a folder with a copy of it, that parts of packs can be read of. */
export interface PackSource extends EvidenceReader {
  /** So many bytes of an object, from `offset` on; nothing when it is not there. */
  part(key: string, offset: number, size: number): Promise<Buffer | undefined>;
}

/** A message in a pack, and which one. */
export interface PackedMessage extends Member {
  /** Key of the pack. */
  readonly pack: string;
  /** SHA-256 of all of the pack, hexadecimal. */
  readonly packSha256: string;
}

/** Finds messages in packs. Quick where they are asked for in the order of their keys; one day's packs are known at a time. */
export class PackedMessages {
  private day?: { readonly name: string; readonly ranges: Range[] };
  /** In the order of their last use. */
  private readonly kept = new Map<string, PackIndex>();
  /** Of all indexes that were read of the day `rangesOn`; an index never changes. */
  private readonly ranges = new Map<string, Range | undefined>();
  private rangesOn?: string;

  constructor(private readonly source: PackSource) {}

  /** Messages of a day in packs, index by index. */
  public async *ofDay(day: string): AsyncGenerator<PackedMessage> {
    for (const { key } of currentIndexes(await this.source.children(packsOfDay(day)))) {
      yield* packedIn(await this.index(key));
    }
  }

  /** The message that was this object; of versions the one that is asked for, or any. Nothing when it is in no pack. */
  public async find(key: string, versionId?: string): Promise<PackedMessage | undefined> {
    const known = this.day?.name === dayOf(key);
    for await (const member of this.beginningWith(key)) {
      if (member.key === key && (versionId ?? member.versionId) === member.versionId) return member;
    }
    // It may have been moved into a pack since the day was looked at.
    return known ? this.findAnew(key, versionId) : undefined;
  }

  /** The same, after a new look at the packs of the day. */
  public findAnew(key: string, versionId?: string): Promise<PackedMessage | undefined> {
    this.day = undefined;
    return this.find(key, versionId);
  }

  /** Messages whose keys begin with this, which has their day at least. */
  public async *beginningWith(prefix: string): AsyncGenerator<PackedMessage> {
    const day = dayOf(prefix);
    for (const { key, first, last } of day === undefined ? [] : await this.rangesOf(day)) {
      if (last < prefix || (first > prefix && !first.startsWith(prefix))) continue;
      for (const member of packedIn(await this.index(key))) {
        if (member.key.startsWith(prefix)) yield member;
      }
    }
  }

  /** Nothing when its pack is not there, or ends before it does. */
  public async read({ pack, offset, size }: PackedMessage): Promise<Buffer | undefined> {
    const body = await this.source.part(pack, offset, size);
    return body?.length === size ? body : undefined;
  }

  private async rangesOf(day: string): Promise<Range[]> {
    if (this.day?.name !== day) {
      const names = currentIndexes(await this.source.children(packsOfDay(day)));
      if (this.rangesOn !== day) this.ranges.clear();
      this.rangesOn = day;
      const ranges: Range[] = [];
      for (const { key } of names) {
        if (!this.ranges.has(key)) this.ranges.set(key, rangeOf(key, await this.index(key)));
        const range = this.ranges.get(key);
        if (range) ranges.push(range);
      }
      this.day = { name: day, ranges };
    }
    return this.day.ranges;
  }

  private async index(key: string): Promise<PackIndex> {
    const known = this.kept.get(key);
    this.kept.delete(key);
    const index = known ?? parseIndex(key, (await this.source.read(key))?.toString() ?? '');
    this.kept.set(key, index);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value!);
    return index;
  }
}

/** Where an index begins and ends. */
interface Range {
  readonly key: string;
  readonly first: string;
  readonly last: string;
}

/** Nothing when all of it was erased. */
function rangeOf(key: string, { members }: PackIndex): Range | undefined {
  return members.length === 0 ? undefined : { key, first: members[0].key, last: members.at(-1)!.key };
}

function* packedIn({ pack, sha256: packSha256, members }: PackIndex): Generator<PackedMessage> {
  for (const member of members) yield { ...member, pack: pack!, packSha256 };
}
