import { messageOf, Transitions } from '../log';
import { Loop } from '../loop';
import { SingleFlight } from '../single-flight';

/** One thing that must work for the node to get clients. */
export interface Check {
  /** Its key in the health body. */
  readonly name: string;
  /** Milliseconds after which it counts as failed. */
  readonly limit: number;
  /** Rejects with the reason when the thing doesn't work. Ends early by the signal where it can. */
  run(signal: AbortSignal): Promise<void>;
}

/** How a check went, as the health body shows it. */
export interface CheckResult {
  readonly ok: boolean;
  /** How long it took. */
  readonly milliseconds: number;
  /** Why it isn't ok. */
  readonly reason?: string;
}

export interface HealthCheckOptions {
  readonly check: Check;
  readonly transitions: Transitions;
  /** Milliseconds between the end of a run and the next. @default 2000 */
  readonly interval?: number;
  /** Milliseconds after which a result says nothing any more. @default 10000 */
  readonly shelfLife?: number;
  /** Milliseconds of a clock that never goes back. @default performance.now */
  readonly now?: () => number;
}

/** Runs one check again and again, apart from the requests that ask for its result. */
export class HealthCheck {
  public readonly name: string;
  private readonly flight: SingleFlight<void>;
  private readonly loop: Loop;
  private readonly transitions: Transitions;
  private readonly shelfLife: number;
  private readonly now: () => number;
  private latest?: CheckResult & { readonly at: number };

  public constructor({ check, transitions, interval = 2_000, shelfLife = 10_000, now }: HealthCheckOptions) {
    this.name = check.name;
    this.transitions = transitions;
    this.shelfLife = shelfLife;
    this.now = now ?? (() => performance.now());
    this.flight = new SingleFlight((signal) => check.run(signal), check.limit);
    this.loop = new Loop(interval, () => this.measure());
  }

  public start(): void {
    this.loop.start();
  }

  public stop(): void {
    this.loop.stop();
  }

  /** The latest result; failing when there is none yet or it is too old. */
  public result(): CheckResult {
    if (!this.latest) return { ok: false, milliseconds: 0, reason: 'not checked yet' };
    const { at, ...result } = this.latest;
    const age = Math.round(this.now() - at);
    if (age <= this.shelfLife) return result;
    return { ...result, ok: false, reason: `last checked ${age} ms ago` };
  }

  /** Runs the check once and keeps its result. */
  public async measure(): Promise<void> {
    const started = this.now();
    const elapsed = () => Math.round((this.now() - started) * 10) / 10;
    const reason = await this.flight.run().then(
      () => undefined,
      (error: unknown) => messageOf(error),
    );
    this.latest = {
      ok: reason === undefined,
      milliseconds: elapsed(),
      ...(reason !== undefined && { reason }),
      at: this.now(),
    };
    if (reason === undefined) this.transitions.worked(`check ${this.name}`);
    else this.transitions.failed(`check ${this.name}`, reason);
  }
}
