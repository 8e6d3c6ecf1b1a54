import { createPublicKey, KeyObject } from 'node:crypto';
import { GetPublicKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { S3Client } from '@aws-sdk/client-s3';
import type { Context } from 'aws-lambda';
import { newestBatch } from '../evidence/chain/head';
import { BucketSource } from '../evidence/evidence-source';
import { text, wholeNumber } from '../support/environment';
import { log, logMetrics } from '../support/log';
import { isOwnS3 } from '../support/s3-endpoint';
import { Audit } from './check-entry';
import { goOn } from './full-pass';
import { takeSample } from './sample';
import { AuditState, Counts, readState, writeState } from './state';

const DAY = 86_400_000;
/** Left to end what was begun, with repeats. */
const CLOSING_MILLISECONDS = 60_000;
const NOTHING: Counts = { checked: 0, broken: 0, missing: 0 };

/** What one run did. */
export interface AuditResult {
  readonly sample?: Counts;
  /** The pass over all as it stands, or as it ended. */
  readonly pass?: Counts;
  /** Whether it came to its end in this run. */
  readonly passEnded: boolean;
  /** Messages that are missing now and were not a pass ago; 0 until a pass ends. */
  readonly newlyMissing: number;
}

/**
 * Compares the journal with what evidence recorded: each day messages picked at random, read whole; and in each period all of
 * them by S3's own SHA-256, as many in a run as its time allows (docs/evidence.md, "The audit").
 *
 * Environment: `JOURNAL_BUCKET`, `SIGNING_KEY` (id of a KMS key), `CHAIN` (dimension of metrics), `SAMPLE`, `PERIOD_DAYS`,
 * `KEPT_DAYS` (messages that are older are not expected any more; 0: all are).
 *
 * @throws what S3 or KMS answer after repeats; the next run goes on where this one began
 */
export async function handler(
  _event: unknown,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
): Promise<AuditResult> {
  const s3 = new S3Client({ forcePathStyle: isOwnS3() });
  const kms = new KMSClient({});
  const closing = () => context.getRemainingTimeInMillis() < CLOSING_MILLISECONDS;
  const faults: string[] = [];
  const source = new BucketSource(text('JOURNAL_BUCKET'), s3);
  try {
    const newest = await newestBatch(source);
    const before = await readState(source);
    const now = source.now.getTime();
    const keptDays = wholeNumber('KEPT_DAYS');
    const audit: Audit = {
      source,
      onFault: (what) => void faults.push(what),
      // A day less: S3 deletes at midnight.
      keptFrom: keptDays === 0 ? -Infinity : now - (keptDays - 1) * DAY,
    };
    let state: AuditState = before ?? { first: new Date(now).toISOString() };
    const isDue = (time: string | undefined, days: number) =>
      time === undefined || now - Date.parse(time) >= days * DAY;

    let sample: Counts | undefined;
    if (isDue(state.sampled, 1)) {
      sample = await takeSample(audit, newest, wholeNumber('SAMPLE', 1), closing);
      state = { ...state, sampled: new Date(now).toISOString() };
      await writeState(s3, source.name, state);
    }

    let pass = state.pass;
    if (!pass && isDue(state.last?.started, wholeNumber('PERIOD_DAYS', 1))) {
      pass = { ...NOTHING, started: new Date(now).toISOString(), sequence: 1, part: 0 };
    }
    const brokenBefore = pass?.broken ?? 0;
    let passEnded = false;
    let newlyMissing = 0;
    if (pass) {
      pass = await goOn(audit, await publicKey(kms), pass, newest, closing);
      passEnded = pass.sequence > newest;
      const { started, checked, broken, missing } = pass;
      newlyMissing = passEnded ? Math.max(0, missing - (state.last?.missing ?? 0)) : 0;
      state = passEnded
        ? { ...state, pass: undefined, last: { started, checked, broken, missing } }
        : { ...state, pass };
      await writeState(s3, source.name, state);
    }
    const result = { sample, pass, passEnded, newlyMissing };
    report(result, faults, (sample?.broken ?? 0) + ((pass?.broken ?? 0) - brokenBefore), {
      sample: now - Date.parse(state.sampled!),
      pass: now - Date.parse(state.last?.started ?? state.first),
    });
    return result;
  } finally {
    s3.destroy();
    kms.destroy();
  }
}

async function publicKey(kms: KMSClient): Promise<KeyObject> {
  const { PublicKey } = await kms.send(new GetPublicKeyCommand({ KeyId: text('SIGNING_KEY') }));
  return createPublicKey({ key: Buffer.from(PublicKey!), format: 'der', type: 'spki' });
}

function report(
  { sample, pass, passEnded, newlyMissing }: AuditResult,
  faults: string[],
  broken: number,
  ages: { readonly sample: number; readonly pass: number },
): void {
  for (const fault of faults.slice(0, 100)) log({ level: 'error', fault });
  logMetrics(
    { name: 'EvidenceChain', value: text('CHAIN') },
    {
      AuditSampled: { unit: 'Count', value: sample?.checked ?? 0 },
      AuditBroken: { unit: 'Count', value: broken },
      AuditNewlyMissing: { unit: 'Count', value: newlyMissing },
      AuditSampleAge: { unit: 'Seconds', value: ages.sample / 1000 },
      AuditPassAge: { unit: 'Seconds', value: ages.pass / 1000 },
    },
    { sample, pass: pass && { checked: pass.checked, broken: pass.broken, missing: pass.missing }, passEnded },
  );
}
