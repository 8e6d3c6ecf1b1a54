import { Log, Transitions } from '../log';
import { Loop } from '../loop';
import { LifecyclePhase } from './lifecycle';
import { Notice } from './notices';

/** What a drain asks of the node and of AWS. */
export interface DrainActions {
  /** Reads whether the node shall end. */
  notice(): Promise<Notice | undefined>;
  /** Makes the health check fail, so that no new clients come, and gives this node's users to the others. */
  refuseClients(): void;
  /** Whether other nodes serve this node's users. */
  hasLeft(): boolean;
  /** Clients' connections that are left. */
  connections(): Promise<number>;
  /** Messages that are left in the queue. */
  queueLength(): Promise<number>;
  /** Has the queue tried now. */
  flushQueue(): Promise<void>;
  /** Where the instance stands at the lifecycle hook. */
  phase(): Promise<LifecyclePhase>;
  /** Starts the hook's time-out anew. */
  heartbeat(): Promise<void>;
  /** Stops the mail daemons and gives up the lease; true when that is done. Asked again until then. */
  depart(): boolean;
  /** Answers the hook. */
  complete(): Promise<void>;
}

export interface DrainOptions {
  readonly actions: DrainActions;
  readonly log: Log;
  readonly transitions: Transitions;
  /** Longest wait for connections and queue together, in seconds. */
  readonly limitSeconds: number;
  /** Milliseconds between looks. @default 5000 */
  readonly interval?: number;
  /** Milliseconds of a clock that never goes back. @default performance.now */
  readonly now?: () => number;
  /** Milliseconds since 1970. @default Date.now */
  readonly wallClock?: () => number;
}

/** Auto Scaling takes hook time-outs from 30 s; the agent doesn't know this hook's. */
const HEARTBEAT_EVERY = 20_000;
/** The balancer sends clients until two of its checks, 5 s apart and up to 2 s long, have failed. */
const BALANCER_NOTICES = 15_000;
/** How long a node without a way to the lease table tries to give up its lease. Others fence it in any case. */
const FAREWELL = 30_000;
/** What is left of a Spot interruption's two minutes for the shutdown itself. */
const SPOT_RESERVE = 10_000;

/**
 * Empties the node when it shall end: no new clients, its users to the others, wait for the connections that are open
 * and for the queue, give up the lease, let Auto Scaling go on.
 *
 * Each look decides from what the metadata and Auto Scaling say now; a restarted agent goes on where the last one was,
 * only with its waiting time anew. Waiting is a courtesy: the queue is on the shared store and another node adopts
 * what is left of it, so nothing is lost when the time is up or the hook's default result comes first.
 */
export class Drain {
  /** Resolves when the first look is over: whether the node drains is known then. */
  public readonly looked: Promise<void>;
  private readonly loop: Loop;
  private readonly now: () => number;
  private readonly wallClock: () => number;
  private deadline?: number;
  private earliest = 0;
  private heartbeatAt = -Infinity;
  private connectionsGone = false;
  private emptied = false;
  private departed = false;
  private departBy = Infinity;
  private over = false;

  public constructor(private readonly options: DrainOptions) {
    let looked = () => {};
    this.looked = new Promise((resolve) => (looked = resolve));
    this.loop = new Loop(options.interval ?? 5_000, () => this.look().finally(looked));
    this.now = options.now ?? (() => performance.now());
    this.wallClock = options.wallClock ?? (() => Date.now());
  }

  public start(): void {
    this.loop.start();
  }

  public stop(): void {
    this.loop.stop();
  }

  /** Looks once and does what is due. What fails is logged on change and tried again at the next look. */
  public async look(): Promise<void> {
    const { actions, transitions } = this.options;
    const notice = await transitions.watch('instance metadata', () => actions.notice());
    if (notice) await this.begin(notice);
    if (this.deadline === undefined) return;

    if (!this.emptied) await this.empty();
    if (this.emptied && !this.departed) this.depart();
    if (notice?.lifecycle && !this.over) await transitions.watch('lifecycle hook', () => this.answerHook());
  }

  private async begin(notice: Notice): Promise<void> {
    const { actions, log, limitSeconds } = this.options;
    const first = this.deadline === undefined;
    this.deadline ??= this.now() + limitSeconds * 1000;
    if (notice.endsAt !== undefined) {
      this.deadline = Math.min(this.deadline, this.now() + notice.endsAt - this.wallClock() - SPOT_RESERVE);
    }
    if (!first) return;
    actions.refuseClients();
    this.earliest = this.now() + BALANCER_NOTICES;
    const seconds = Math.max(0, Math.round((this.deadline - this.now()) / 1000));
    log.info(`draining: ${notice.reason}; waiting up to ${seconds} s for connections and queue`);
    await this.flush();
  }

  private async empty(): Promise<void> {
    const { actions, log, transitions } = this.options;
    const connections = await transitions.watch('drain: connections', () => actions.connections());
    if (connections === 0 && !this.connectionsGone) {
      this.connectionsGone = true;
      // Nothing comes in any more: what was deferred since the first flush gets its last try here.
      await this.flush();
    }
    const messages = await transitions.watch('drain: queue', () => actions.queueLength());

    const hasLeft = actions.hasLeft();
    const users = hasLeft ? '' : ', its users still its own';
    const left = `${connections ?? 'unknown'} connections and ${messages ?? 'unknown'} queued messages left${users}`;
    const now = this.now();
    if (hasLeft && connections === 0 && messages === 0 && now >= Math.min(this.earliest, this.deadline!))
      log.info(`drained: ${left}`);
    else if (now >= this.deadline!) log.warning(`drain time is up: ${left}; another node takes them over`);
    else return;
    this.emptied = true;
    this.departBy = now + FAREWELL;
  }

  private depart(): void {
    this.departed = this.options.actions.depart();
    if (this.departed || this.now() < this.departBy) return;
    this.departed = true;
    this.options.log.warning('the lease is not given up in time; others fence the node');
  }

  private async flush(): Promise<void> {
    await this.options.transitions.watch('drain: flush', () => this.options.actions.flushQueue());
  }

  private async answerHook(): Promise<void> {
    const { actions, log } = this.options;
    // Don't ask Auto Scaling more often than needed while clients are still there.
    if (!this.departed && this.now() < this.heartbeatAt + HEARTBEAT_EVERY) return;
    const phase = await actions.phase();
    if (phase === 'before') return;
    if (phase === 'waiting' && !this.departed) {
      await actions.heartbeat();
      this.heartbeatAt = this.now();
      return;
    }
    if (phase === 'waiting') await actions.complete();
    this.over = true;
    log.info(phase === 'waiting' ? 'lifecycle hook answered: CONTINUE' : 'no lifecycle action waits for an answer');
  }
}
