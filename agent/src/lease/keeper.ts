import { uptime } from 'node:os';
import { ControlClient } from '../control/control-client';
import { Check } from '../health/health-check';
import { Log, messageOf, Transitions } from '../log';
import { RingView, writeRing } from '../ring/ring-file';
import { Action, ImmediateAction, NodeAction, Outcome, TableAction } from './actions';
import { HeldRing } from './held-ring';
import { RingNode } from './items';
import { LeaseTable } from './lease-table';
import { Event, Membership, MembershipStatus } from './membership';

/** How often membership is told that time went on. */
const TICK = 100;

export interface LeaseKeeperOptions {
  /** Who this node is, and its view of the table; asked for again until it is known. */
  readonly join: () => Promise<{ readonly me: RingNode; readonly table: Pick<LeaseTable, 'read' | 'write'> }>;
  readonly control: Pick<
    ControlClient,
    'releaseDeliveries' | 'releaseSessions' | 'forget' | 'takeOver' | 'fence' | 'unfence' | 'alive' | 'adopt' | 'flush'
  >;
  /** All shards of the store. @default - all nodes share one store */
  readonly shards?: readonly string[];
  /** Path of the ring file. */
  readonly ringFile: string;
  /** Whether Dovecot can serve users. */
  readonly able: () => boolean;
  readonly log: Log;
  readonly transitions: Transitions;
  /** Milliseconds of this machine since its boot, with those that it was suspended. */
  readonly now?: () => number;
}

/** Has done what membership decides: the table, the ring file, the node's root helper. */
export class LeaseKeeper {
  private readonly now: () => number;
  private membership?: Membership;
  private table?: Pick<LeaseTable, 'read' | 'write'>;
  private view?: RingView;
  private timer?: NodeJS.Timeout;
  private stopped = false;
  private isDraining = false;

  public constructor(private readonly options: LeaseKeeperOptions) {
    // Not performance.now(): that clock stands still while the machine is suspended, and what others do doesn't.
    this.now = options.now ?? (() => uptime() * 1000);
  }

  public start(): void {
    // A former agent's word doesn't count any more.
    const nobody = new HeldRing('0.0.0.0').view;
    this.options.transitions.watch('ring file', async () => writeRing(this.options.ringFile, nobody));
    void this.join();
  }

  /** No further step begins. The lease isn't given up: a restarted agent takes a new one. */
  public stop(): void {
    this.stopped = true;
    clearInterval(this.timer);
  }

  /** Why the node must get no clients, for the health check. */
  public readonly check: Check = {
    name: 'lease',
    limit: 1_000,
    run: async () => {
      const reason = this.membership ? this.membership.status().reason : 'not known yet who this node is';
      if (reason !== undefined) throw new Error(reason);
    },
  };

  /** Undefined before the node knows who it is. */
  public status(): MembershipStatus | undefined {
    return this.membership?.status();
  }

  /** Milliseconds since the last successful renewal was sent; undefined without a lease. */
  public leaseAge(): number | undefined {
    const renewedAt = this.status()?.renewedAt;
    return renewedAt === undefined ? undefined : this.now() - renewedAt;
  }

  /** Gives this node's users to the others; for good. */
  public drain(): void {
    this.isDraining = true;
    this.handle({ on: 'drain' });
  }

  /** Whether a draining node is no user's home any more. */
  public hasLeft(): boolean {
    return this.status()?.left ?? false;
  }

  /** Stops the daemons and gives up the lease. Asks again; true when it is done. */
  public depart(): boolean {
    this.handle({ on: 'depart' });
    return this.status()?.over ?? false;
  }

  private async join(): Promise<void> {
    const joined = await this.options.transitions.watch('instance identity', () => this.options.join());
    if (this.stopped) return;
    if (!joined) return void setTimeout(() => void this.join(), 1_000);
    this.table = joined.table;
    this.membership = new Membership(joined.me, this.options.shards);
    if (this.isDraining) this.handle({ on: 'drain' });
    this.timer = setInterval(() => this.tick(), TICK);
    this.tick();
  }

