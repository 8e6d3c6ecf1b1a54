import {
  HeadObjectCommand,
  paginateListObjectsV2,
  RestoreObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { JournalBucket } from '../../handlers/evidence/journal-bucket';
import { dayFolders } from '../../handlers/packs/day-folders';
import { PackedMessage, PackedMessages } from '../../handlers/packs/packed-messages';
import { dayOf, PACKS } from '../../handlers/packs/pack-names';
import { isOwnS3 } from '../../handlers/support/s3-endpoint';
import { arrivalOf, hourFolder, JournalKey, parseKey } from './journal-key';
import { BrokenError, StoredObject } from './journal-message';
import { QuickGet } from './quick-get';

/** How fast S3 brings objects back from Glacier, and at what price. Deep Archive has no `Expedited`. */
export const TIERS = ['Standard', 'Bulk', 'Expedited'] as const;
export type Tier = (typeof TIERS)[number];

/** Objects of these classes must be asked for before they can be read. */
const FROZEN: readonly string[] = ['GLACIER', 'DEEP_ARCHIVE'];

/** The journal's bucket, only to read. */
export class JournalReader {
  private readonly bucket: string;
  private readonly source: JournalBucket;
  private readonly packed: PackedMessages;
  private readonly quick: QuickGet;

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
    this.source = new JournalBucket(client, bucket);
    this.packed = new PackedMessages(this.source);
    this.quick = new QuickGet(client, bucket);
  }

  /**
   * Messages that were accepted at `from` or later and before `to`, a day's objects by the hour, and then those of the day that
   * are in packs. Keeps the names of a day's objects in memory.
   */
  public async *keys(from: Date, to: Date): AsyncGenerator<JournalKey> {
    const isMeant = (key?: JournalKey) => key && key.arrival >= from.getTime() && key.arrival < to.getTime();
    const looked = new Set<string>();
    let day: string | undefined;
    let objects = new Set<string>();
    try {
      for await (const key of this.objects(from, to)) {
        const itsDay = dayOf(key.key)!;
        if (itsDay !== day) {
          // After the day's objects: what is moved into a pack meanwhile is seen in one place at least.
          if (day !== undefined) yield* this.inPacks(day, objects, isMeant);
          looked.add(itsDay);
          day = itsDay;
          objects = new Set();
        }
        objects.add(key.key);
        if (isMeant(key)) yield key;
      }
      if (day !== undefined) yield* this.inPacks(day, objects, isMeant);
      const [first, last] = [from, to].map((time) => dayOf(hourFolder(time))!);
      for (const other of await dayFolders(this.source, PACKS)) {
        if (other >= first && other <= last && !looked.has(other)) yield* this.inPacks(other, new Set(), isMeant);
      }
    } catch (error) {
      throw this.explain(error);
    }
  }

  /** Messages that were accepted under this id: one, or more when the same was stored with different contents. */
  public async *keysOf(queueId: string): AsyncGenerator<JournalKey> {
    const Prefix = `${hourFolder(new Date(arrivalOf(queueId)))}${queueId}-`;
    const objects = new Set<string>();
    try {
      for await (const { Contents = [] } of paginateListObjectsV2(
        { client: this.client },
        { Bucket: this.bucket, Prefix },
      )) {
        for (const { Key } of Contents) {
          const key = parseKey(Key!);
          objects.add(Key!);
          if (key) yield key;
        }
      }
      for await (const packed of this.packed.beginningWith(Prefix)) {
        const key = parseKey(packed.key);
        if (key && !objects.has(packed.key)) yield { ...key, packed };
      }
    } catch (error) {
      throw this.explain(error);
    }
  }

  /** Metadata of a message, also of one in Deep Archive; nothing when there is no such message. */
  public async metadata(key: JournalKey): Promise<Readonly<Record<string, string>> | undefined> {
    if (key.packed) return key.packed.metadata;
    try {
      const { Metadata } = await this.client.send(new HeadObjectCommand({ Bucket: this.bucket, Key: key.key }));
      return Metadata ?? {};
    } catch (error) {
      if (nameOf(error) === 'NotFound' || nameOf(error) === 'NoSuchKey') return (await this.findAnew(key))?.metadata;
      throw this.explain(error);
    }
  }

  /**
   * The message as it was stored, from its object or out of its pack; `archived` when it must be asked for first; nothing when
   * there is no such message.
   *
   * @param begin asked, with its metadata and the message's bytes, whether it shall be read; may take its time
   * @returns nothing, too, when it shall not
   * @throws BrokenError when it is not what S3, or the pack's index, has the checksum of
   */
  public async read(
    key: JournalKey,
    begin: (metadata: Readonly<Record<string, string>>, bytes: number) => Promise<boolean>,
  ): Promise<StoredObject | 'archived' | undefined> {
    try {
      return key.packed ? await this.readPart(key.packed, begin) : await this.readObject(key.key, begin);
    } catch (error) {
      if (nameOf(error) === 'InvalidObjectState') return 'archived';
      if (nameOf(error) === 'NoSuchKey') {
        const packed = await this.findAnew(key);
        if (packed && packed.pack === key.packed?.pack) throw new BrokenError(`its pack ${packed.pack} is missing`);
        return packed && this.read({ ...key, packed }, begin);
      }
      if (nameOf(error) === 'InvalidRange') throw new BrokenError('its pack ends before it');
      // The SDK compares the checksum as well, as it reads.
      if (error instanceof Error && /checksum mismatch/i.test(error.message)) throw new BrokenError(error.message);
      throw this.explain(error);
    }
  }

  /** Has S3 bring a message, or all of its pack, back from Glacier, for `days`. Asking again changes nothing. */
  public async ask({ key, packed }: JournalKey, tier: Tier, days: number): Promise<void> {
    const Key = packed?.pack ?? key;
    try {
      const RestoreRequest = { Days: days, GlacierJobParameters: { Tier: tier } };
      await this.client.send(new RestoreObjectCommand({ Bucket: this.bucket, Key, RestoreRequest }));
    } catch (error) {
      if (nameOf(error) !== 'RestoreAlreadyInProgress') throw this.explain(error);
    }
  }

  private async *objects(from: Date, to: Date): AsyncGenerator<JournalKey> {
    const pages = paginateListObjectsV2(
      { client: this.client },
      { Bucket: this.bucket, Prefix: 'journal/', StartAfter: hourFolder(from) },
    );
    const last = hourFolder(to);
    for await (const { Contents = [] } of pages) {
      for (const { Key, Size, StorageClass } of Contents) {
        if (Key! > last && !Key!.startsWith(last)) return;
        const key = parseKey(Key!);
        if (key) yield FROZEN.includes(StorageClass ?? '') ? key : { ...key, size: Size };
      }
    }
  }

  private async *inPacks(
    day: string,
    without: ReadonlySet<string>,
    isMeant: (key?: JournalKey) => boolean | undefined,
  ): AsyncGenerator<JournalKey> {
    for await (const packed of this.packed.ofDay(day)) {
      const key = parseKey(packed.key);
      if (key && isMeant(key) && !without.has(packed.key)) yield { ...key, packed };
    }
  }

  /** Where a message is now that was listed elsewhere: it was moved into a pack, or its pack was written anew. */
  private findAnew({ key }: JournalKey): Promise<PackedMessage | undefined> {
    return new PackedMessages(this.source).find(key);
  }

  private async readObject(
    Key: string,
    begin: (metadata: Readonly<Record<string, string>>, bytes: number) => Promise<boolean>,
  ): Promise<StoredObject | undefined> {
    const { metadata, size, checksum, body } = await this.quick.open(Key);
    if (!(await begin(metadata, Number(metadata['message-size'] ?? size)))) {
      // So that the connection can be used again.
      await body().catch(() => undefined);
      return undefined;
    }
    return { body: await body(), checksum, metadata };
  }

  private async readPart(
    packed: PackedMessage,
    begin: (metadata: Readonly<Record<string, string>>, bytes: number) => Promise<boolean>,
  ): Promise<StoredObject | undefined> {
    const { metadata, pack, offset, size, sha256 } = packed;
    if (!(await begin(metadata, Number(metadata['message-size'] ?? size)))) return undefined;
    const part = await this.quick.open(pack, `bytes=${offset}-${offset + size - 1}`);
    const body = await part.body();
    return { body, checksum: Buffer.from(sha256, 'hex').toString('base64'), metadata };
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
          `no permission for s3://${this.bucket}/journal or packs; it takes s3:ListBucket, s3:GetObject, kms:Decrypt with its key, ` +
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
