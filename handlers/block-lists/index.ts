import { KMSClient } from '@aws-sdk/client-kms';
import { GetObjectCommand, PutObjectCommand, S3Client, S3ServiceException } from '@aws-sdk/client-s3';
import { text, wholeNumber } from '../support/environment';
import { log, logMetrics } from '../support/log';
import { isOwnS3 } from '../support/s3-endpoint';
import { checkNetworks } from './check';
import { BlockDocument, CheckedList, openDocument, signDocument } from './document';
import { BlockListSource, readSource, RefusedListError } from './source';

/** What a run did. */
export interface BlockListsResult {
  /** Networks in all lists. */
  readonly networks: number;
  /** Lists that were fetched and refused. */
  readonly refused: number;
  /** Lists that did not come. */
  readonly missed: number;
}

/**
 * Fetches the block lists, checks them, and stores them signed for nodes to pull (docs/block-lists.md). A list that does not come,
 * or that can't be meant, stays as it was before, with the time that it had.
 *
 * Environment: `BUCKET`, `OBJECT_KEY`, `SIGNING_KEY` (id of a KMS key), `PUBLIC_KEY` (its public half, DER, base64), `LISTS`
 * (JSON, `BlockListSource[]`), `PROTECTED` (ranges with blanks between), `GROWTH_MAX` (percent), `BLOCK_LISTS` (dimension of
 * metrics).
 *
 * @throws what S3 or KMS answer after repeats; nodes keep what they have
 */
export async function handler(): Promise<BlockListsResult> {
  const s3 = new S3Client({ forcePathStyle: isOwnS3() });
  const kms = new KMSClient({});
  const place = { Bucket: text('BUCKET'), Key: text('OBJECT_KEY') };
  try {
    const before = await read(s3, place);
    const sources = JSON.parse(text('LISTS')) as BlockListSource[];
    const outcomes = await Promise.all(sources.map((source) => refresh(source, listIn(before, source))));
    const lists = outcomes.map(({ list }) => list);
    const now = seconds();
    // Never earlier than the one before, or nodes would not take it.
    const document = { made: Math.max(now, (before?.made ?? 0) + 1), lists };
    const Body = await signDocument(kms, text('SIGNING_KEY'), document);
    await s3.send(new PutObjectCommand({ ...place, Body, ContentType: 'application/jsonl' }));

    const result = {
      networks: lists.reduce((sum, { networks }) => sum + networks.length, 0),
      refused: outcomes.filter(({ problem }) => problem === 'refused').length,
      missed: outcomes.filter(({ problem }) => problem === 'missed').length,
    };
    report(result, outcomes, now);
    return result;
  } finally {
    s3.destroy();
    kms.destroy();
  }
}

interface Outcome {
  readonly list: CheckedList;
  /** @default - none */
  readonly problem?: 'refused' | 'missed';
}

async function refresh(source: BlockListSource, before?: CheckedList): Promise<Outcome> {
  const { name, least = 1 } = source;
  try {
    const networks = checkNetworks(await readSource(source), {
      least,
      protectedRanges: (process.env.PROTECTED ?? '').split(' ').filter(Boolean),
      growthMax: wholeNumber('GROWTH_MAX'),
      before: before?.networks.length || undefined,
    });
    log({ level: 'info', list: name, networks: networks.length });
    return { list: { name, fetched: seconds(), networks } };
  } catch (error) {
    const problem = error instanceof RefusedListError ? 'refused' : 'missed';
    const reason = error instanceof Error ? error.message : `${error}`;
    const since = before && new Date(before.fetched * 1000).toISOString();
    const kept = before?.networks.length ? `the list of ${since} stays` : 'there is none yet';
    log({ level: 'error', list: name, problem, reason, kept });
    // One that has never come is as old as the first attempt.
    return { list: before ?? { name, fetched: seconds(), networks: [] }, problem };
  }
}

/** What nodes have now; nothing when there is none, or when somebody else wrote it. */
async function read(s3: S3Client, place: { Bucket: string; Key: string }): Promise<BlockDocument | undefined> {
  let stored: string;
  try {
    const { Body } = await s3.send(new GetObjectCommand(place));
    stored = await Body!.transformToString();
  } catch (error) {
    if (error instanceof S3ServiceException && error.name === 'NoSuchKey') {
      return undefined;
    }
    throw error;
  }
  try {
    return openDocument(stored, text('PUBLIC_KEY'));
  } catch (error) {
    log({ level: 'error', object: place.Key, problem: 'not ours', reason: (error as Error).message });
    return undefined;
  }
}

function listIn(document: BlockDocument | undefined, { name }: BlockListSource): CheckedList | undefined {
  return document?.lists.find((list) => list.name === name);
}

function report({ networks, refused, missed }: BlockListsResult, outcomes: Outcome[], now: number): void {
  const ages = outcomes.map(({ list }) => now - list.fetched);
  logMetrics(
    { name: 'BlockLists', value: text('BLOCK_LISTS') },
    {
      BlockListNetworks: { unit: 'Count', value: networks },
      BlockListsRefused: { unit: 'Count', value: refused },
      BlockListsMissed: { unit: 'Count', value: missed },
      BlockListAge: { unit: 'Seconds', value: Math.max(0, ...ages) },
    },
    {},
  );
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
