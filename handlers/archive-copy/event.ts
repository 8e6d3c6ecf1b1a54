/** A version of an object of the archive that S3 told of. */
export interface NewObject {
  readonly key: string;
  readonly versionId: string;
  /** When it was stored, by S3's clock. */
  readonly time: Date;
}

/**
 * What an event `Object Created` of S3 says, as EventBridge puts it into a queue.
 *
 * @param bucket the archive; events of others are none of ours
 * @throws Error when the body is no such event, which ends in the dead-letter queue
 * @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
 */
export function newObjectIn(body: string, bucket: string): NewObject {
  const event = JSON.parse(body) as {
    readonly time?: string;
    readonly detail?: {
      readonly bucket?: { readonly name?: string };
      readonly object?: { readonly key?: string; readonly 'version-id'?: string };
    };
  };
  const { key, 'version-id': versionId } = event.detail?.object ?? {};
  const time = new Date(event.time ?? NaN);
  if (!key || !versionId || Number.isNaN(time.getTime())) {
    throw new Error('no event of S3 about a version of an object');
  }
  if (event.detail?.bucket?.name !== bucket) {
    throw new Error(`event of bucket ${event.detail?.bucket?.name}, expected ${bucket}`);
  }
  return { key, versionId, time };
}
