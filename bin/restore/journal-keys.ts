import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { isOwnS3 } from '../../handlers/support/s3-endpoint';
import { Identity, parseIdentity, unseal } from './age';

/** Keys of sealed journals (docs/journal.md, "A sealed journal"), only to read. */
export class JournalKeys {
  private readonly identities = new Map<string, Promise<Identity[]>>();

  /** @param client S3 client to use instead of one made from the environment */
  constructor(private client?: S3Client) {}

  /**
   * Opens what is sealed by the first key that does.
   *
   * @param bucket metadata `keys-bucket`: where the keys are
   * @param tags metadata `keys`: tags of the addresses whose keys open it
   * @returns nothing when these keys were destroyed
   * @throws KeysError when keys can't be read; Error when the body is not whole
   */
  public async open(body: Buffer, bucket: string, tags: readonly string[]): Promise<Buffer | undefined> {
    for (const tag of tags) {
      for (const identity of await this.identitiesOf(bucket, tag)) {
        const content = unseal(body, identity);
        if (content) return content;
      }
    }
    return undefined;
  }

  /** One; more when two nodes made one at once, or it was made anew. */
  private identitiesOf(bucket: string, tag: string): Promise<Identity[]> {
    const name = `${bucket} ${tag}`;
    const known = this.identities.get(name) ?? this.readIdentities(bucket, tag);
    this.identities.set(name, known);
    return known;
  }

  private async readIdentities(Bucket: string, tag: string): Promise<Identity[]> {
    this.client ??= new S3Client({ forcePathStyle: isOwnS3(), maxAttempts: 6 });
    try {
      const query = new ListObjectsV2Command({ Bucket, Prefix: `private/${tag}/` });
      const { Contents = [] } = await this.client.send(query);
      const found: Identity[] = [];
      for (const { Key } of Contents) {
        const { Body } = await this.client.send(new GetObjectCommand({ Bucket, Key }));
        found.push(parseIdentity(await Body!.transformToString()));
      }
      return found;
    } catch (error) {
      const { name, message } = error as Error;
      if (['AccessDenied', 'Forbidden', '403'].includes(name)) {
        throw new KeysError(
          `no permission for s3://${Bucket}, which has the keys; it takes s3:ListBucket, s3:GetObject, kms:Decrypt with its key`,
        );
      }
      throw new KeysError(`s3://${Bucket}: ${name}: ${message}`);
    }
  }
}

/** Keys can't be read, whatever the message. */
export class KeysError extends Error {}
