import { Action, Outcome } from './actions';
import { Adoption } from './adoption';
import { HeldRing } from './held-ring';
import { isActive, isClaimAlive, NodeItem, RingNode, TableView } from './items';
import { PeerWatch } from './peer-watch';
import { isRingDue, nextRing, othersInRing } from './ring-plan';
import { Schedule } from './schedule';
import { TIMES } from './times';

/** What happens to membership. */
export type Event =
  /** Time went on. */
  | { readonly on: 'tick' }
  /** An action is over. */
  | ({ readonly on: 'outcome' } & Outcome)
  /** Whether Dovecot can serve users. */
  | { readonly on: 'able'; readonly able: boolean }
  /** The ring file can't be written. */
  | { readonly on: 'unpublished'; readonly reason: string }
  /** The node shall end: it gives its users away. */
  | { readonly on: 'drain' }
  /** Users and clients are gone: the node gives up its lease. */
  | { readonly on: 'depart' };

/** What membership looks like from outside. */
export interface MembershipStatus {
  /** Why this node must get no clients; undefined when it may. */
  readonly reason?: string;
  /** When the last successful renewal was sent; undefined without a lease. */
  readonly renewedAt?: number;
  /** A draining node that is no user's home any more, and will not be again. */
  readonly left: boolean;
  /** The node has given up its lease for good. */
  readonly over: boolean;
  readonly ringVersion: number;
  /** Nodes in the ring. */
  readonly members: number;
  /** Leases that were lost since the agent started. */
  readonly losses: number;
  /** Queues that were adopted since the agent started. */
  readonly adoptions: number;
}

interface Lease {
  readonly epoch: number;
  /** When the reply to the registration came: what was read before says nothing of this lease. */
  readonly since: number;
  /** When the last successful renewal was sent. */
  renewedAt: number;
  /** The daemons were started under this lease. */
  started: boolean;
  /** Dovecot was ready under this lease. */
  served: boolean;
  /** The ring was left because Dovecot failed. */
  failed: boolean;
}

/**
 * This node's lease and its part in the ring, as a machine without clock, network or files: events and the time go in,
 * actions come out. `docs/one-writer.md` says why it is right; `agent/test/lease/simulation.test.ts` tries to break it.
 *
 * Time is this machine's own, in milliseconds, and goes on while the machine is suspended.
 */
export class Membership {
  private readonly peers = new PeerWatch();
  private readonly adoption = new Adoption();
  private lease?: Lease;
  private ring: HeldRing;
  private actions: Action[] = [];
  private readonly schedule = new Schedule<Action['do']>();
  /** How it was made sure, since the last lease, that no mail is open: sessions ended, or all daemons killed. */
  private quiet: 'no' | 'kicked' | 'stopped' = 'no';
  /** This node may remember mailboxes that moved away as they were: nobody may come back before it has forgotten them. */
  private remembers = false;
  /** The daemons may still work under the lease of the last agent: sessions are ended, the queue goes on. */
  private newAgent = true;
  private able = false;
  private ableChangedAt = 0;
  private ringTakenAt = 0;
  /** Some node is about to join or to leave the ring. */
  private ringIsDue = false;
  private draining = false;
  private departing = false;
  private over = false;
  private losses = 0;
  private why = 'the agent has just started';

  /**
   * @param me this node, by its EC2 instance id
   * @param shards all shards of the store; undefined where all nodes share one
   */
  public constructor(
    private readonly me: RingNode,
    private readonly shards?: readonly string[],
  ) {
    this.ring = new HeldRing(me.address, shards);
    this.publish();
  }

  /** Takes one event and gives what is to be done, in order. */
  public handle(event: Event, now: number): Action[] {
    // First, or a node that was frozen would go on with what it had begun; but the event may be the renewal that
    // makes the lease good.
    const isRenewal = event.on === 'outcome' && event.action.do === 'renew' && event.result === 'ok';
    if (!isRenewal) this.expire(now);
    this.take(event, now);
    this.expire(now);
    if (!this.over) this.proceed(now);
    return this.actions.splice(0);
  }

  public status(): MembershipStatus {
    const { version, nodes } = this.ring.view;
    return {
      reason: this.reason(),
      renewedAt: this.lease?.renewedAt,
      left: this.over || this.departing || (this.draining && this.hasLeft()),
      over: this.over,
      ringVersion: version,
      members: nodes.length,
      losses: this.losses,
      adoptions: this.adoption.count,
    };
  }

