/** How a client was served over time. */
export class Attendance {
  private readonly asked: number[] = [];
  private readonly served: number[] = [];
  private readonly broken: { at: number; why: string }[] = [];

  /** @param polls whether the client asks all the time, so that silence means that it is not served */
  constructor(
    public readonly protocol: 'IMAP' | 'SMTP',
    public readonly polls: boolean,
    /** What the client does, for people. */
    public readonly name: string,
  ) {}

  /** The client begins to ask for something, be it by a new connection. */
  public ask(): void {
    this.asked.push(Date.now());
  }

  /** The server did what it was asked for. */
  public ok(): void {
    this.served.push(Date.now());
  }

  /** A connection ended, or the server refused. */
  public fail(why: string): void {
    this.broken.push({ at: Date.now(), why });
  }

  /** What went wrong after a moment, a line each. */
  public failures(after: number): string[] {
    return this.broken.filter(({ at }) => at > after).map(({ at, why }) => `${new Date(at).toISOString()} ${why}`);
  }

  /**
   * Seconds for which the client was not served after a fault and before the end, at the longest: from when it first asked in
   * vain, or lost its connection, to its next success. Who only waits asks all the time: from the fault on.
   * Undefined when it noticed nothing: no connection broke, and no reply took longer than `patience` seconds.
   *
   * @param silent whether a connection may be dead without a word; otherwise who waits is served until it is closed
   */
  public gap(fault: number, end: number, silent: boolean, patience = 2): number | undefined {
    let longest: number | undefined;
    let last = this.served.filter((at) => at <= fault).at(-1) ?? fault;
    for (const moment of [...this.served.filter((at) => at > fault && at <= end), end]) {
      const first = (times: number[]) => times.find((at) => at > last && at <= moment) ?? Infinity;
      const broken = first(this.broken.map(({ at }) => at));
      const asked = this.polls ? first(this.asked) : silent ? last : Infinity;
      const seconds = (moment - Math.max(fault, Math.min(moment, broken, asked))) / 1000;
      const interrupted = broken < Infinity || (this.polls && seconds > patience);
      // At the end it may just be between two requests.
      if (interrupted && (moment !== end || seconds > patience)) longest = Math.max(longest ?? 0, seconds);
      last = moment;
    }
    return longest;
  }

  /** Forgets what was before a moment. */
  public forget(before: number): void {
    drop(this.asked, (at) => at < before);
    drop(this.served, (at) => at < before);
    drop(this.broken, ({ at }) => at < before);
  }
}

/** The value below which a share of the values lies; 0 for no values. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

/** Removes the items at the front that are of no use any more. */
function drop<T>(items: T[], old: (item: T) => boolean): void {
  const kept = items.findIndex((item) => !old(item));
  items.splice(0, kept < 0 ? items.length : kept);
}
