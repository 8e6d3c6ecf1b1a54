import { Action, NodeAction, Outcome, TableAction } from '../../src/lease/actions';
import { isActive } from '../../src/lease/items';
import { Event, Membership } from '../../src/lease/membership';
import { TIMES } from '../../src/lease/times';
import { serves } from '../../src/ring/ring-file';
import { SimulatedTable } from './simulated-table';

/** A reproducible stream of numbers in [0, 1) (mulberry32). */
export const randomFrom = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

const USERS = Array.from({ length: 16 }, (_, index) => `user${index}@example.com`);
const TICK = 100;
const CLIENT_TIMEOUT = 2_000;

/** One node: its agent, what its Dovecot does with the ring file, and its kernel's switch. */
export class SimulatedNode {
  public membership: Membership;
  /** Grows with each start of the agent: what an earlier one waited for comes to nothing. */
  public generation = 0;
  public agentUp = true;
  public powered = true;
  public daemonsUp = true;
  public dovecotWorks = true;
  public frozenUntil = 0;
  public partitioned = false;
  /** Users whom the ring file lets in. */
  public served: string[] = [];
  /** Users with a session; one opens as soon as it may. */
  public readonly sessions = new Set<string>();
  /** When the kernel cuts the store, by the world's clock. */
  public cutAt = 0;
  public adopting?: string;

  public constructor(
    public readonly id: string,
    public readonly address: string,
    private readonly rate: number,
    private readonly offset: number,
  ) {
    this.membership = new Membership({ id, address });
  }

  /** The machine's own time. */
  public clock(now: number): number {
    return this.offset + now * this.rate;
  }

  /** When the machine's own time will be `local`. */
  public when(local: number): number {
    return (local - this.offset) / this.rate;
  }

  /** Whether the node can write to the user's mail. A frozen one can as soon as it wakes. */
  public canWrite(user: string, now: number): boolean {
    return this.powered && now < this.cutAt && this.sessions.has(user);
  }

  public openSessions(): void {
    if (!this.powered || !this.daemonsUp || !this.dovecotWorks) return;
    for (const user of this.served) this.sessions.add(user);
  }
}

/** Nodes, their table, and everything that can go wrong between them; the same seed gives the same history. */
export class Simulation {
  public readonly table = new SimulatedTable();
  public readonly nodes: SimulatedNode[] = [];
  public readonly violations: string[] = [];
  public readonly history: string[] = [];
  public now = 0;
  public faults = true;
  public readonly counts = { fenced: 0, adopted: 0, rings: 0, losses: 0 };
  private readonly queue: { at: number; order: number; run: () => void }[] = [];
  private order = 0;

  public constructor(public readonly random: () => number) {}

  public between(least: number, most: number): number {
    return least + this.random() * (most - least);
  }

  public addNode(): SimulatedNode {
    const index = this.nodes.length;
    // Machines' clocks run a percent apart and begin anywhere.
    const rate = this.between(0.995, 1.005);
    const node = new SimulatedNode(`i-${index}`, `10.0.0.${10 + index}`, rate, this.between(0, 1e6));
    this.nodes.push(node);
    this.tick(node, node.generation);
    return node;
  }