  private expire(now: number): void {
    if (!this.lease || now - this.lease.renewedAt <= TIMES.hold) return;
    this.lose(`the last renewal was sent ${Math.round(now - this.lease.renewedAt)} ms ago`, now);
  }

  private reason(): string | undefined {
    const { version, nodes } = this.ring.view;
    if (this.over || this.departing) return 'the node gives up its lease';
    if (!this.lease) return `no lease: ${this.why}`;
    if (version === 0) return 'no ring was seen under this lease yet';
    if (nodes.includes(this.me.address)) {
      // Later rings settle while the node serves; the first must before it does.
      return this.ring.hasServed ? undefined : `ring ${version} is not settled yet`;
    }
    if (this.draining) return 'the node has left the ring';
    return this.able ? 'the node is about to join the ring' : 'not in the ring: Dovecot is not ready';
  }

  private hasLeft(): boolean {
    const { version, settled, nodes } = this.ring.view;
    return this.lease ? version > 0 && settled && !nodes.includes(this.me.address) : this.quiet === 'stopped';
  }

  private take(event: Event, now: number): void {
    switch (event.on) {
      case 'able':
        if (event.able !== this.able) this.ableChangedAt = now;
        this.able = event.able;
        if (this.able && this.lease?.started) this.lease.served = true;
        break;
      case 'drain':
        if (!this.draining) this.schedule.set('renew');
        this.draining = true;
        break;
      case 'depart':
        if (this.lease && !this.departing) this.withdraw(now);
        this.draining = true;
        this.departing = true;
        break;
      case 'unpublished':
        if (this.lease) this.lose(event.reason, now);
        break;
      case 'outcome':
        this.schedule.end(event.action.do);
        if (!this.over) this.outcome(event, now);
    }
  }

  private outcome(event: Outcome, now: number): void {
    const { action, result, sentAt, reason } = event;
    const ok = result === 'ok';
    switch (action.do) {
      case 'read':
        if (event.table) this.observe(event.table, sentAt, now);
        else this.why = `the lease table can't be read: ${reason}`;
        break;
      case 'register':
        if (ok) this.hold(action.epoch, sentAt, now);
        else this.why = `the registration was ${result}: ${reason}`;
        this.schedule.set('read');
        break;
      case 'renew':
        if (this.lease?.epoch === action.epoch) this.renewed(event, now);
        break;
      case 'go':
        // Refused: others have fenced the node, and its daemons are down already.
        if (result !== 'failed') this.finish('given up');
        break;
      case 'fence-peer':
        if (ok)
          this.log('warning', `fenced ${action.peer.id}, epoch ${action.peer.epoch}: it has not renewed its lease`);
        this.schedule.set('read');
        break;
      case 'write-ring':
        this.schedule.set('read');
        break;
      case 'end-deliveries':
        if (ok) this.ring.makeReady(action.view.version);
        this.schedule.set(ok ? 'renew' : 'end-deliveries', ok ? now : now + TIMES.eagerRead);
        break;
      case 'kick':
        if (ok) {
          this.ring.finish(action.view.version, now);
          this.remembers = true;
        }
        this.schedule.set(ok ? 'renew' : 'kick', ok ? now : now + TIMES.eagerRead);
        break;
      case 'kick-all':
        if (ok) {
          this.quiet = 'kicked';
          this.remembers = true;
        }
        this.newAgent = false;
        break;
      case 'forget':
        if (ok) this.remembers = false;
        else this.schedule.set('forget', now + TIMES.eagerRead);
        break;
      case 'stop':
        if (ok) this.quiet = 'stopped';
        else this.failed('stop', reason, now);
        break;
      case 'start':
        if (this.lease?.epoch !== action.epoch) break;
        if (!ok) return this.failed('start', reason, now);
        this.lease.started = true;
        this.keepStoreOpen();
        break;
      case 'claim':
      case 'adopt':
      case 'finish-adoption':
        this.adopted(event, now);
    }
  }

  private hold(epoch: number, sentAt: number, now: number): void {
    this.lease = { epoch, since: now, renewedAt: sentAt, started: false, served: false, failed: false };
    this.newAgent = false;
    this.log('info', `lease held, epoch ${epoch}`);
    this.schedule.set('renew', sentAt + TIMES.renew);
  }

