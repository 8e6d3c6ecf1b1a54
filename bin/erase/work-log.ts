import { closeSync, existsSync, fsyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';

/** A version that was, or was to be, deleted; or a message that was, or was to be, left out of its pack. */
export interface Intended {
  readonly key: string;
  readonly versionId: string;
  readonly sha256?: string;
  /** Of a message in a pack: the version of the pack with it, which goes. */
  readonly pack?: { readonly key: string; readonly versionId: string };
  /** Whether it is a pack, or the index of one, that was written anew. */
  readonly rewritten?: boolean;
  /** Of a key of a sealed journal when it was to be destroyed, ISO 8601. */
  readonly at?: string;
}

/** What is about to be deleted, on disk before it is: so that a run that was killed leaves no gap in the proof. */
export class WorkLog {
  private handle?: number;

  /** @param file nothing where nothing is deleted */
  constructor(private readonly file?: string) {}

  public intend(bucket: string, entry: Intended): void {
    this.write({ bucket, ...entry });
  }

  /** Packs are written under names of their own; so that what a run left that was killed is known. */
  public make(bucket: string, packKey: string): void {
    this.write({ bucket, made: packKey });
  }

  /** Names of packs that this or earlier runs wrote, or were to. */
  public made(bucket: string): Set<string> {
    return new Set(
      this.lines().flatMap(({ bucket: where, made }) => (where === bucket && made !== undefined ? [made] : [])),
    );
  }

  /** Of this and earlier runs. A last line that is not whole was of something that is still there. */
  public intended(bucket: string): Intended[] {
    const found = new Map<string, Intended>();
    for (const { bucket: where, made, ...entry } of this.lines()) {
      if (where !== bucket || made !== undefined) continue;
      found.set(`${entry.key} ${entry.versionId} ${entry.pack?.versionId}`, entry as Intended);
    }
    return [...found.values()];
  }

  /** When the proof has all of it. */
  public end(): void {
    if (this.handle !== undefined) closeSync(this.handle);
    rmSync(this.file!, { force: true });
  }

  private write(line: Partial<Line>): void {
    this.handle ??= openSync(this.file!, 'a', 0o600);
    writeSync(this.handle, `${JSON.stringify(line)}\n`);
    fsyncSync(this.handle);
  }

  private lines(): Line[] {
    if (this.file === undefined || !existsSync(this.file)) return [];
    const lines = readFileSync(this.file, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Line);
  }
}

interface Line extends Intended {
  readonly bucket: string;
  readonly made?: string;
}
