import { sha256 } from '../evidence/chain/merkle';
import { Entry } from '../evidence/chain/entry';
import { indexText, Member, memberLine } from './pack-index';
import { indexKey, packKey } from './pack-names';

/** Bytes of a pack. */
const PACK_BYTES = 8 << 20;
/** Bytes of an index: S3 moves objects under 128 KB to no colder class, so that indexes can be read at once for ever. */
const INDEX_BYTES = 96 << 10;

/** A message as S3 gave it. */
export interface StoredMessage {
  readonly entry: Entry;
  readonly metadata: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** A pack and its index, ready to be stored. */
export interface Pack {
  readonly key: string;
  readonly body: Buffer;
  readonly index: { readonly key: string; readonly text: string };
  readonly members: Member[];
}

/** Puts messages one after the other. Each is a zstd frame of its own, and so is what they make together: `zstd -d` reads it. */
export class PackBuilder {
  private readonly bodies: Buffer[] = [];
  private readonly members: Member[] = [];
  private readonly lines: string[] = [];
  private size = 0;
  private indexSize = 256; // its first line

  /** Bytes until now. */
  public get bytes(): number {
    return this.size;
  }

  /** Whether the next message belongs into the next pack. */
  public get isFull(): boolean {
    return this.size >= PACK_BYTES || this.indexSize >= INDEX_BYTES;
  }

  public add({ entry, metadata, body }: StoredMessage): void {
    const member = { ...entry, offset: this.size, metadata };
    const line = memberLine(member);
    this.bodies.push(body);
    this.members.push(member);
    this.lines.push(line);
    this.size += body.length;
    this.indexSize += line.length + 1;
  }

  /** @param token see `packKey` */
  public build(day: string, number: number, generation: number, token: string): Pack {
    const body = Buffer.concat(this.bodies, this.size);
    const key = packKey(day, number, generation, token);
    const count = this.members.length;
    const facts = {
      pack: count === 0 ? null : key,
      sha256: sha256(body).toString('hex'),
      size: this.size,
      count,
    };
    return {
      key,
      body,
      index: { key: indexKey(day, number, generation), text: indexText(facts, this.lines) },
      members: this.members,
    };
  }
}
