import { hourAt, hourOf, JOURNAL } from './chain/entry';
import { CoveredHour } from './covered';
import { JournalBucket, JournalVersion } from './journal-bucket';

/** How far a run looks. */
export interface ScanRange {
  /** Hours before the present one that every run looks at. */
  readonly recentHours: number;
  /** Versions that a run looks at in the sweep over the whole journal, which finds what came later than that. */
  readonly sweepVersions: number;
}

/**
 * Versions in the journal that no batch attests: first those of the recent hours, then, going on from `sweptTo`, some
 * of all others. By S3's clock, so it does not matter what the clocks of writers and of this function say; an hour
 * ahead is looked at for writers whose clock is fast.
 *
 * Sorted by key within an hour. Memory does not grow with the journal.
 */
export class Scan {
  /** Where the next sweep goes on; nothing when this one came to the end. Valid when the scan is through. */
  public sweptTo: string | null;

  constructor(
    private readonly bucket: JournalBucket,
    private readonly newestBatch: number,
    private readonly range: ScanRange,
    sweptTo: string | null,
    private readonly onStray: (key: string) => void,
  ) {
    this.sweptTo = sweptTo;
  }

  public async *uncovered(): AsyncGenerator<JournalVersion> {
    const hours = this.recentHours();
    for (const hour of hours) {
      yield* this.withoutCovered(this.bucket.versions(`${JOURNAL}${hour}/`));
    }
    yield* this.withoutCovered(this.sweep(new Set(hours)));
  }

  private recentHours(): string[] {
    const first = this.bucket.now.getTime() - this.range.recentHours * 3_600_000;
    return Array.from({ length: this.range.recentHours + 2 }, (_, index) =>
      hourAt(new Date(first + index * 3_600_000)),
    );
  }

  private async *sweep(without: Set<string>): AsyncGenerator<JournalVersion> {
    let seen = 0;
    let last: string | null = null;
    for await (const version of this.bucket.versions(JOURNAL, this.sweptTo ?? undefined)) {
      // Not between two versions of one key: the next sweep begins after the key.
      if (seen >= this.range.sweepVersions && version.key !== last) {
        this.sweptTo = last;
        return;
      }
      seen++;
      last = version.key;
      if (!without.has(hourOf(version.key) ?? '')) {
        yield version;
      }
    }
    this.sweptTo = null;
  }

  private async *withoutCovered(versions: AsyncGenerator<JournalVersion>): AsyncGenerator<JournalVersion> {
    let hour: string | undefined;
    let covered: CoveredHour | undefined;
    let key: string | undefined;
    let known = new Map<string, string>();
    for await (const version of versions) {
      const itsHour = hourOf(version.key);
      if (itsHour === undefined) {
        this.onStray(version.key);
        continue;
      }
      if (!covered || itsHour !== hour) {
        hour = itsHour;
        covered = await CoveredHour.open(this.bucket, hour, this.newestBatch);
      }
      if (version.key !== key) {
        key = version.key;
        known = await covered.versionsOf(key);
      }
      if (!known.has(version.versionId)) {
        yield version;
      }
    }
  }
}
