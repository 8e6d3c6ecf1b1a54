import { LeaseOf, TableAction } from '../../src/lease/actions';
import { isActive, NodeItem, RingItem, TableView } from '../../src/lease/items';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The lease table's conditions, in memory; `dynamo-lease-table.test.ts` holds the real one to the same. */
export class SimulatedTable {
  public readonly nodes = new Map<string, Mutable<NodeItem>>();
  public ring?: RingItem;

  /** One item at a time: a Query of DynamoDB is no snapshot. */
  public item(id: string): NodeItem | undefined {
    const item = this.nodes.get(id);
    return item && { ...item };
  }

  public view(): TableView {
    return { nodes: [...this.nodes.values()].map((node) => ({ ...node })), ring: this.ring };
  }

  /** Whether the condition held. */
  public apply(action: Exclude<TableAction, { do: 'read' }>, me: { id: string; address: string }): boolean {
    const held = (lease: LeaseOf) => {
      const node = this.nodes.get(lease.id);
      return node && node.epoch === lease.epoch ? node : undefined;
    };
    switch (action.do) {
      case 'register': {
        const node = this.nodes.get(me.id);
        const { replaced } = action;
        const same =
          node?.epoch === replaced?.epoch && node?.state === replaced?.state && node?.adoptedBy === replaced?.adoptedBy;
        if (!same) return false;
        const { epoch, state } = action;
        this.nodes.set(me.id, { ...me, zone: 'a', epoch, counter: 1, state, ready: 0, ring: 0 });
        return true;
      }
      case 'renew': {
        const node = held({ id: me.id, epoch: action.epoch });
        if (!node || !isActive(node)) return false;
        const { state, ready, ring } = action;
        Object.assign(node, { counter: node.counter + 1, state, ready, ring });
        return true;
      }
      case 'go': {
        const node = held({ id: me.id, epoch: action.epoch });
        if (!node || !isActive(node)) return false;
        node.state = 'gone';
        return true;
      }
      case 'fence-peer': {
        const node = held(action.peer);
        if (!node || !isActive(node) || node.counter !== action.peer.counter) return false;
        node.state = 'fenced';
        return true;
      }
      case 'write-ring':
        if ((this.ring?.version ?? 0) !== action.ring.version - 1) return false;
        this.ring = action.ring;
        return true;
      case 'claim': {
        const node = held(action.peer);
        if (!node || isActive(node) || node.adopted || node.adoptedBy !== action.replaced) return false;
        node.adoptedBy = action.claim;
        return true;
      }
      case 'finish-adoption': {
        const node = held(action.peer);
        if (!node || isActive(node) || node.adopted || node.adoptedBy !== action.claim) return false;
        node.adopted = true;
        return true;
      }
    }
  }
}
