import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { S3Client } from '@aws-sdk/client-s3';
import { Entry } from '../../handlers/evidence/chain/entry';
import { EvidenceReader } from '../../handlers/evidence/chain/head';
import { sequenceOf } from '../../handlers/evidence/chain/manifest';
import { JournalBucket, UnreadableError } from '../../handlers/evidence/journal-bucket';
import { isOwnS3 } from '../../handlers/support/s3-endpoint';

/**
 * How journal objects are looked at: read whole, by the checksum that S3 keeps of what was uploaded, or not at all.
 * `checksum` finds what is missing or was replaced, for a fraction of a cent per thousand; only `read` needs to believe
 * nobody.
 */
export type ObjectCheck = 'read' | 'checksum' | 'none';

/** The journal and its evidence: the bucket, or a folder with a copy of it. */
export interface EvidenceSource extends EvidenceReader {
  /** SHA-256 of the version, hexadecimal; nothing when it is not there. */
  digestOf(entry: Entry, check: 'read' | 'checksum'): Promise<string | undefined>;
}

/** A source, and the batch that its address names. */
export interface Location {
  readonly source: EvidenceSource;
  /** Nothing when the address is the bucket or folder: then the newest batch is meant. */
  readonly sequence?: number;
}

/**
 * @param address `s3://bucket` or a folder; or a manifest in it, such as `s3://bucket/evidence/batches/000/000/012.jsonl`
 * @throws when it is neither
 */
export function locate(address: string): Location {
  const [, root, key] = /^(.*?)\/?(evidence\/batches\/.*)?$/.exec(address)!;
  const sequence = key === undefined ? undefined : sequenceOf(key);
  if (key !== undefined && sequence === undefined) {
    throw new Error(`a manifest has a name such as evidence/batches/000/000/012.jsonl, got ${address}`);
  }
  if (!root.startsWith('s3:')) {
    return { source: new FolderSource(root || '.'), sequence };
  }
  const bucket = /^s3:\/\/([a-z0-9][a-z0-9.-]+)$/.exec(root)?.[1];
  if (!bucket) {
    throw new Error(`a bucket has an address such as s3://bucket, got ${root}`);
  }
  return { source: new BucketSource(bucket), sequence };
}

class BucketSource implements EvidenceSource {
  private readonly bucket: JournalBucket;

  constructor(name: string) {
    this.bucket = new JournalBucket(new S3Client({ forcePathStyle: isOwnS3(), maxAttempts: 6 }), name);
  }

  public read(key: string): Promise<Buffer | undefined> {
    return this.bucket.read(key);
  }

  public children(folder: string): Promise<string[]> {
    return this.bucket.children(folder);
  }

  public async digestOf(entry: Entry, check: 'read' | 'checksum'): Promise<string | undefined> {
    try {
      return await (check === 'read' ? this.bucket.contentDigestOf(entry) : this.bucket.digestOf(entry));
    } catch (error) {
      if (error instanceof UnreadableError && !error.message.endsWith('InvalidObjectState')) {
        return undefined;
      }
      throw error;
    }
  }
}

/** Files as `aws s3 sync s3://bucket folder` copies them. Of an object it has the latest version only. */
class FolderSource implements EvidenceSource {
  constructor(private readonly root: string) {}

  public read(key: string): Promise<Buffer | undefined> {
    return readFile(join(this.root, key)).catch(missing);
  }

  public async children(folder: string): Promise<string[]> {
    const entries = (await readdir(join(this.root, folder), { withFileTypes: true }).catch(missing)) ?? [];
    return entries.map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`).sort();
  }

  public async digestOf({ key }: Entry): Promise<string | undefined> {
    try {
      const hash = createHash('sha256');
      for await (const chunk of createReadStream(join(this.root, key))) {
        hash.update(chunk);
      }
      return hash.digest('hex');
    } catch (error) {
      return missing(error);
    }
  }
}

function missing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
    return undefined;
  }
  throw error;
}
