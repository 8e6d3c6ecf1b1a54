import {
  GetObjectCommand,
  HeadObjectCommand,
  paginateListObjectsV2,
  RestoreObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { isOwnS3 } from '../../handlers/support/s3-endpoint';
import { arrivalOf, hourFolder, JournalKey, parseKey } from './journal-key';
import { BrokenError, StoredObject } from './journal-message';

/** How fast S3 brings objects back from Glacier, and at what price. Deep Archive has no `Expedited`. */
export const TIERS = ['Standard', 'Bulk', 'Expedited'] as const;
export type Tier = (typeof TIERS)[number];

/** Objects of these classes must be asked for before they can be read. */
const FROZEN: readonly string[] = ['GLACIER', 'DEEP_ARCHIVE'];

/** The journal's bucket, only to read. */
export class JournalReader {
  private readonly bucket: string;

  /**
   * @param location `s3://bucket`
   * @param client S3 client to use instead of one made from the environment
   * @throws when `location` is not such an address
   */
  constructor(
    location: string,
    private readonly client: S3Client = clientOfEnvironment(),
  ) {
    const bucket = /^s3:\/\/([a-z0-9][a-z0-9.-]+)\/?$/.exec(location)?.[1];
    if (!bucket) {
      throw new Error(`journal must be an address such as s3://bucket, got ${JSON.stringify(location)}`);
    }
    this.bucket = bucket;
  }

  /** Messages that were accepted at `from` or later and before `to`, by the hour. */
  public async *keys(from: Date, to: Date): AsyncGenerator<JournalKey> {
    const pages = paginateListObjectsV2(
      { client: this.client },
      { Bucket: this.bucket, Prefix: 'journal/', StartAfter: hourFolder(from) },
    );
    const last = hourFolder(to);
    try {
      for await (const { Contents = [] } of pages) {
        for (const { Key, Size, StorageClass } of Contents) {
          if (Key! > last && !Key!.startsWith(last)) return;
          const key = parseKey(Key!);
          if (key && key.arrival >= from.getTime() && key.arrival < to.getTime()) {
            yield FROZEN.includes(StorageClass ?? '') ? key : { ...key, size: Size };
          }
        }
      }
    } catch (error) {
      throw this.explain(error);
    }
  }

  /** Objects of the message that was accepted under this id: one, or more when the same was stored with different contents. */
  public async *keysOf(queueId: string): AsyncGenerator<JournalKey> {
    const Prefix = `${hourFolder(new Date(arrivalOf(queueId)))}${queueId}-`;
    try {
      for await (const { Contents = [] } of paginateListObjectsV2(
        { client: this.client },
        { Bucket: this.bucket, Prefix },
      )) {
        for (const { Key } of Contents) {
          const key = parseKey(Key!);
          if (key) yield key;
        }
      }
    } catch (error) {
      throw this.explain(error);
    }
  }

  /** Metadata of an object, also of one in Deep Archive; nothing when there is no such object. */
  public async metadata(key: string): Promise<Readonly<Record<string, string>> | undefined> {
    try {
      const { Metadata } = await this.client.send(new HeadObjectCommand({ Bucket: this.bucket, Key: key }));
      return Metadata ?? {};
    } catch (error) {
      if (nameOf(error) === 'NotFound' || nameOf(error) === 'NoSuchKey') return undefined;
      throw this.explain(error);
    }
  }

  /**
   * The object; `archived` when it must be asked for first; nothing when there is no such object.
   *
   * @param begin asked, with its metadata and the message's bytes, whether the object shall be read; may take its time
   * @returns nothing, too, when it shall not
   * @throws BrokenError when it is not what S3 has the checksum of
   */
  public async read(
    key: string,
    begin: (metadata: Readonly<Record<string, string>>, bytes: number) => Promise<boolean>,
  ): Promise<StoredObject | 'archived' | undefined> {
    try {
      const object = await this.client.send(
        new GetObjectCommand({ Bucket: this.bucket, Key: key, ChecksumMode: 'ENABLED' }),
      );
      const metadata = object.Metadata ?? {};
      if (!(await begin(metadata, Number(metadata['message-size'] ?? object.ContentLength)))) {
        // So that the connection can be used again.
        await object.Body!.transformToByteArray().catch(() => undefined);
        return undefined;
      }
      const body = Buffer.from(await object.Body!.transformToByteArray());
      return { body, checksum: object.ChecksumSHA256, metadata };
    } catch (error) {
      if (nameOf(error) === 'InvalidObjectState') return 'archived';
      if (nameOf(error) === 'NoSuchKey') return undefined;
      // The SDK compares the checksum as well, as it reads.
      if (error instanceof Error && /checksum mismatch/i.test(error.message)) throw new BrokenError(error.message);
      throw this.explain(error);
    }
  }

  /** Has S3 bring an object back from Glacier, for `days`. Asking again changes nothing. */
  public async ask(key: string, tier: Tier, days: number): Promise<void> {
    try {
      const RestoreRequest = { Days: days, GlacierJobParameters: { Tier: tier } };
      await this.client.send(new RestoreObjectCommand({ Bucket: this.bucket, Key: key, RestoreRequest }));
    } catch (error) {
      if (nameOf(error) !== 'RestoreAlreadyInProgress') throw this.explain(error);
    }
  }

  private explain(error: unknown): unknown {
    if (!(error instanceof S3ServiceException)) {
      return error;
    }
    switch (error.name) {
      case 'NoSuchBucket':
        return new Error(
          `there is no bucket ${this.bucket}; MAIL_JOURNAL_BUCKET in a node's environment names the right one`,
        );
      case 'AccessDenied':
      case 'Forbidden':
      case '403':
        return new Error(
          `no permission for s3://${this.bucket}/journal; it takes s3:ListBucket, s3:GetObject, kms:Decrypt with its key, ` +
            'and s3:RestoreObject for what is in Glacier',
        );
      default:
        return new Error(`s3://${this.bucket}: ${error.name}: ${error.message}`);
    }
  }
}

function clientOfEnvironment(): S3Client {
  const agent = { keepAlive: true, maxSockets: 1024 };
  const requestHandler = { httpAgent: agent, httpsAgent: agent };
  return new S3Client({ forcePathStyle: isOwnS3(), maxAttempts: 6, requestHandler });
}

function nameOf(error: unknown): string | undefined {
  return error instanceof S3ServiceException ? error.name : undefined;
}
