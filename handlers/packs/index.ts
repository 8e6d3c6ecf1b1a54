import { S3Client } from '@aws-sdk/client-s3';
import type { Context } from 'aws-lambda';
import { JOURNAL } from '../evidence/chain/entry';
import { text, wholeNumber } from '../support/environment';
import { log, logMetrics } from '../support/log';
import { isOwnS3 } from '../support/s3-endpoint';
import { dayFolders } from './day-folders';
import { PackBucket } from './pack-bucket';
import { packDay, PackedDay } from './pack-day';
import { doneKey } from './pack-names';

const DAY = 86_400_000;
/** Left to end a pack that was begun: to store it and its index, and to delete originals, with repeats. */
const CLOSING_MILLISECONDS = 120_000;
/** A day that is over for so long is looked at no more: what came later stays single. */
const DONE_AFTER = 8 * DAY;

/**
 * Moves small objects of the journal into packs, a day after it is over (docs/journal.md, "Packs"). The newest day first.
 *
 * Environment: `JOURNAL_BUCKET`, `JOURNAL` (dimension of metrics), `ONLY_ATTESTED` (`true` or `false`), `MAX_AGE_DAYS` (older
 * days are left alone, because packs are kept by their own age; 0: none is).
 *
 * @throws what S3 answers after repeats; the next run begins where this one did
 */
export async function handler(
  _event: unknown,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
): Promise<PackedDay[]> {
  const s3 = new S3Client({ forcePathStyle: isOwnS3() });
  const maxAge = wholeNumber('MAX_AGE_DAYS') || Infinity;
  const limits = {
    onlyAttested: text('ONLY_ATTESTED') === 'true',
    closing: () => context.getRemainingTimeInMillis() < CLOSING_MILLISECONDS,
  };
  const results: PackedDay[] = [];
  let finished = false;
  try {
    const bucket = new PackBucket(s3, text('JOURNAL_BUCKET'));
    for (const day of await openDays(bucket)) {
      if (limits.closing()) break;
      const age = bucket.journal.now.getTime() - endOf(day);
      if (age < DAY || age >= (maxAge + 1) * DAY) continue;
      results.push(await packDay(bucket, day, limits));
      if (results.at(-1)!.complete && age >= DONE_AFTER) await bucket.journal.putOnce(doneKey(day), '');
    }
    finished = true;
    return results;
  } finally {
    report(results, finished);
    s3.destroy();
  }
}

/** Days that the journal has and that are not done, the newest first. */
async function openDays({ journal }: PackBucket): Promise<string[]> {
  const done = new Set(await journal.children(doneKey('')));
  return (await dayFolders(journal, JOURNAL)).filter((day) => !done.has(doneKey(day))).reverse();
}

/** When a day is over, milliseconds since 1970; none of the calendar's never is. */
function endOf(day: string): number {
  return (Date.parse(`${day.replace(/\//g, '-')}T00:00:00Z`) || Infinity) + DAY;
}

function report(results: PackedDay[], finished: boolean): void {
  const sum = (of: (result: PackedDay) => number) => results.reduce((all, one) => all + of(one), 0);
  for (const reason of results.flatMap(({ notPacked }) => notPacked).slice(0, 100)) {
    log({ level: 'warn', notPacked: reason });
  }
  logMetrics(
    { name: 'Journal', value: text('JOURNAL') },
    {
      PackRuns: { unit: 'Count', value: finished ? 1 : 0 },
      PacksStored: { unit: 'Count', value: sum(({ packs }) => packs) },
      PackedMessages: { unit: 'Count', value: sum(({ messages }) => messages) },
      NotPacked: { unit: 'Count', value: sum(({ notPacked }) => notPacked.length) },
    },
    { packedBytes: sum(({ bytes }) => bytes) },
  );
}