  public after(delay: number, run: () => void): void {
    const entry = { at: this.now + delay, order: this.order++, run };
    let low = 0;
    let high = this.queue.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.queue[middle];
      if (other.at > entry.at || (other.at === entry.at && other.order > entry.order)) low = middle + 1;
      else high = middle;
    }
    this.queue.splice(low, 0, entry);
  }

  /** Lets the world go on until a time, looking after each event whether two nodes can write to one mailbox. */
  public runUntil(end: number): void {
    while (this.queue.length > 0 && this.queue.at(-1)!.at <= end) {
      const { at, run } = this.queue.pop()!;
      this.now = at;
      run();
      this.check();
    }
    this.now = end;
  }

  public writersOf(user: string): SimulatedNode[] {
    return this.nodes.filter((node) => node.canWrite(user, this.now));
  }

  public get unserved(): string[] {
    return USERS.filter(
      (user) => !this.nodes.some((node) => node.frozenUntil <= this.now && node.canWrite(user, this.now)),
    );
  }

  public crashAgent(node: SimulatedNode, restartAfter: number): void {
    if (!node.agentUp || !node.powered) return;
    this.note(`${node.id} agent dies`);
    node.agentUp = false;
    node.generation += 1;
    this.onNode(node, node.generation, restartAfter, () => {
      this.note(`${node.id} agent starts`);
      node.agentUp = true;
      node.membership = new Membership(node);
      this.tick(node, node.generation);
    });
  }

  public powerOff(node: SimulatedNode): void {
    this.note(`${node.id} power off`);
    node.powered = false;
    node.agentUp = false;
    node.generation += 1;
    node.sessions.clear();
    node.adopting = undefined;
  }

  public note(what: string): void {
    this.history.push(`${(this.now / 1000).toFixed(3)} ${what}`);
  }

  public give(node: SimulatedNode, event: Event): void {
    if (!node.agentUp) return;
    const before = node.membership.status();
    const actions = node.membership.handle(event, node.clock(this.now));
    if (node.membership.status().losses > before.losses) this.counts.losses += 1;
    for (const action of actions) this.perform(node, action);
  }

  private tick(node: SimulatedNode, generation: number): void {
    this.give(node, { on: 'able', able: node.daemonsUp && node.dovecotWorks });
    this.give(node, { on: 'tick' });
    node.openSessions();
    this.onNode(node, generation, TICK, () => this.tick(node, generation));
  }

  /** Runs on the node: not while it is frozen, and never if its agent is another one by then. */
  private onNode(node: SimulatedNode, generation: number, delay: number, run: () => void): void {
    this.after(delay, () => {
      if (!node.powered || node.generation !== generation) return;
      if (node.frozenUntil > this.now) {
        this.onNode(node, generation, node.frozenUntil - this.now + this.between(0, 5), run);
      } else run();
    });
  }

  private perform(node: SimulatedNode, action: Action): void {
    switch (action.do) {
      case 'log':
        this.note(`${node.id} ${action.message}`);
        return;
      case 'publish': {
        const before = node.served;
        node.served = USERS.filter((user) => serves(action.view, user));
        node.openSessions();
        // A login that was let in by the old file gets its session a little later.
        if (node.daemonsUp && node.dovecotWorks) {
          this.after(this.between(0, 300), () => {
            if (node.powered && node.daemonsUp && node.dovecotWorks) before.forEach((user) => node.sessions.add(user));
          });
        }
        return;
      }
      case 'end-deliveries':
      case 'kick':
      case 'kick-all':
      case 'forget':
      case 'stop':
      case 'start':
      case 'alive':
      case 'adopt':
        return this.performOnNode(node, action);
      default:
        this.performInTable(node, action);
    }
  }

  private performOnNode(node: SimulatedNode, action: NodeAction): void {
    const { generation } = node;
    const sentAt = node.clock(this.now);
    const over = (result: Outcome['result'] = 'ok') =>
      this.give(node, { on: 'outcome', action, sentAt, result, reason: 'simulated' });
    const fails = this.faults && this.random() < 0.02;
    switch (action.do) {
      case 'alive':
        return this.onNode(node, generation, this.between(0, 20), () => {
          // Never opens for longer than the deadline says.
          if (node.clock(this.now) < action.deadline && node.daemonsUp)
            node.cutAt = Math.max(node.cutAt, node.when(action.deadline));
          over();
        });
      case 'end-deliveries':
        // Deliveries count among the sessions, which end no sooner.
        return this.onNode(node, generation, this.between(20, this.faults && this.random() < 0.1 ? 5_000 : 500), () =>
          over(fails ? 'failed' : 'ok'),
        );
      case 'kick':
        return this.onNode(
          node,
          generation,
          this.between(300, this.faults && this.random() < 0.02 ? 8_000 : 600),
          () => {
            if (fails) return over('failed');
            // By the file as it is now, which may let in more than it did.
            for (const user of node.sessions) if (!node.served.includes(user)) node.sessions.delete(user);
            over();
          },
        );
      case 'kick-all':
        return this.onNode(node, generation, this.between(300, 700), () => {
          if (fails) return over('failed');
          node.sessions.clear();
          over();
        });
      case 'forget':
        return this.onNode(node, generation, this.between(20, 1_000), () => over(fails ? 'failed' : 'ok'));
      case 'stop':
        // The root helper goes on when the agent dies.
        return this.after(this.between(50, 600), () => {
          if (!fails) {
            node.daemonsUp = false;
            node.sessions.clear();
            node.adopting = undefined;
          }
          this.onNode(node, generation, 1, () => over(fails ? 'failed' : 'ok'));
        });
      case 'start':
        return this.onNode(node, generation, this.between(500, 2_000), () => {
          if (fails) return over('failed');
          // The helper has done no start that a later stop came after.
          if (node.membership.status().renewedAt !== undefined) node.daemonsUp = true;
          // One that was frozen meanwhile starts what can't write.
          if (node.clock(this.now) - (node.membership.status().renewedAt ?? -Infinity) > TIMES.cut) return over();
          for (const other of this.nodes.filter(({ adopting, cutAt }) => adopting === node.id && cutAt > this.now)) {
            this.violation(`${node.id} starts while ${other.id} adopts its queue`);
          }
          node.openSessions();
          over();
        });
      case 'adopt':
        return this.adopt(node, action, over);
    }
  }

  private adopt(
    node: SimulatedNode,
    action: Extract<NodeAction, { do: 'adopt' }>,
    over: (result?: 'failed') => void,
  ): void {
    const { id } = action.peer;
    const orphan = this.nodes.find((other) => other.id === id)!;
    if (USERS.some((user) => orphan.canWrite(user, this.now)))
      this.violation(`${node.id} adopts ${id}, which can write`);
    const others = this.nodes.filter((other) => other !== node && other.adopting === id && other.cutAt > this.now);
    for (const other of others) this.violation(`${node.id} adopts ${id}, so does ${other.id}`);
    node.adopting = id;
    const { generation } = node;
    const end = this.between(200, 3_000);
    // The root helper goes on when the agent dies.
    this.after(end, () => (node.adopting = undefined));
    this.onNode(node, generation, end + 1, () => {
      const fails = this.faults && this.random() < 0.1;
      if (!fails) this.counts.adopted += 1;
      over(fails ? 'failed' : undefined);
    });
  }

  private performInTable(node: SimulatedNode, action: TableAction): void {
    const { generation } = node;
    const sentAt = node.clock(this.now);
    let answered = false;
    const answer = (outcome: Pick<Outcome, 'result' | 'table'>) => {
      if (answered) return;
      answered = true;
      this.give(node, { on: 'outcome', action, sentAt, reason: 'simulated', ...outcome });
    };
    this.onNode(node, generation, CLIENT_TIMEOUT, () => answer({ result: 'failed' }));
    // Messages are slow at times, and some come long after the sender has given up.
    const slow = this.faults && this.random() < 0.03;
    const there = slow ? this.between(500, 12_000) : this.between(2, 40);
    const back = slow ? this.between(0, 1_000) : this.between(2, 40);
    const lost = () => node.partitioned || (this.faults && this.random() < 0.01);
    if (lost()) return;
    this.after(there, () => {
      const outcome = (result: Outcome['result'], table?: Outcome['table']) => {
        if (!lost()) this.onNode(node, generation, back, () => answer({ result, table }));
      };
      if (action.do !== 'read') {
        const ok = this.table.apply(action, { id: node.id, address: node.address });
        if (ok && action.do === 'fence-peer') this.counts.fenced += 1;
        if (ok && action.do === 'write-ring') this.counts.rings += 1;
        return outcome(ok ? 'ok' : 'refused');
      }
      // Items are read one after another.
      const ids = [...this.table.nodes.keys()];
      const read: ReturnType<SimulatedTable['item']>[] = [];
      const next = (): void => {
        const id = ids.shift();
        if (id === undefined) {
          const nodes = read.flatMap((item) => item ?? []);
          return outcome('ok', { nodes, ring: this.table.ring });
        }
        read.push(this.table.item(id));
        this.after(this.between(0, 15), next);
      };
      next();
    });
  }

  private check(): void {
    for (const user of USERS) {
      const writers = this.writersOf(user);
      if (writers.length > 1) this.violation(`${user} on ${writers.map(({ id }) => id).join(' and ')}`);
    }
  }

  private violation(what: string): void {
    if (this.violations.length < 5) this.violations.push(`${(this.now / 1000).toFixed(3)} ${what}`);
    this.note(`VIOLATION ${what}`);
  }

  /** Nodes that hold a lease, by the table. */
  public get leaseholders(): number {
    return [...this.table.nodes.values()].filter(isActive).length;
  }
}
