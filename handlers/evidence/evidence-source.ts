import { S3Client } from '@aws-sdk/client-s3';
import { PackedMessage, PackedMessages, PackSource } from '../packs/packed-messages';
import { isOwnS3 } from '../support/s3-endpoint';
import { Entry } from './chain/entry';
import { sha256 } from './chain/merkle';
import { JournalBucket, UnreadableError } from './journal-bucket';

/** The journal and its evidence: the bucket, or a folder with a copy of it. */
export interface EvidenceSource extends PackSource {
  /**
   * SHA-256 of the version, hexadecimal, whether it is an object or in a pack; nothing when it is not there. By
   * `checksum`, of one in a pack, what the index says, when S3's checksum of the pack is the one that the index has.
   */
  digestOf(entry: Entry, check: 'read' | 'checksum'): Promise<string | undefined>;
}

/** The bucket. */
export class BucketSource implements EvidenceSource {
  private readonly bucket: JournalBucket;
  private readonly packed = new PackedMessages(this);
  /** The pack that was looked at last, and its checksum. */
  private pack?: { readonly key: string; readonly sha256: Promise<string | undefined> };

  constructor(name: string, client = new S3Client({ forcePathStyle: isOwnS3(), maxAttempts: 6 })) {
    this.bucket = new JournalBucket(client, name);
  }

  public get name(): string {
    return this.bucket.name;
  }

  /** The time by S3's clock, as of its latest answer. */
  public get now(): Date {
    return this.bucket.now;
  }

  public read(key: string): Promise<Buffer | undefined> {
    return this.bucket.read(key);
  }

  public children(folder: string): Promise<string[]> {
    return this.bucket.children(folder);
  }

  public part(key: string, offset: number, size: number): Promise<Buffer | undefined> {
    return this.bucket.part(key, offset, size);
  }

  public async digestOf(entry: Entry, check: 'read' | 'checksum'): Promise<string | undefined> {
    const single = await unlessMissing(
      check === 'read' ? this.bucket.contentDigestOf(entry) : this.bucket.digestOf(entry),
    );
    return single ?? (await this.digestInPack(entry, check));
  }

  private async digestInPack(entry: Entry, check: 'read' | 'checksum'): Promise<string | undefined> {
    const message = await this.packed.find(entry.key, entry.versionId);
    if (!message) return undefined;
    const digest = await this.digestOfPacked(message, check);
    if (digest !== undefined) return digest;
    // Its pack was written anew meanwhile, or is not there.
    const moved = await this.packed.findAnew(entry.key, entry.versionId);
    return moved && moved.pack !== message.pack ? this.digestOfPacked(moved, check) : undefined;
  }

  private async digestOfPacked(message: PackedMessage, check: 'read' | 'checksum'): Promise<string | undefined> {
    if (check === 'read') {
      const content = await this.packed.read(message);
      return content && sha256(content).toString('hex');
    }
    const { pack } = message;
    if (this.pack?.key !== pack) {
      this.pack = { key: pack, sha256: unlessMissing(this.bucket.digestOf({ key: pack })) };
    }
    const found = await this.pack.sha256;
    // Otherwise its own: nobody can tell without reading it whether the message is in what is there now.
    return found === message.packSha256 ? message.sha256 : found;
  }
}

/** Nothing when there is no such version; not when it must be brought back from Glacier first. */
async function unlessMissing(digest: Promise<string>): Promise<string | undefined> {
  return digest.catch((error) => {
    if (error instanceof UnreadableError && !error.message.endsWith('InvalidObjectState')) return undefined;
    throw error;
  });
}