  private renewed({ result, sentAt }: Outcome, now: number): void {
    if (result === 'refused') return this.lose('the renewal was refused, others have fenced the node', now);
    if (result !== 'ok') return;
    this.lease!.renewedAt = Math.max(this.lease!.renewedAt, sentAt);
    if (this.lease!.started) this.keepStoreOpen();
  }

  private keepStoreOpen(): void {
    this.actions.push({ do: 'alive', deadline: this.lease!.renewedAt + TIMES.cut });
  }

  /** Ends the lease from this side. Nothing that was begun under it has an effect on the next. */
  private lose(why: string, now: number): void {
    this.log('error', `lease lost, epoch ${this.lease!.epoch}: ${why}`);
    this.why = why;
    this.losses += 1;
    this.lease = undefined;
    this.withdraw(now);
    // A node on its way out has nothing to come back for: others adopt its queue.
    if (this.draining) this.departing = true;
    this.schedule.set('register', now + TIMES.renew);
  }

  /** Refuses all users and has the daemons killed. */
  private withdraw(now: number): void {
    this.ring = new HeldRing(this.me.address, this.shards);
    this.adoption.forget();
    this.newAgent = false;
    this.quiet = 'no';
    this.publish();
    this.schedule.end('start');
    // At once, whatever is under way.
    this.schedule.end('stop');
    this.schedule.set('stop');
    this.request({ do: 'stop' }, now);
  }

  private finish(how: string): void {
    this.lease = undefined;
    this.over = true;
    this.log('info', `lease ${how}; the node has left the cluster`);
  }

  private proceed(now: number): void {
    if (this.quiet === 'no' && (!this.lease || this.departing)) {
      this.request({ do: this.newAgent && !this.departing ? 'kick-all' : 'stop' }, now);
    }
    if (this.remembers) this.request({ do: 'forget' }, now);
    if (this.lease) {
      const { epoch, started } = this.lease;
      const state = this.draining ? 'draining' : 'live';
      if (this.departing) {
        if (this.quiet === 'stopped') this.request({ do: 'go', epoch }, now, TIMES.eagerRead);
      } else {
        if (!started) this.request({ do: 'start', epoch }, now);
        this.endMovedSessions(now);
      }
      // Several may be under way: one slow reply must not cost the lease.
      if (this.schedule.isDue('renew', now)) {
        this.schedule.set('renew', now + TIMES.renew);
        this.actions.push({ do: 'renew', epoch, state, ready: this.ring.ready, ring: this.ring.reported });
      }
    }
    const calm = this.ring.view.settled && !this.ringIsDue && this.lease?.started && !this.peers.isUneasy(now);
    this.request({ do: 'read' }, now, calm ? TIMES.read : TIMES.eagerRead);
  }

  private endMovedSessions(now: number): void {
    const { view, finished } = this.ring;
    if (view.version === 0 || finished) return;
    if (now - this.ringTakenAt > TIMES.apply) this.lose("the sessions of users who moved can't be ended", now);
    else if (this.ring.ready !== view.version) this.request({ do: 'end-deliveries', view }, now);
    else if (this.ring.othersReady || now - this.ringTakenAt > TIMES.together) this.request({ do: 'kick', view }, now);
  }

  private observe(table: TableView, sentAt: number, now: number): void {
    const mine = table.nodes.find(({ id }) => id === this.me.id);
    const peers = table.nodes.filter(({ id }) => id !== this.me.id);
    const silent = this.peers.silent(peers, now);
    if (!this.lease) return this.comeBack(table, mine, now);
    if (sentAt < this.lease.since || this.departing) return;
    if (!isActive(mine) || mine?.epoch !== this.lease.epoch) {
      return this.lose('others have fenced the node', now);
    }
    for (const { id, epoch, counter } of silent) {
      this.request({ do: 'fence-peer', peer: { id, epoch, counter } }, now);
    }
    this.ringIsDue = isRingDue(table);
    this.follow(table, peers, sentAt, now);
    this.amendRing(table, now);
    if (this.lease.started && !this.draining) {
      const step = this.adoption.begin(table, { ...this.me, epoch: this.lease.epoch }, now);
      if (step) this.actions.push(step);
    }
  }

