import { KMSClient } from '@aws-sdk/client-kms';
import { S3Client } from '@aws-sdk/client-s3';
import type { Context } from 'aws-lambda';
import { text, wholeNumber } from '../support/environment';
import { log, logMetrics } from '../support/log';
import { isOwnS3 } from '../support/s3-endpoint';
import { BatchLimits, BatchResult, makeBatch } from './batch';
import { JournalBucket } from './journal-bucket';
import { Signer } from './signer';

/** Left to close a batch: write the last part, sign, write the manifest, with repeats. */
const CLOSING_MILLISECONDS = 60_000;

/**
 * Attests what came to the journal since the last run, in as many batches as it takes (docs/evidence.md).
 *
 * Environment: `JOURNAL_BUCKET`, `SIGNING_KEY` (id of a KMS key), `CHAIN` (dimension of metrics), `RECENT_HOURS`,
 * `SWEEP_VERSIONS`, `BATCH_ENTRIES`.
 *
 * @throws what S3 or KMS answer after repeats; the next run begins where this one did
 */
export async function handler(
  _event: unknown,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
): Promise<BatchResult[]> {
  const s3 = new S3Client({ forcePathStyle: isOwnS3() });
  const kms = new KMSClient({});
  const limits: BatchLimits = {
    recentHours: wholeNumber('RECENT_HOURS', 1),
    sweepVersions: wholeNumber('SWEEP_VERSIONS', 1),
    entries: wholeNumber('BATCH_ENTRIES', 1),
    closing: () => context.getRemainingTimeInMillis() < CLOSING_MILLISECONDS,
  };
  const results: BatchResult[] = [];
  try {
    const bucket = new JournalBucket(s3, text('JOURNAL_BUCKET'));
    const signer = new Signer(kms, text('SIGNING_KEY'));
    do {
      results.push(await makeBatch(bucket, signer, limits));
    } while (results.at(-1)!.more && results.at(-1)!.written && !limits.closing());
    return results;
  } finally {
    report(results);
    s3.destroy();
    kms.destroy();
  }
}

function report(results: BatchResult[]): void {
  const written = results.filter((result) => result.written);
  const last = results.at(-1);
  for (const reason of last?.notCovered.slice(0, 100) ?? []) {
    log({ level: 'warn', notCovered: reason });
  }
  logMetrics(
    { name: 'EvidenceChain', value: text('CHAIN') },
    {
      EvidenceBatches: { unit: 'Count', value: written.length },
      EvidenceCovered: { unit: 'Count', value: written.reduce((sum, { covered }) => sum + covered, 0) },
      EvidenceNotCovered: { unit: 'Count', value: last?.notCovered.length ?? 0 },
      EvidenceLag: { unit: 'Seconds', value: Math.max(0, ...written.map(({ lag }) => lag)) },
    },
    { newestBatch: last?.sequence },
  );
}
