import { createHash } from 'node:crypto';
import {
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { NewObject } from './event';

/** Metadata of a copy: SHA-256 of what was to be stored, hexadecimal. */
const DIGEST = 'copied-sha256';

/** One side of a copy. */
export interface Bucket {
  readonly s3: S3Client;
  readonly name: string;
}

/** What became of an object; `gone` is one that was deleted in the archive meanwhile. */
export type Outcome = 'copied' | 'there already' | 'gone';

/**
 * Copies one version under the same name with its metadata. It is copied when the other side has confirmed its SHA-256,
 * or has given the same bytes back where it keeps no SHA-256.
 *
 * A copy with another content is never written over: whoever changes the archive does not change the copy.
 *
 * @throws Error when it could not be copied, or the copy is another one
 */
export async function copyObject(object: NewObject, from: Bucket, to: Bucket): Promise<Outcome> {
  const source = await read(from, object);
  if (!source) return 'gone';
  const sha256 = createHash('sha256').update(source.body).digest();
  if (source.checksum && source.checksum !== sha256.toString('base64')) {
    throw new Error(`${object.key} was not read whole: its SHA-256 is not that of S3`);
  }
  const copy = await head(to, object.key);
  if (copy) {
    if (await holds(to, object.key, sha256, copy.checksum)) return 'there already';
    // One that was to be the same, and is not, is a copy that went wrong.
    if (copy.digest !== sha256.toString('hex')) {
      throw new Error(`${object.key} is there with another content, and was left alone`);
    }
  }
  const { ChecksumSHA256 } = await to.s3.send(
    new PutObjectCommand({
      Bucket: to.name,
      Key: object.key,
      Body: source.body,
      ChecksumAlgorithm: 'SHA256',
      ChecksumSHA256: sha256.toString('base64'),
      ContentType: source.contentType,
      Metadata: { ...source.metadata, [DIGEST]: sha256.toString('hex') },
    }),
  );
  if (!(await holds(to, object.key, sha256, ChecksumSHA256))) {
    throw new Error(`${object.key} was not stored as it was sent`);
  }
  return 'copied';
}

/** Whether the other side has these bytes, by the checksum that it told, or by reading them back. */
async function holds(to: Bucket, key: string, sha256: Buffer, checksum?: string): Promise<boolean> {
  if (checksum) return checksum === sha256.toString('base64');
  const { Body } = await to.s3.send(new GetObjectCommand({ Bucket: to.name, Key: key }));
  const hash = createHash('sha256');
  for await (const chunk of Body as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
  }
  return hash.digest().equals(sha256);
}

async function read(from: Bucket, { key, versionId }: NewObject) {
  try {
    const object = await from.s3.send(
      new GetObjectCommand({ Bucket: from.name, Key: key, VersionId: versionId, ChecksumMode: 'ENABLED' }),
    );
    return {
      body: await object.Body!.transformToByteArray(),
      checksum: object.ChecksumType === 'COMPOSITE' ? undefined : object.ChecksumSHA256,
      contentType: object.ContentType,
      metadata: object.Metadata,
    };
  } catch (error) {
    // Not when the bucket is missing, which is a 404 as well.
    if (error instanceof S3ServiceException && ['NoSuchKey', 'NoSuchVersion'].includes(error.name)) return undefined;
    throw error;
  }
}

async function head(to: Bucket, key: string) {
  try {
    const { Metadata, ChecksumSHA256 } = await to.s3.send(
      new HeadObjectCommand({ Bucket: to.name, Key: key, ChecksumMode: 'ENABLED' }),
    );
    return { digest: Metadata?.[DIGEST], checksum: ChecksumSHA256 };
  } catch (error) {
    if (error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404) return undefined;
    throw error;
  }
}
