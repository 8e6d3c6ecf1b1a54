import { RingView } from '../ring/ring-file';
import { holdersOf } from '../ring/shards';
import { isActive, NodeItem, RingItem } from './items';

/**
 * The ring as this node follows it under one lease.
 *
 * A new ring is published first and takes effect in four steps: the node refuses users who are no longer its own at
 * once; says when deliveries to them have ended (`makeReady`); reports the ring when their sessions have ended, too (`finish`),
 * which may wait for the others to be ready; and serves users who are newly its own when all nodes have reported it (`settle`).
 */
export class HeldRing {
  private current: RingView;
  private isReady = false;
  private areOthersReady = false;
  private finishedAt?: number;
  private reportedBefore = 0;
  private served = false;

  /** @param shards all shards of the store; undefined where all nodes share one */
  public constructor(
    self: string,
    private readonly shards?: readonly string[],
  ) {
    this.current = { version: 0, self, serving: false, settled: false, nodes: [], was: [], leaving: [] };
  }

  public get view(): RingView {
    return this.current;
  }

  /** Version of the ring that is in effect here; 0 for none. */
  public get reported(): number {
    return this.finishedAt === undefined ? this.reportedBefore : this.current.version;
  }

  /** Version for which this node could end the sessions of users who move; 0 for none. */
  public get ready(): number {
    return this.isReady ? this.current.version : this.reported;
  }

  /** Whether the others could: users wait the less, the closer together their sessions end. */
  public get othersReady(): boolean {
    return this.areOthersReady;
  }

  /** Whether the sessions of users who moved with the current ring have ended. */
  public get finished(): boolean {
    return this.finishedAt !== undefined;
  }

  /** Whether a ring with this node was settled under this lease: users may have come. */
  public get hasServed(): boolean {
    return this.served;
  }

  /**
   * Follows a newer ring.
   *
   * @param untouched nobody had a mailbox open here when the lease began
   */
  public take(ring: RingItem, untouched: boolean, now: number): void {
    const { self, settled, nodes, was } = this.current;
    const next = ring.nodes.map(({ address }) => address);
    // Where nodes only went, nobody moves away from one that stays.
    const losesNobody = this.finished && [self, ...next].every((node) => nodes.includes(node)) && next.includes(self);
    const hasNobody = untouched && !this.served;
    this.reportedBefore = this.reported;
    this.finishedAt = losesNobody || hasNobody ? now : undefined;
    this.isReady = this.finished;
    this.areOthersReady = false;
    this.current = {
      ...this.current,
      version: ring.version,
      serving: true,
      settled: false,
      nodes: next.sort(),
      was: settled ? nodes : kept(was, nodes, self),
      ...(this.shards && { shards: holdersOf(this.shards, ring.nodes) }),
    };
  }

  /** Takes note of the nodes that leave in good order; returns whether these are others than before. */
  public seeLeaving(peers: readonly NodeItem[]): boolean {
    const { nodes, leaving: before } = this.current;
    const leaving = peers
      .filter(({ state, address }) => state === 'draining' && !nodes.includes(address))
      .map(({ address }) => address)
      .sort();
    this.current = { ...this.current, leaving };
    return leaving.join() !== before.join();
  }

  /** Deliveries to users who moved with ring `version` have ended. */
  public makeReady(version: number): void {
    if (version === this.current.version) this.isReady = true;
  }

  /** Takes note of which other nodes are ready. */
  public seeReady(peers: readonly NodeItem[]): void {
    this.areOthersReady = peers.every((peer) => !isActive(peer) || peer.ready >= this.current.version);
  }

  /** The sessions of users who moved with ring `version` have ended. */
  public finish(version: number, now: number): void {
    if (version === this.current.version) this.finishedAt ??= now;
  }

  /**
   * Settles the ring when every other node follows exactly it. One that is ahead has let go of nothing for this ring:
   * it may never have followed it.
   *
   * @param sentAt when the read was sent: not before this ring was in effect here, or a node that came since is missing
   * @returns whether it was settled by this
   */
  public settle(ring: RingItem, peers: readonly NodeItem[], sentAt: number): boolean {
    const { version, settled } = this.current;
    if (settled || version === 0 || ring.version !== version) return false;
    if (this.finishedAt === undefined || sentAt < this.finishedAt) return false;
    if (peers.some((peer) => isActive(peer) && peer.ring !== version)) return false;
    this.current = { ...this.current, settled: true, was: this.current.nodes };
    this.served ||= this.current.nodes.includes(this.current.self);
    return true;
  }
}

/**
 * Of whom this node keeps users when a ring follows one that was not settled. Users who went with that one are served
 * by another node by now, even if they come back: this node keeps those for whom it had the highest weight throughout,
 * which is the highest in the union. Had it been missing from one of the rings it would keep nobody.
 */
const kept = (was: readonly string[], nodes: readonly string[], self: string): string[] =>
  was.includes(self) && nodes.includes(self) ? [...new Set([...was, ...nodes])].sort() : [];
