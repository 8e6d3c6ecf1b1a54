/**
 * Runs a task with a time limit and never twice at once.
 *
 * A call to a hung NFS server can't be taken back: its thread stays in the kernel until the server answers. Were it
 * started again at each interval, it would use up Node's thread pool and with it name resolution and every other file.
 * So while an attempt is outstanding, past its limit or not, callers share that attempt.
 */
export class SingleFlight<T> {
  private outstanding?: Promise<T>;
  private expired = false;
  private startedAt = 0;

  /**
   * @param task aborts what it can when the signal fires (sockets, child processes).
   * @param limit milliseconds after which callers get an error.
   */
  public constructor(
    private readonly task: (signal: AbortSignal) => Promise<T>,
    public readonly limit: number,
  ) {}

  /** The result of the attempt under way, or of a new one. Rejects when it fails or exceeds the limit. */
  public run(): Promise<T> {
    if (this.outstanding && this.expired) return Promise.reject(new Error(this.noAnswer()));
    return (this.outstanding ??= this.start());
  }

  private start(): Promise<T> {
    const controller = new AbortController();
    this.expired = false;
    this.startedAt = performance.now();
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.expired = true;
        reject(new Error(this.noAnswer()));
        controller.abort();
      }, this.limit);
      // The chain begins with a resolved promise so that a task that throws at once is a rejection as well.
      Promise.resolve()
        .then(() => this.task(controller.signal))
        .finally(() => {
          clearTimeout(timer);
          this.outstanding = undefined;
        })
        .then(resolve, reject);
    });
  }

  private noAnswer(): string {
    return `no answer within ${this.limit} ms, waiting for ${Math.round(performance.now() - this.startedAt)} ms`;
  }
}
