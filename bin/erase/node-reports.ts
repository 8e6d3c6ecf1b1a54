import { BucketSource } from '../../handlers/evidence/evidence-source';
import type { NodeReport } from './proof';

/** What a node stores of somebody's mail by itself, whenever it is another than before (assets/node/libexec/erase). */
export interface StoredReport extends NodeReport {
  /** Name of the node's queue, which is its own for ever; another node may adopt what is in it. */
  readonly queue: string;
  /** All queues on the node's store. */
  readonly queues: readonly string[];
  /** Shard whose store it has; null where all nodes share one. */
  readonly shard: string | null;
  readonly shards: readonly string[];
}

/**
 * The latest report of each node that there must be one of: of each queue on each store.
 *
 * @param since earlier ones count for nothing
 * @throws when one is missing, or when queues have changed hands and not all nodes have told since
 */
export async function storedReports(source: BucketSource, subject: string, since: Date): Promise<StoredReport[]> {
  const found: StoredReport[] = [];
  for (const folder of await source.children(`erasure/${subject}/`)) {
    // Names end with the time.
    const latest = (await source.children(folder)).at(-1);
    const report = latest && parse(latest, await source.read(latest));
    if (report && Date.parse(report.at) >= since.getTime()) found.push(report);
  }
  const newest = latestOf(found);
  if (!newest) {
    throw new Error(
      `no node has stored a report in s3://${source.name} yet; nodes do within half an hour of ${since.toISOString()}, and ` +
        'for 30 days; else bring them with --node-report',
    );
  }
  const shards = newest.shards.length > 0 ? newest.shards : [null];
  return shards.flatMap((shard) => {
    const ofStore = found.filter((report) => report.shard === shard);
    const last = latestOf(ofStore);
    if (!last) throw new Error(`${shard} has not reported; run this again when its node serves`);
    return last.queues.map((queue) => {
      const report = ofStore.find((one) => one.queue === queue);
      if (!report) {
        throw new Error(
          `the node with the queue ${queue} has not reported; run this again in half an hour, or look on a node what ` +
            `/srv/mail-store/queue/${queue} has`,
        );
      }
      // It may have adopted a queue after it told what it has.
      if (report.queues.join() !== last.queues.join()) {
        throw new Error(
          `the node with the queue ${queue} has not reported since nodes changed; run this again in half an hour`,
        );
      }
      return report;
    });
  });
}

function parse(key: string, content?: Buffer): StoredReport | undefined {
  if (!content) return undefined;
  try {
    const report = JSON.parse(content.toString()) as StoredReport;
    const [, subject, queue] = key.split('/');
    if (report.subject === subject && report.queue === queue && Array.isArray(report.queues)) return report;
  } catch {
    // Told below.
  }
  throw new Error(`${key} is not what a node reports`);
}

function latestOf(reports: readonly StoredReport[]): StoredReport | undefined {
  return [...reports].sort((one, other) => Date.parse(one.at) - Date.parse(other.at)).at(-1);
}
