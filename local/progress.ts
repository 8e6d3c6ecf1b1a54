/** Prints each step with the time that it took. Steps may overlap. */
export class Progress {
  private readonly begin = Date.now();

  /** Runs a step of minutes, announced when it begins too. */
  public async longStep<T>(title: string, work: () => Promise<T>): Promise<T> {
    process.stdout.write(`${'...'.padEnd(17)}${title}\n`);
    return this.step(title, work);
  }

  /** Runs one step; its line is printed when it ends. */
  public async step<T>(title: string, work: () => Promise<T>): Promise<T> {
    const begin = Date.now();
    try {
      const result = await work();
      this.line('ok', title, Date.now() - begin);
      return result;
    } catch (error) {
      this.line('FAILED', title, Date.now() - begin);
      throw error;
    }
  }

  /** Seconds since the run began. */
  public elapsed(): string {
    return ((Date.now() - this.begin) / 1000).toFixed(1);
  }

  private line(mark: string, title: string, milliseconds: number): void {
    process.stdout.write(`${mark.padEnd(6)} ${(milliseconds / 1000).toFixed(1).padStart(6)} s  ${title}\n`);
  }
}
