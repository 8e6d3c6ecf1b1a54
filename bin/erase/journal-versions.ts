import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectVersionsCommand,
  type ListObjectVersionsCommandOutput,
  RestoreObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { PackBucket } from '../../handlers/packs/pack-bucket';
import { dayOf, PACKS } from '../../handlers/packs/pack-names';
import { isOwnS3 } from '../../handlers/support/s3-endpoint';

/** One version of an object of the journal, or a mark that it was deleted. */
export interface ObjectVersion {
  readonly key: string;
  readonly versionId: string;
  readonly isMarker: boolean;
}

/** A version of a pack, or of the index of one. */
export interface PackVersion extends ObjectVersion {
  /** By S3's clock. */
  readonly lastModified: Date;
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
  /** The same bucket, to read and write packs. */
  public readonly packs: PackBucket;
  private readonly client: S3Client;

  /** @param bucket its name */
  constructor(
    public readonly bucket: string,
    client?: S3Client,
  ) {
    this.client = client ?? new S3Client({ forcePathStyle: isOwnS3(), maxAttempts: 6 });
    this.packs = new PackBucket(this.client, bucket);
  }

  /** Of the journal's objects. */
  public all(): AsyncGenerator<ObjectVersion> {
    return this.below('journal/');
  }

  /** Of packs and their indexes, those of a day at a time. */
  public async *packDays(): AsyncGenerator<{ readonly day: string; readonly versions: PackVersion[] }> {
    let day: string | undefined;
    let versions: PackVersion[] = [];
    for await (const version of this.below(PACKS)) {
      const itsDay = dayOf(version.key);
      if (itsDay === undefined) continue;
      if (day !== undefined && itsDay !== day) {
        yield { day, versions };
        versions = [];
      }
      day = itsDay;
      versions.push(version);
    }
    if (day !== undefined) yield { day, versions };
  }

  private async *below(Prefix: string): AsyncGenerator<PackVersion> {
    let page: ListObjectVersionsCommandOutput | undefined;
    do {
      page = await this.explained(() =>
        this.client.send(
          new ListObjectVersionsCommand({
            ...{ Bucket: this.bucket, Prefix },
            ...{ KeyMarker: page?.NextKeyMarker, VersionIdMarker: page?.NextVersionIdMarker },
          }),
        ),
      );
      for (const { Key, VersionId, LastModified } of page.Versions ?? []) {
        yield { key: Key!, versionId: VersionId!, lastModified: LastModified!, isMarker: false };
      }
      for (const { Key, VersionId, LastModified } of page.DeleteMarkers ?? []) {
        yield { key: Key!, versionId: VersionId!, lastModified: LastModified!, isMarker: true };
      }
    } while (page.IsTruncated);
  }

  /** Nothing when there is no such version any more. */
  public async facts({ key, versionId }: Omit<ObjectVersion, 'isMarker'>): Promise<VersionFacts | undefined> {
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
  public async delete({ key, versionId }: Omit<ObjectVersion, 'isMarker'>, liftGovernance: boolean): Promise<boolean> {
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

  /**
   * All of a pack; `archived` when it had to be asked for, which was done: it can be read for two days from 12 hours on.
   * Nothing when it is not there.
   */
  public async readPack({ key, versionId }: PackVersion): Promise<Buffer | 'archived' | undefined> {
    const object = { Bucket: this.bucket, Key: key, VersionId: versionId };
    try {
      const { Body } = await this.client.send(new GetObjectCommand(object));
      return Buffer.from(await Body!.transformToByteArray());
    } catch (error) {
      if (['NoSuchKey', 'NoSuchVersion'].includes(nameOf(error) ?? '')) return undefined;
      if (nameOf(error) !== 'InvalidObjectState') throw this.explain(error);
    }
    try {
      const RestoreRequest = { Days: 2, GlacierJobParameters: { Tier: 'Standard' } } as const;
      await this.client.send(new RestoreObjectCommand({ ...object, RestoreRequest }));
    } catch (error) {
      if (nameOf(error) !== 'RestoreAlreadyInProgress') throw this.explain(error);
    }
    return 'archived';
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
        `no permission for s3://${this.bucket}/journal or packs; it takes s3:ListBucketVersions, s3:GetObjectVersion, ` +
          's3:DeleteObjectVersion, s3:GetObjectRetention, s3:GetObjectLegalHold, for packs s3:GetObject, s3:PutObject, ' +
          's3:RestoreObject, s3:ListBucket, kms:GenerateDataKey, and s3:BypassGovernanceRetention where a lock is to be lifted',
      );
    }
    return new Error(`s3://${this.bucket}: ${name}: ${(error as Error).message}`);
  }
}

function nameOf(error: unknown): string | undefined {
  return error instanceof S3ServiceException ? error.name : undefined;
}