  private tick(): void {
    this.handle({ on: 'tick' });
    this.handle({ on: 'able', able: this.options.able() });
  }

  private handle(event: Event): void {
    if (!this.membership || this.stopped) return;
    for (const action of this.membership.handle(event, this.now())) this.perform(action);
  }

  private perform(action: Action): void {
    if (action.do === 'publish' || action.do === 'log') this.performAtOnce(action);
    else void this.performFor(action);
  }

  private performAtOnce(action: ImmediateAction): void {
    if (action.do === 'log') return this.options.log[action.level](action.message);
    const before = this.view;
    this.view = action.view;
    try {
      writeRing(this.options.ringFile, action.view);
      this.options.transitions.worked('ring file');
      if (action.view.settled && before?.settled === false) void this.welcome(before.was);
    } catch (error) {
      this.options.transitions.failed('ring file', error);
      this.handle({ on: 'unpublished', reason: `the ring file can't be written: ${messageOf(error)}` });
    }
  }

  /** Users came here from the homes that they had among `before`: what dead nodes left is removed, messages that were put off are delivered. */
  private async welcome(before: readonly string[]): Promise<void> {
    const { control, transitions } = this.options;
    await transitions.watch('locks of former homes', () => control.takeOver(before));
    await transitions.watch('queue: flush', () => control.flush());
  }

  private async performFor(action: TableAction | NodeAction): Promise<void> {
    const sentAt = this.now();
    const outcome = await this.outcomeOf(action).catch((error: unknown) => {
      return { result: 'failed', reason: messageOf(error) } as const;
    });
    this.noteFault(action, outcome);
    this.handle({ on: 'outcome', action, sentAt, ...outcome });
  }

  private async outcomeOf(action: TableAction | NodeAction): Promise<Pick<Outcome, 'result' | 'reason' | 'table'>> {
    const { control } = this.options;
    switch (action.do) {
      case 'read':
        return { result: 'ok', table: await this.table!.read() };
      case 'kick-all': // the ring file gives nobody to this node then
        await control.releaseDeliveries();
        await control.releaseSessions();
        return { result: 'ok' };
      case 'end-deliveries':
        await control.releaseDeliveries();
        return { result: 'ok' };
      case 'kick':
        await control.releaseSessions();
        return { result: 'ok' };
      case 'forget':
        await control.forget();
        return { result: 'ok' };
      case 'stop':
        await control.fence();
        return { result: 'ok' };
      case 'start':
        await control.unfence();
        return { result: 'ok' };
      case 'alive':
        await control.alive(action.deadline);
        return { result: 'ok' };
      case 'adopt':
        this.options.log.info(`adopting the queue of ${action.peer.id}: ${await control.adopt(action.peer.id)}`);
        return { result: 'ok' };
      default:
        return { result: (await this.table!.write(action)) ? 'ok' : 'refused' };
    }
  }

  /** Faults that come once a second are logged when they begin and when they end; the others by membership. */
  private noteFault(action: TableAction | NodeAction, { result, reason }: Pick<Outcome, 'result' | 'reason'>): void {
    const what = REPEATED[action.do];
    if (what === undefined) return;
    if (result === 'failed') this.options.transitions.failed(what, reason);
    else this.options.transitions.worked(what);
  }
}

const REPEATED: { readonly [what in Action['do']]?: string } = {
  read: 'lease table: read',
  renew: 'lease table: renewal',
  register: 'lease table: registration',
  'write-ring': 'lease table: new ring',
  'fence-peer': 'lease table: fence',
  go: 'lease table: farewell',
  alive: "the store's switch",
  'end-deliveries': 'end of deliveries to users who moved',
  kick: 'end of moved sessions',
  forget: 'forgetting of mailboxes that moved',
  'kick-all': 'end of all sessions',
};
