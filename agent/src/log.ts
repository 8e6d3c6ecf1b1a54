/**
 * One line a message on standard output, with the priority prefix that journald takes from it (`man sd-daemon`), so that
 * `journalctl -p warning -u mail-agent` shows what an operator must look at.
 */
const write = (priority: number, message: string): void => {
  process.stdout.write(`<${priority}>${message.replace(/\s*[\r\n]+\s*/g, ' ')}\n`);
};

/** Where the agent's parts write; replaced in tests. */
export interface Log {
  /** The node or the agent can't do its work. */
  error(message: string): void;
  /** Something is degraded; the agent carries on. */
  warning(message: string): void;
  /** Something happened as planned. */
  info(message: string): void;
}

export const standardLog: Log = {
  error: (message) => write(3, message),
  warning: (message) => write(4, message),
  info: (message) => write(6, message),
};

/** The message of anything thrown, on one line. */
export const messageOf = (thrown: unknown): string => {
  const { message, name, cause } = (thrown ?? {}) as Partial<Error>;
  // `fetch` says "fetch failed" and hides the reason in the cause.
  const reason = (cause as Partial<Error> | undefined)?.message;
  return `${message || name || String(thrown)}${reason ? `: ${reason}` : ''}`;
};

/**
 * Logs that something broke or recovered, once for each change: parts that work every few seconds would otherwise fill
 * the journal with one fault.
 */
export class Transitions {
  private readonly broken = new Set<string>();

  public constructor(private readonly log: Log) {}

  /** Notes that `what` failed; a line is written if it worked before. */
  public failed(what: string, reason: unknown): void {
    if (this.broken.has(what)) return;
    this.broken.add(what);
    this.log.warning(`${what}: failing: ${messageOf(reason)}`);
  }

  /** Notes that `what` works; a line is written if it failed before. */
  public worked(what: string): void {
    if (this.broken.delete(what)) this.log.info(`${what}: works again`);
  }

  /** Runs `action`, notes how it went and gives its result, or undefined when it failed. */
  public async watch<T>(what: string, action: () => Promise<T>): Promise<T | undefined> {
    try {
      const result = await action();
      this.worked(what);
      return result;
    } catch (error) {
      this.failed(what, error);
      return undefined;
    }
  }
}
