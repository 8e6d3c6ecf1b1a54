import {
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { sha256 } from '../evidence/chain/merkle';
import { JournalBucket, JournalVersion } from '../evidence/journal-bucket';
import { Pack, StoredMessage } from './pack-builder';

/** Versions deleted in one request; S3 takes no more. */
const DELETED_AT_ONCE = 1000;

/** A version to be deleted. */
export interface DeletedVersion {
  readonly key: string;
  readonly versionId: string;
}

/** The bucket as who makes packs sees it. */
export class PackBucket {
  public readonly journal: JournalBucket;

  constructor(
    private readonly s3: S3Client,
    private readonly name: string,
  ) {
    this.journal = new JournalBucket(s3, name);
  }

  /** A version of the journal with its metadata; nothing when it is gone, in Deep Archive, or may not be deleted (Object Lock). */
  public async message(version: JournalVersion): Promise<StoredMessage | undefined> {
    const { key, versionId, size, lastModified } = version;
    try {
      const object = await this.s3.send(
        new GetObjectCommand({ Bucket: this.name, Key: key, VersionId: versionId, ChecksumMode: 'ENABLED' }),
      );
      const body = Buffer.from(await object.Body!.transformToByteArray());
      const until = object.ObjectLockRetainUntilDate;
      if (object.ObjectLockLegalHoldStatus === 'ON' || (until && until > this.journal.now)) return undefined;
      const digest = sha256(body);
      if (object.ChecksumSHA256 && object.ChecksumSHA256 !== digest.toString('base64')) {
        throw new Error(`${key} was not read whole: its SHA-256 is not that of S3`);
      }
      const entry = {
        ...{ key, versionId, size, sha256: digest.toString('hex') },
        lastModified: lastModified.toISOString(),
      };
      return { entry, metadata: object.Metadata ?? {}, body };
    } catch (error) {
      if (['NoSuchKey', 'NoSuchVersion', 'InvalidObjectState'].includes((error as Error).name)) return undefined;
      throw error;
    }
  }

  /** @returns the version that was stored */
  public async putPack({ key, body }: Pack): Promise<DeletedVersion> {
    const { VersionId } = await this.s3
      .send(
        new PutObjectCommand({
          Bucket: this.name,
          Key: key,
          Body: body,
          ContentType: 'application/zstd',
          ChecksumAlgorithm: 'SHA256',
          ChecksumSHA256: sha256(body).toString('base64'),
          IfNoneMatch: '*',
        }),
      )
      .catch(async (error) => {
        // No other run writes this name: an answer was lost, and the SDK has written twice.
        if (statusOf(error) !== 412) throw error;
        return this.s3.send(new HeadObjectCommand({ Bucket: this.name, Key: key }));
      });
    return { key, versionId: VersionId! };
  }

  /** @returns whether it is ours: another run may have written one of this name */
  public async putIndex({ key, text }: Pack['index']): Promise<boolean> {
    if (await this.journal.putOnce(key, text)) return true;
    return (await this.journal.read(key))?.toString() === text;
  }

  /**
   * Has S3 confirm an object by the SHA-256 that it keeps.
   *
   * @throws when it is not there, or is another one
   */
  public async confirm(key: string, digest: Buffer): Promise<void> {
    const { ChecksumSHA256 } = await this.s3
      .send(new HeadObjectCommand({ Bucket: this.name, Key: key, ChecksumMode: 'ENABLED' }))
      .catch((error) => {
        throw statusOf(error) === 404 ? new Error(`${key} is missing; nothing was deleted`) : error;
      });
    if (ChecksumSHA256 !== digest.toString('base64')) {
      throw new Error(`${key} is not what was to be stored: S3 has the SHA-256 ${ChecksumSHA256}; nothing was deleted`);
    }
  }

  /** Deletes versions; those that are gone already, too. @throws when S3 keeps one */
  public async delete(versions: readonly DeletedVersion[]): Promise<void> {
    for (let first = 0; first < versions.length; first += DELETED_AT_ONCE) {
      const Objects = versions
        .slice(first, first + DELETED_AT_ONCE)
        .map(({ key, versionId }) => ({ Key: key, VersionId: versionId }));
      const { Errors = [] } = await this.s3.send(
        new DeleteObjectsCommand({ Bucket: this.name, Delete: { Objects, Quiet: true } }),
      );
      if (Errors.length > 0) {
        const [{ Key, Code }] = Errors;
        throw new Error(`${Errors.length} versions were not deleted, ${Key} among them: ${Code}`);
      }
    }
  }
}

function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
}
