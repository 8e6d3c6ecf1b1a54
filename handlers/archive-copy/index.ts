import { S3Client } from '@aws-sdk/client-s3';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { text } from '../support/environment';
import { log, logMetrics } from '../support/log';
import { isOwnS3 } from '../support/s3-endpoint';
import { copyObject, Outcome } from './copy-object';
import { newObjectIn } from './event';

/** A copy that is begun has this long: two attempts with the time limits below. */
const COPY_MILLISECONDS = 60_000;

type Result = Outcome | 'failed' | 'left';

/**
 * Copies new objects of the archive to a bucket outside AWS. What could not be copied goes back to the queue, alone.
 *
 * Environment: `ARCHIVE_BUCKET`, `COPY_ENDPOINT` (URL), `COPY_REGION`, `COPY_BUCKET`, `COPY_SECRET` (ARN; JSON with
 * `accessKeyId` and `secretAccessKey`), `ARCHIVE` (dimension of metrics).
 *
 * @throws when the secret can't be read: the whole batch goes back
 */
export async function handler(
  { Records }: Pick<SQSEvent, 'Records'>,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
): Promise<SQSBatchResponse> {
  const bucket = text('ARCHIVE_BUCKET');
  const from = { s3: new S3Client({ forcePathStyle: isOwnS3() }), name: bucket };
  const to = { s3: await outside(), name: text('COPY_BUCKET') };
  const results = new Map<string, Result>();
  let lag = 0;
  try {
    for (const { messageId, body } of Records) {
      if (context.getRemainingTimeInMillis() < COPY_MILLISECONDS) {
        results.set(messageId, 'left');
        continue;
      }
      try {
        const object = newObjectIn(body, bucket);
        // Of what fails, too: it is behind all the more.
        const measure = () => (lag = Math.max(lag, (Date.now() - object.time.getTime()) / 1000));
        results.set(messageId, await copyObject(object, from, to).finally(measure));
      } catch (error) {
        results.set(messageId, 'failed');
        log({ level: 'error', messageId, problem: error instanceof Error ? error.message : String(error) });
      }
    }
  } finally {
    from.s3.destroy();
    to.s3.destroy();
  }
  report([...results.values()], lag);
  const again = [...results].filter(([, result]) => result === 'failed' || result === 'left');
  return { batchItemFailures: again.map(([itemIdentifier]) => ({ itemIdentifier })) };
}

/** A client for the bucket outside. Credentials are read each time, so that new ones are used at once. */
async function outside(): Promise<S3Client> {
  const secrets = new SecretsManagerClient({});
  try {
    const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: text('COPY_SECRET') }));
    const { accessKeyId, secretAccessKey } = parse(SecretString);
    if (!accessKeyId || !secretAccessKey) {
      throw new Error('the secret must be JSON with accessKeyId and secretAccessKey');
    }
    return new S3Client({
      endpoint: text('COPY_ENDPOINT'),
      region: text('COPY_REGION'),
      credentials: { accessKeyId, secretAccessKey },
      forcePathStyle: true,
      maxAttempts: 2,
      requestHandler: { connectionTimeout: 3_000, socketTimeout: 10_000 },
      // Checksums that came after S3's first twenty years are unknown to many servers, and these refuse the request.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  } finally {
    secrets.destroy();
  }
}

/** Not with the parser's own message, which quotes the secret. */
function parse(secret = ''): { accessKeyId?: string; secretAccessKey?: string } {
  try {
    return (JSON.parse(secret) as object | null) ?? {};
  } catch {
    return {};
  }
}

function report(results: Result[], lag: number): void {
  const count = (...which: Result[]) => results.filter((result) => which.includes(result)).length;
  logMetrics(
    { name: 'ArchiveCopy', value: text('ARCHIVE') },
    {
      ArchiveCopied: { unit: 'Count', value: count('copied') },
      ArchiveCopyFailed: { unit: 'Count', value: count('failed') },
      ArchiveCopyLag: { unit: 'Seconds', value: lag },
    },
    { thereAlready: count('there already'), gone: count('gone'), left: count('left') },
  );
}
