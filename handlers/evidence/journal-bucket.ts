import { createHash } from 'node:crypto';
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  ListObjectVersionsCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import type { PackSource } from '../packs/packed-messages';

/** A version of an object in the journal's part of the bucket. */
export interface JournalVersion {
  readonly key: string;
  readonly versionId: string;
  /** Bytes. */
  readonly size: number;
  /** By S3's clock. */
  readonly lastModified: Date;
  /** Whether it is what a read without a version gets. */
  readonly isLatest: boolean;
}

/** Thrown for an object that is there no more, or can't be read in its storage class. */
export class UnreadableError extends Error {}

/** The bucket with the journal and its evidence. */
export class JournalBucket implements PackSource {
  private latestDate?: Date;

  constructor(
    private readonly s3: S3Client,
    public readonly name: string,
  ) {
    s3.middlewareStack.add(
      (next) => async (request) => {
        const result = await next(request);
        const { headers } = result.response as { headers?: { [name: string]: string } };
        this.latestDate = headers?.date ? new Date(headers.date) : this.latestDate;
        return result;
      },
      { step: 'deserialize', name: 'journalBucketClock', override: true },
    );
  }

  /** The time by S3's clock, as of its latest answer. */
  public get now(): Date {
    if (!this.latestDate) {
      throw new Error('S3 has not told the time yet');
    }
    return this.latestDate;
  }

  public async read(key: string): Promise<Buffer | undefined> {
    try {
      const { Body } = await this.s3.send(new GetObjectCommand({ Bucket: this.name, Key: key }));
      return Buffer.from(await Body!.transformToByteArray());
    } catch (error) {
      if (error instanceof S3ServiceException && error.name === 'NoSuchKey') {
        return undefined;
      }
      throw error;
    }
  }

  public async part(key: string, offset: number, size: number): Promise<Buffer | undefined> {
    const Range = `bytes=${offset}-${offset + size - 1}`;
    try {
      const { Body } = await this.s3.send(new GetObjectCommand({ Bucket: this.name, Key: key, Range }));
      return Buffer.from(await Body!.transformToByteArray());
    } catch (error) {
      const name = error instanceof S3ServiceException ? error.name : '';
      // InvalidRange: the object ends before.
      if (['NoSuchKey', 'InvalidRange'].includes(name)) return undefined;
      throw error;
    }
  }

  public async children(folder: string): Promise<string[]> {
    const found: string[] = [];
    let token: string | undefined;
    do {
      const page = await this.s3.send(
        new ListObjectsV2Command({ Bucket: this.name, Prefix: folder, Delimiter: '/', ContinuationToken: token }),
      );
      found.push(...(page.Contents ?? []).map(({ Key }) => Key!), ...(page.CommonPrefixes ?? []).map((p) => p.Prefix!));
      token = page.NextContinuationToken;
    } while (token !== undefined);
    return found.sort();
  }

  /** Versions of all objects below a prefix, sorted by key, those after the key `after` only. */
  public async *versions(prefix: string, after?: string): AsyncGenerator<JournalVersion> {
    let marker: { KeyMarker?: string; VersionIdMarker?: string } | undefined = { KeyMarker: after };
    while (marker) {
      const page: ListPage = await this.s3.send(
        new ListObjectVersionsCommand({ Bucket: this.name, Prefix: prefix, ...marker }),
      );
      for (const { Key, VersionId, Size, LastModified, IsLatest } of page.Versions ?? []) {
        if (after === undefined || Key! > after) {
          yield {
            ...{ key: Key!, versionId: VersionId!, size: Size! },
            ...{ lastModified: LastModified!, isLatest: IsLatest ?? false },
          };
        }
      }
      marker = page.IsTruncated
        ? { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker }
        : undefined;
    }
  }

  /** Objects below a prefix that are there now, sorted by key, those after the key `after`, which need not be there. */
  public async *objects(prefix: string, after: string): AsyncGenerator<Pick<JournalVersion, 'key' | 'lastModified'>> {
    let token: string | undefined;
    do {
      const page: ListObjectsV2CommandOutput = await this.s3.send(
        new ListObjectsV2Command({ Bucket: this.name, Prefix: prefix, StartAfter: after, ContinuationToken: token }),
      );
      for (const { Key, LastModified } of page.Contents ?? []) yield { key: Key!, lastModified: LastModified! };
      token = page.NextContinuationToken;
    } while (token !== undefined);
  }

  /**
   * SHA-256 of a version, hexadecimal: S3's own checksum, or computed from the content where S3 has none.
   *
   * @throws UnreadableError when there is no such version any more, or it is in a class that must be restored first
   */
  public async digestOf(version: { key: string; versionId?: string }): Promise<string> {
    const object = { Bucket: this.name, Key: version.key, VersionId: version.versionId };
    try {
      const head = await this.s3.send(new HeadObjectCommand({ ...object, ChecksumMode: 'ENABLED' }));
      // A checksum of checksums, as multipart uploads may have, says nothing about the content to others.
      if (head.ChecksumSHA256 && head.ChecksumType !== 'COMPOSITE' && !head.ChecksumSHA256.includes('-')) {
        return Buffer.from(head.ChecksumSHA256, 'base64').toString('hex');
      }
      return await this.contentDigestOf(version);
    } catch (error) {
      throw unreadable(error, version);
    }
  }

  /** The same, always computed from the content. */
  public async contentDigestOf(version: { key: string; versionId?: string }): Promise<string> {
    try {
      const { Body } = await this.s3.send(
        new GetObjectCommand({ Bucket: this.name, Key: version.key, VersionId: version.versionId }),
      );
      const hash = createHash('sha256');
      for await (const chunk of Body as AsyncIterable<Uint8Array>) {
        hash.update(chunk);
      }
      return hash.digest('hex');
    } catch (error) {
      throw unreadable(error, version);
    }
  }

  /** Writes an object unless there is one of this name. @returns whether it was written */
  public async putOnce(key: string, content: string): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.s3.send(
          new PutObjectCommand({
            Bucket: this.name,
            Key: key,
            Body: content,
            ContentType: 'application/jsonl',
            ChecksumAlgorithm: 'SHA256',
            IfNoneMatch: '*',
          }),
        );
        return true;
      } catch (error) {
        const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
        if (status === 412) {
          return false;
        }
        // 409: somebody else is writing it at this moment; whether they succeed is not known yet.
        if (status !== 409 || attempt === 5) {
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, 200 * attempt));
      }
    }
  }
}

type ListPage = Pick<
  import('@aws-sdk/client-s3').ListObjectVersionsCommandOutput,
  'Versions' | 'IsTruncated' | 'NextKeyMarker' | 'NextVersionIdMarker'
>;

function unreadable(error: unknown, { key, versionId }: { key: string; versionId?: string }): unknown {
  const name = error instanceof S3ServiceException ? error.name : '';
  return ['NotFound', 'NoSuchKey', 'NoSuchVersion', 'InvalidObjectState'].includes(name)
    ? new UnreadableError(`${key} (version ${versionId ?? 'that counts'}): ${name}`)
    : error;
}
