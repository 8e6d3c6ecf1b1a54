import {
  DeleteObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectVersionsCommand,
  type ListObjectVersionsCommandOutput,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { isOwnS3 } from '../../handlers/support/s3-endpoint';

/** One version of an object of the journal, or a mark that it was deleted. */
export interface ObjectVersion {
  readonly key: string;
  readonly versionId: string;
  readonly isMarker: boolean;
}

/** What S3 tells of a version without it being read. */
export interface VersionFacts {
  readonly metadata: Readonly<Record<string, string>>;
  /** SHA-256 of the object as S3 keeps it, base64. */
  readonly checksum?: string;
  /** Until when Object Lock keeps it. */
  readonly lockedUntil?: Date;
  /** Whether that can be lifted by those with the right to. */
  readonly isGovernance: boolean;
  readonly legalHold: boolean;
}

/** All versions of a journal's objects, to be deleted. */
export class JournalVersions {
  private readonly client: S3Client;

  /** @param bucket its name */
  constructor(
    public readonly bucket: string,
    client?: S3Client,
  ) {
    this.client = client ?? new S3Client({ forcePathStyle: isOwnS3(), maxAttempts: 6 });
  }

  public async *all(): AsyncGenerator<ObjectVersion> {
    let page: ListObjectVersionsCommandOutput | undefined;
    do {
      page = await this.explained(() =>
        this.client.send(
          new ListObjectVersionsCommand({
            ...{ Bucket: this.bucket, Prefix: 'journal/' },
            ...{ KeyMarker: page?.NextKeyMarker, VersionIdMarker: page?.NextVersionIdMarker },
          }),
        ),
      );
      for (const { Key, VersionId } of page.Versions ?? []) {
        yield { key: Key!, versionId: VersionId!, isMarker: false };
      }
      for (const { Key, VersionId } of page.DeleteMarkers ?? []) {
        yield { key: Key!, versionId: VersionId!, isMarker: true };
      }
    } while (page.IsTruncated);
  }

  /** Nothing when there is no such version any more. */
  public async facts({ key, versionId }: ObjectVersion): Promise<VersionFacts | undefined> {
    const Bucket = this.bucket;
    let head: HeadObjectCommandOutput;
    try {
      head = await this.client.send(
        new HeadObjectCommand({ Bucket, Key: key, VersionId: versionId, ChecksumMode: 'ENABLED' }),
      );
    } catch (error) {
      if (['NotFound', 'NoSuchKey', 'NoSuchVersion'].includes((error as Error).name)) return undefined;
      throw this.explain(error);
    }
    const until = head.ObjectLockRetainUntilDate;
    return {
      metadata: head.Metadata ?? {},
      checksum: head.ChecksumSHA256,
      lockedUntil: until !== undefined && until.getTime() > Date.now() ? until : undefined,
      isGovernance: head.ObjectLockMode === 'GOVERNANCE',
      legalHold: head.ObjectLockLegalHoldStatus === 'ON',
    };
  }

  /** @returns false when Object Lock, or whoever gives rights, forbids it */
  public async delete({ key, versionId }: ObjectVersion, liftGovernance: boolean): Promise<boolean> {
    try {
      await this.client.send(
        new DeleteObjectCommand({
          ...{ Bucket: this.bucket, Key: key, VersionId: versionId },
          BypassGovernanceRetention: liftGovernance || undefined,
        }),
      );
      return true;
    } catch (error) {
      if (nameOf(error) === 'AccessDenied') return false;
      throw this.explain(error);
    }
  }

  private async explained<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.explain(error);
    }
  }

  private explain(error: unknown): unknown {
    const name = nameOf(error);
    if (name === undefined) return error;
    if (['AccessDenied', 'Forbidden', '403'].includes(name)) {
      return new Error(
        `no permission for s3://${this.bucket}/journal; it takes s3:ListBucketVersions, s3:GetObjectVersion, s3:DeleteObjectVersion, ` +
          's3:GetObjectRetention, s3:GetObjectLegalHold, and s3:BypassGovernanceRetention where a lock is to be lifted',
      );
    }
    return new Error(`s3://${this.bucket}: ${name}: ${(error as Error).message}`);
  }
}

function nameOf(error: unknown): string | undefined {
  return error instanceof S3ServiceException ? error.name : undefined;
}
