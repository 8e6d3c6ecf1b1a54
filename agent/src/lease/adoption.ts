import { homeOf } from '../ring/home';
import { LeaseOf, NodeAction, Outcome, TableAction } from './actions';
import { claimOf, isActive, isClaimAlive, isClaimOf, NodeItem, TableView } from './items';
import { TIMES } from './times';

/** This node under its lease. */
export interface Adopter extends LeaseOf {
  readonly address: string;
}

export type AdoptionAction = Extract<TableAction | NodeAction, { do: 'claim' | 'adopt' | 'finish-adoption' }>;

/**
 * Adopts the queues of nodes that are down, one at a time: signs the node's item, has the queue moved, notes that it is
 * done. Only one node's signature stands, and it falls with that node's lease.
 */
export class Adoption {
  /** Queues that were adopted. */
  public count = 0;
  /** Queues that this node has moved, by the lease under which they were filled. */
  private readonly moved = new Set<string>();
  private readonly firstSeen = new Map<string, number>();
  private step?: AdoptionAction;
  private notBefore = -Infinity;

  /** What is to be done about the table that was read. */
  public begin(table: TableView, me: Adopter, now: number): AdoptionAction | undefined {
    const orphan = this.ourTurn(table, me, now);
    if (!orphan || this.step || now < this.notBefore) return undefined;
    const peer: LeaseOf = { id: orphan.id, epoch: orphan.epoch };
    const claim = claimOf(me.id, me.epoch);
    if (orphan.adoptedBy !== claim) this.step = { do: 'claim', peer, claim, replaced: orphan.adoptedBy };
    // Signed before: a reply was lost, the work failed, or the table was read before it was done. Never again what is
    // moved already: its owner may be back.
    else if (this.moved.has(claimOf(peer.id, peer.epoch))) this.step = { do: 'finish-adoption', peer, claim };
    else this.step = { do: 'adopt', peer, claim };
    return this.step;
  }

  /** What is to be done after a step. Outcomes of what `forget` gave up are ignored. */
  public next({ action, result }: Outcome, now: number): AdoptionAction | undefined {
    if (this.step === undefined || action !== this.step) return undefined;
    const { peer, claim } = this.step;
    if (result !== 'ok') {
      this.step = undefined;
      this.notBefore = now + TIMES.retry;
    } else if (this.step.do === 'claim') {
      this.step = { do: 'adopt', peer, claim };
    } else if (this.step.do === 'adopt') {
      this.moved.add(claimOf(peer.id, peer.epoch));
      this.step = { do: 'finish-adoption', peer, claim };
    } else {
      this.step = undefined;
      this.count += 1;
    }
    return this.step;
  }

  /** The lease is lost. */
  public forget(): void {
    this.step = undefined;
  }

  private ourTurn(table: TableView, me: Adopter, now: number): NodeItem | undefined {
    const orphans = table.nodes.filter((node) => node.id !== me.id && !isActive(node) && !node.adopted);
    const keys = orphans.map((node) => claimOf(node.id, node.epoch));
    for (const key of this.firstSeen.keys()) if (!keys.includes(key)) this.firstSeen.delete(key);
    for (const key of keys) if (!this.firstSeen.has(key)) this.firstSeen.set(key, now);

    const ring = (table.ring?.nodes ?? []).filter(({ id }) => isActive(table.nodes.find((node) => node.id === id)));
    const addresses = ring.map(({ address }) => address);
    return orphans.find((orphan) => {
      const { id, epoch, adoptedBy } = orphan;
      if (adoptedBy !== undefined && isClaimAlive(adoptedBy, table.nodes)) {
        // Ours from an earlier lease is taken up again.
        return isClaimOf(adoptedBy, me.id);
      }
      // All see the same orphans at the same time: one of them goes first.
      return homeOf(id, addresses) === me.address || now - this.firstSeen.get(claimOf(id, epoch))! > TIMES.adoptionTurn;
    });
  }
}
