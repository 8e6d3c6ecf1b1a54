import {
  DeleteObjectCommand,
  ListObjectVersionsCommand,
  ListObjectVersionsCommandOutput,
  S3Client,
} from '@aws-sdk/client-s3';
import { isOwnS3 } from '../../handlers/support/s3-endpoint';

/** A version of half a key, or the mark of a deletion. */
export interface KeyVersion {
  readonly key: string;
  readonly versionId: string;
}

/** All versions of the keys of a sealed journal, to be destroyed; not to be read. */
export class KeyVersions {
  public readonly bucket: string;

  /**
   * @param location `s3://bucket`
   * @throws when `location` is not such an address
   */
  constructor(
    location: string,
    private readonly client: S3Client = new S3Client({ forcePathStyle: isOwnS3(), maxAttempts: 6 }),
  ) {
    const bucket = /^s3:\/\/([a-z0-9][a-z0-9.-]+)\/?$/.exec(location)?.[1];
    if (!bucket) throw new Error(`--keys must be an address such as s3://bucket, got ${location}`);
    this.bucket = bucket;
  }

  /** Of the key of an address, the public half first: what is to be destroyed seals nothing any more. */
  public async of(tag: string): Promise<KeyVersion[]> {
    return [...(await this.below(`public/${tag}`)), ...(await this.below(`private/${tag}/`))];
  }

  /** Whether something is left that opens what is sealed for an address. */
  public async isThere(tag: string): Promise<boolean> {
    return (await this.below(`private/${tag}/`)).length > 0;
  }

  /** @returns false when S3 refuses it */
  public async delete({ key, versionId }: KeyVersion): Promise<boolean> {
    try {
      await this.client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: key, VersionId: versionId }));
      return true;
    } catch (error) {
      if ((error as Error).name === 'AccessDenied') return false;
      throw this.explain(error);
    }
  }

  private async below(Prefix: string): Promise<KeyVersion[]> {
    const found: KeyVersion[] = [];
    let page: ListObjectVersionsCommandOutput | undefined;
    do {
      const { NextKeyMarker: KeyMarker, NextVersionIdMarker: VersionIdMarker } = page ?? {};
      try {
        page = await this.client.send(
          new ListObjectVersionsCommand({ Bucket: this.bucket, Prefix, KeyMarker, VersionIdMarker }),
        );
      } catch (error) {
        throw this.explain(error);
      }
      for (const { Key, VersionId } of [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])]) {
        found.push({ key: Key!, versionId: VersionId! });
      }
    } while (page.IsTruncated);
    return found;
  }

  private explain(error: unknown): Error {
    const { name, message } = error as Error;
    return ['AccessDenied', 'Forbidden', '403'].includes(name)
      ? new Error(`no permission for s3://${this.bucket}; it takes s3:ListBucketVersions and s3:DeleteObjectVersion`)
      : new Error(`s3://${this.bucket}: ${name}: ${message}`);
  }
}
