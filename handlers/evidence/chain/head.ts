import { BATCHES, sequenceOf } from './manifest';

/** A bucket, or a folder with a copy of it. */
export interface EvidenceReader {
  /** An object whole; nothing when it is not there. */
  read(key: string): Promise<Buffer | undefined>;
  /** Keys directly below a folder, and folders below it with a slash at the end, sorted. */
  children(folder: string): Promise<string[]>;
}

/** Sequence of the newest batch, 0 when there is none. */
export async function newestBatch(reader: EvidenceReader): Promise<number> {
  let folder = BATCHES;
  for (;;) {
    const last = (await reader.children(folder)).at(-1);
    if (last === undefined) {
      return 0;
    }
    if (!last.endsWith('/')) {
      const sequence = sequenceOf(last);
      if (sequence === undefined) {
        throw new Error(`${last} does not belong among the batches; remove it`);
      }
      return sequence;
    }
    folder = last;
  }
}
