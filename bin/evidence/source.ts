import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Entry } from '../../handlers/evidence/chain/entry';
import { sequenceOf } from '../../handlers/evidence/chain/manifest';
import { sha256 } from '../../handlers/evidence/chain/merkle';
import { BucketSource, EvidenceSource } from '../../handlers/evidence/evidence-source';
import { PackedMessages } from '../../handlers/packs/packed-messages';

/**
 * How journal objects are looked at: read whole, by the checksum that S3 keeps of what was uploaded, or not at all.
 * `checksum` finds what is missing or was replaced, for a fraction of a cent per thousand; only `read` needs to believe
 * nobody.
 */
export type ObjectCheck = 'read' | 'checksum' | 'none';

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

/** Files as `aws s3 sync s3://bucket folder` copies them. Of an object it has the latest version only. */
class FolderSource implements EvidenceSource {
  private readonly packed = new PackedMessages(this);

  constructor(private readonly root: string) {}

  public read(key: string): Promise<Buffer | undefined> {
    return readFile(join(this.root, key)).catch(missing);
  }

  public async children(folder: string): Promise<string[]> {
    const entries = (await readdir(join(this.root, folder), { withFileTypes: true }).catch(missing)) ?? [];
    return entries.map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`).sort();
  }

  public async part(key: string, offset: number, size: number): Promise<Buffer | undefined> {
    const file = await open(join(this.root, key)).catch(missing);
    if (!file) return undefined;
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, offset);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  public async digestOf({ key, versionId }: Entry): Promise<string | undefined> {
    const single = await this.digestOfFile(key);
    if (single !== undefined) return single;
    const message = await this.packed.find(key, versionId);
    const content = message && (await this.packed.read(message));
    return content && sha256(content).toString('hex');
  }

  private async digestOfFile(key: string): Promise<string | undefined> {
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
