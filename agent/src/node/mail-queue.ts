import { ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { SingleFlight } from '../single-flight';

/** Messages that Postfix holds, in all of its queues. */
export interface QueueState {
  /** How many. */
  readonly length: number;
  /** When the oldest arrived, in seconds since 1970; undefined when the queue is empty. */
  readonly oldestArrival?: number;
}

// Listing 100 000 messages takes Postfix seconds.
const LIMIT = 15_000;

/** Postfix's queue, through its own `postqueue` command. */
export class MailQueue {
  private readonly listing = new SingleFlight((signal) => this.list(signal), LIMIT);
  private readonly flushing = new SingleFlight((signal) => this.run(['-f'], signal), LIMIT);

  /** @param command path of `postqueue`, or its name to find it on the PATH. */
  public constructor(private readonly command: string = 'postqueue') {}

  /** What is in the queue. @throws when Postfix doesn't run or doesn't answer. */
  public state(): Promise<QueueState> {
    return this.listing.run();
  }

  /** Asks Postfix to try every deferred message now. It returns before the tries are over. */
  public flush(): Promise<void> {
    return this.flushing.run();
  }

  // One JSON object a line (postqueue(1)), counted as they come: a long queue must not be held in memory.
  private async list(signal: AbortSignal): Promise<QueueState> {
    let length = 0;
    let oldestArrival: number | undefined;
    await this.run(['-j'], signal, (line) => {
      const arrival = Number(JSON.parse(line).arrival_time);
      length += 1;
      if (oldestArrival === undefined || arrival < oldestArrival) oldestArrival = arrival;
    });
    return { length, oldestArrival };
  }

  private async run(options: string[], signal: AbortSignal, onLine: (line: string) => void = () => {}): Promise<void> {
    const child = spawn(this.command, options, {
      stdio: ['ignore', 'pipe', 'pipe'],
      signal,
      killSignal: 'SIGKILL',
    });
    let complaint = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (complaint = (complaint + chunk).slice(0, 1000)));
    const ended = this.ended(child);
    // Reading may fail before the child ends; without a handler its end would then be an unhandled rejection.
    ended.catch(() => {});
    try {
      for await (const line of createInterface({ input: child.stdout })) if (line.trim()) onLine(line);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
    const status = await ended;
    if (status !== 0) {
      throw new Error(`${this.command} ${options.join(' ')} ended with ${status}: ${complaint.trim()}`);
    }
  }

  private async ended(child: ChildProcess): Promise<number | string> {
    const [code, signal] = await once(child, 'close');
    return code ?? signal;
  }
}