  private comeBack(table: TableView, mine: NodeItem | undefined, now: number): void {
    if (this.quiet === 'no' || this.schedule.isUnderWay('stop')) return;
    const isDown = mine !== undefined && !isActive(mine);
    // Others may adopt its queue: Postfix must be down until the item says otherwise.
    const mustStop = this.departing || isDown || (this.draining && !mine);
    if (mustStop && this.quiet !== 'stopped') return void this.request({ do: 'stop' }, now);
    if (this.draining && (isDown || !mine)) return this.finish('not taken up again');
    if (this.departing) return void this.request({ do: 'go', epoch: mine!.epoch }, now, TIMES.eagerRead);

    const { adoptedBy, adopted } = mine ?? {};
    if (adoptedBy !== undefined && !adopted && isClaimAlive(adoptedBy, table.nodes)) {
      this.why = `${adoptedBy} adopts the node's queue`;
      return;
    }
    const replaced = mine && { epoch: mine.epoch, state: mine.state, adoptedBy };
    const state = this.draining ? 'draining' : 'live';
    this.request({ do: 'register', epoch: (mine?.epoch ?? 0) + 1, state, replaced }, now);
  }

  private follow({ ring }: TableView, peers: NodeItem[], sentAt: number, now: number): void {
    if (!ring) return;
    const isNew = ring.version > this.ring.view.version;
    if (isNew) {
      this.ring.take(ring, this.quiet !== 'no', now);
      this.ringTakenAt = now;
      this.schedule.set('read', now + TIMES.eagerRead);
      // Those for an older ring may be under way; this ring's must be complete in themselves.
      for (const step of ['end-deliveries', 'kick'] as const) {
        this.schedule.end(step);
        this.schedule.set(step);
      }
      if (this.ring.finished) this.schedule.set('renew');
    }
    this.ring.seeReady(peers);
    const isSettled = !isNew && !this.remembers && this.ring.settle(ring, peers, sentAt);
    const othersLeave = this.ring.seeLeaving(peers);
    if (isNew || isSettled || othersLeave) this.publish();
    if (isNew) this.log('info', `ring ${ring.version}: ${ring.nodes.map(({ id }) => id).join(', ') || 'no node'}`);
    if (isSettled) this.log('info', `ring ${ring.version} settled`);
  }

  private amendRing(table: TableView, now: number): void {
    if ((table.ring?.version ?? 0) !== this.ring.view.version) return;
    const isIn = this.ring.view.nodes.includes(this.me.address);
    const wanted = this.wantsIn(isIn, othersInRing(table, this.me.id).length > 0, now);
    if (isIn && !wanted && this.lease!.served) this.lease!.failed = true;
    const ring = nextRing(table, this.me, wanted);
    if (ring) this.request({ do: 'write-ring', ring }, now);
  }

  private wantsIn(isIn: boolean, hasOthers: boolean, now: number): boolean {
    if (this.draining) return false;
    const { since, started, failed } = this.lease!;
    const able = started && this.able;
    const period = now - Math.max(since, this.ableChangedAt);
    // The last node of a ring stays in it: nobody could take its users.
    if (isIn) return able || period < TIMES.unable || !hasOthers;
    return able && (!failed || period > TIMES.ableAgain);
  }

  private adopted(event: Outcome, now: number): void {
    const { action, result, reason } = event;
    if (result === 'failed') this.log('warning', `adoption of a queue: ${action.do}: ${reason}`);
    const before = this.adoption.count;
    const step = this.adoption.next(event, now);
    if (step) this.actions.push(step);
    if (this.adoption.count > before && 'peer' in action) {
      this.log('info', `the queue of ${action.peer.id}, epoch ${action.peer.epoch}, is adopted`);
    }
  }

  private failed(what: 'start' | 'stop', reason: string | undefined, now: number): void {
    this.log('error', `can't ${what} the mail daemons: ${reason}`);
    this.schedule.set(what, now + TIMES.retry);
  }

  private publish(): void {
    this.actions.push({ do: 'publish', view: this.ring.view });
  }

  private log(level: 'info' | 'warning' | 'error', message: string): void {
    this.actions.push({ do: 'log', level, message });
  }

  /** Has an action done, unless one of the kind is under way or it is too early; the next after `pause` at least. */
  private request(action: Exclude<Action, { do: 'publish' | 'log' }>, now: number, pause = 0): void {
    if (this.schedule.begin(action.do, now, pause)) this.actions.push(action);
  }
}
