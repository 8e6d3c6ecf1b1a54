import { closeSync, existsSync, fsyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';

/** A version that was, or was to be, deleted. */
export interface Intended {
  readonly key: string;
  readonly versionId: string;
  readonly sha256?: string;
}

/** What is about to be deleted, on disk before it is: so that a run that was killed leaves no gap in the proof. */
export class WorkLog {
  private handle?: number;

  /** @param file nothing where nothing is deleted */
  constructor(private readonly file?: string) {}

  public intend(bucket: string, entry: Intended): void {
    this.handle ??= openSync(this.file!, 'a', 0o600);
    writeSync(this.handle, `${JSON.stringify({ bucket, ...entry })}\n`);
    fsyncSync(this.handle);
  }

  /** Of earlier runs. A last line that is not whole was of something that is still there. */
  public intended(bucket: string): Intended[] {
    if (this.file === undefined || !existsSync(this.file)) return [];
    const found = new Map<string, Intended>();
    for (const line of readFileSync(this.file, 'utf8').split('\n').slice(0, -1)) {
      const { bucket: where, ...entry } = JSON.parse(line) as Intended & { bucket: string };
      if (where === bucket) found.set(`${entry.key} ${entry.versionId}`, entry);
    }
    return [...found.values()];
  }

  /** When the proof has all of it. */
  public end(): void {
    if (this.handle !== undefined) closeSync(this.handle);
    rmSync(this.file!, { force: true });
  }
}
