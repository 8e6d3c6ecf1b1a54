import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { EvidenceReader } from '../evidence/chain/head';

/** Where the state is kept. It decides only when what is looked at again; whoever changes it makes the ages wrong, which alarms. */
const KEY = 'audit/state.json';

/** Counts of messages. */
export interface Counts {
  readonly checked: number;
  /** There, and not what was recorded; or evidence itself. */
  readonly broken: number;
  /** Not there: lost, erased, or deleted by hand. */
  readonly missing: number;
}

/** A pass over all batches, from the first to the newest. */
export interface Pass extends Counts {
  /** By S3's clock, ISO 8601. */
  readonly started: string;
  /** The batch that is next, and the part of it. */
  readonly sequence: number;
  readonly part: number;
  /** `hashOf` the batch before; nothing when it is not known. */
  readonly previous?: string;
}

/** What one run leaves for the next. */
export interface AuditState {
  /** When the first run was. */
  readonly first: string;
  /** When a sample was taken last. */
  readonly sampled?: string;
  /** The pass that is under way. */
  readonly pass?: Pass;
  /** The last one that came to its end. */
  readonly last?: Counts & { readonly started: string };
}

/** What the last run left; nothing when there was none, or it can't be read. */
export async function readState(reader: EvidenceReader): Promise<AuditState | undefined> {
  const text = await reader.read(KEY);
  try {
    return text && (JSON.parse(text.toString()) as AuditState);
  } catch {
    return undefined;
  }
}

export async function writeState(s3: S3Client, bucket: string, state: AuditState): Promise<void> {
  const Body = JSON.stringify(state);
  await s3.send(
    new PutObjectCommand({
      Bucket: bucket,
      Key: KEY,
      Body,
      ContentType: 'application/json',
      ChecksumAlgorithm: 'SHA256',
    }),
  );
}
