import { GetObjectCommand, PutObjectCommand, S3Client, S3ServiceException } from '@aws-sdk/client-s3';
import { isOwnS3 } from '../../handlers/support/s3-endpoint';
import type { Directory } from './directory';
import { UserFile } from './user-file';

/** Edits that two people make at the same time are done again this often before the later one gives up. */
const ATTEMPTS = 8;

/** The users file in S3, edited so that no edit overwrites another one. */
export class UserDirectory implements Directory {
  private readonly bucket: string;
  private readonly key: string;
  private readonly client: S3Client;

  /**
   * @param location such as `s3://bucket/users`
   * @param client S3 client to use instead of one made from the environment
   * @throws when `location` is not an S3 address
   */
  constructor(
    public readonly location: string,
    client?: S3Client,
  ) {
    const [, bucket, key] = /^s3:\/\/([a-z0-9][a-z0-9.-]+)\/(.+)$/.exec(location) ?? [];
    if (!bucket || !key) {
      throw new Error(
        `directory must be s3://bucket/users or postgres://role@host:port/database, got ${JSON.stringify(location)}`,
      );
    }
    this.bucket = bucket;
    this.key = key;
    this.client = client ?? new S3Client({ forcePathStyle: isOwnS3() });
  }

  /** The users as they are now. */
  public async read(): Promise<UserFile> {
    return (await this.readWithTag()).file;
  }

  /**
   * Applies a change to the file as it is at the moment of writing: if someone else wrote in between, reads again and
   * applies the change to what they left.
   *
   * @throws what `change` throws, or when the file changed under each attempt
   */
  public async update(change: (file: UserFile) => void): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const { file, tag } = await this.readWithTag();
      change(file);
      if (await this.write(file, tag)) {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100 * attempt));
    }
    throw new Error(`${this.location} was changed by others ${ATTEMPTS} times while it was edited; try again`);
  }

  private async readWithTag(): Promise<{ file: UserFile; tag?: string }> {
    try {
      const object = await this.client.send(new GetObjectCommand({ Bucket: this.bucket, Key: this.key }));
      return { file: UserFile.parse(await object.Body!.transformToString('utf-8')), tag: object.ETag };
    } catch (error) {
      if (error instanceof S3ServiceException && error.name === 'NoSuchKey') {
        return { file: UserFile.parse() };
      }
      throw this.explain(error);
    }
  }

  /** @returns false when the object is no longer the one that was read */
  private async write(file: UserFile, tag?: string): Promise<boolean> {
    try {
      await this.client.send(
        new PutObjectCommand({
          Bucket: this.bucket,
          Key: this.key,
          Body: file.toString(),
          ContentType: 'text/plain; charset=utf-8',
          ...(tag === undefined ? { IfNoneMatch: '*' } : { IfMatch: tag }),
        }),
      );
      return true;
    } catch (error) {
      // 404: the object was deleted between reading and writing.
      const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
      const missingBucket = error instanceof S3ServiceException && error.name === 'NoSuchBucket';
      if (!missingBucket && (status === 412 || status === 409 || (status === 404 && tag !== undefined))) {
        return false;
      }
      throw this.explain(error);
    }
  }

  private explain(error: unknown): unknown {
    if (!(error instanceof S3ServiceException)) {
      return error;
    }
    switch (error.name) {
      case 'NoSuchBucket':
        return new Error(`there is no bucket ${this.bucket}; the stack's output UsersObject names the right one`);
      case 'AccessDenied':
        return new Error(`no permission for ${this.location}; it takes s3:GetObject, s3:PutObject and use of its key`);
      default:
        return new Error(`${this.location}: ${error.name}: ${error.message}`);
    }
  }
}
