import { batchOfPart, Part, parseEntry, partLines, partsOfHour } from './chain/entry';
import { EvidenceReader } from './chain/head';
import { manifestKey, parseManifest } from './chain/manifest';

/**
 * What batches have attested of one hour of the journal. It is read along with a listing that is sorted by key, and
 * holds one part of each batch that touched the hour.
 */
export class CoveredHour {
  private constructor(private readonly cursors: Cursor[]) {}

  /** @throws when a batch or a part of it is missing or was changed */
  public static async open(reader: EvidenceReader, hour: string, newest: number): Promise<CoveredHour> {
    const folder = partsOfHour(hour);
    const written = (await reader.children(folder)).map(batchOfPart);
    // A part is written before its batch: those of a batch that was never made count for nothing.
    const batches = [...new Set(written)].filter((batch) => batch !== undefined && batch <= newest) as number[];
    const cursors: Cursor[] = [];
    for (const batch of batches) {
      const text = await reader.read(manifestKey(batch));
      if (!text) {
        throw new Error(`batch ${batch} is missing`);
      }
      const { manifest } = parseManifest(text.toString(), batch);
      const parts = manifest.parts.filter(({ key }) => key.startsWith(folder));
      cursors.push(new Cursor(entriesOf(reader, parts)));
    }
    return new CoveredHour(cursors);
  }

  /** Versions of a key that are attested, each with its SHA-256. Ask for keys in ascending order only. */
  public async versionsOf(key: string): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (const cursor of this.cursors) {
      for (const { versionId, sha256 } of await cursor.versionsOf(key)) {
        found.set(versionId, sha256);
      }
    }
    return found;
  }
}

/** A place in the sorted entries of one batch. */
class Cursor {
  private current?: Known;
  private started = false;

  constructor(private readonly entries: AsyncGenerator<Known>) {}

  public async versionsOf(key: string): Promise<Known[]> {
    if (!this.started) {
      this.started = true;
      await this.advance();
    }
    while (this.current && this.current.key < key) {
      await this.advance();
    }
    const found: Known[] = [];
    while (this.current?.key === key) {
      found.push(this.current);
      await this.advance();
    }
    return found;
  }

  private async advance(): Promise<void> {
    this.current = (await this.entries.next()).value;
  }
}

interface Known {
  readonly key: string;
  readonly versionId: string;
  readonly sha256: string;
}

async function* entriesOf(reader: EvidenceReader, parts: Part[]): AsyncGenerator<Known> {
  for (const part of parts) {
    for (const line of partLines(part, await reader.read(part.key))) {
      yield parseEntry(line);
    }
  }
}
