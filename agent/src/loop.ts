/**
 * Repeats a task: at once, then `interval` milliseconds after each end, so that runs never overlap.
 * The task handles its own errors; one that escapes ends the process (`main.ts`), because a loop that stopped in silence
 * would be worse.
 */
export class Loop {
  private timer?: NodeJS.Timeout;
  private stopped = false;

  public constructor(
    private readonly interval: number,
    private readonly task: () => Promise<void>,
  ) {}

  public start(): this {
    void this.turn();
    return this;
  }

  /** No further run begins; one under way ends by itself. */
  public stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private async turn(): Promise<void> {
    await this.task();
    if (!this.stopped) this.timer = setTimeout(() => void this.turn(), this.interval);
  }
}
