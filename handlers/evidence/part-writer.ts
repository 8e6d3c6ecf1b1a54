import { Entry, entryLine, hourOf, Part, partKey } from './chain/entry';
import { leafHash, MerkleTree, sha256 } from './chain/merkle';
import { JournalBucket } from './journal-bucket';

/** S3 moves smaller objects to no colder class by lifecycle (128 KB), so evidence can be read at once for ever. */
const PART_BYTES = 96 * 1024;

/** Writes the entries of a batch to parts, one hour to a part, and keeps the tree over them. */
export class PartWriter {
  public readonly parts: Part[] = [];
  public readonly tree = new MerkleTree();
  private lines: string[] = [];
  private bytes = 0;
  private hour?: string;

  constructor(
    private readonly bucket: JournalBucket,
    private readonly sequence: number,
  ) {}

  public async add(entry: Entry): Promise<void> {
    const line = entryLine(entry);
    const hour = hourOf(entry.key);
    if (hour !== this.hour || this.bytes + line.length + 1 > PART_BYTES) {
      await this.flush();
      this.hour = hour;
    }
    this.lines.push(line);
    this.bytes += line.length + 1;
    this.tree.add(leafHash(line));
  }

  /** Writes what is not written yet. */
  public async flush(): Promise<void> {
    if (this.lines.length === 0) {
      return;
    }
    const content = this.lines.map((line) => `${line}\n`).join('');
    const key = partKey(this.hour!, this.sequence, this.parts.length, content);
    // One that is there already is the same: its name has the digest.
    await this.bucket.putOnce(key, content);
    this.parts.push({ key, sha256: sha256(content).toString('hex'), count: this.lines.length });
    this.lines = [];
    this.bytes = 0;
  }
}
