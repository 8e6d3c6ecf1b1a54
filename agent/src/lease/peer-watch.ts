import { isActive, NodeItem } from './items';
import { TIMES } from './times';

/** Watches whether other nodes renew their leases, by this machine's clock alone. */
export class PeerWatch {
  private readonly lastChange = new Map<string, { readonly renewal: string; readonly at: number }>();

  /**
   * Notes what was read, and gives the nodes whose last renewal was first seen too long ago.
   *
   * @param at when the answer came: the renewal was sent before
   */
  public silent(peers: readonly NodeItem[], at: number): NodeItem[] {
    const active = peers.filter(isActive);
    for (const id of this.lastChange.keys()) if (!active.some((peer) => peer.id === id)) this.lastChange.delete(id);
    return active.filter(({ id, epoch, counter }) => {
      const renewal = `${epoch}:${counter}`;
      const last = this.lastChange.get(id);
      if (last?.renewal === renewal) return at - last.at > TIMES.takeOver;
      this.lastChange.set(id, { renewal, at });
      return false;
    });
  }

  /** Whether a renewal is overdue. */
  public isUneasy(now: number): boolean {
    return [...this.lastChange.values()].some(({ at }) => now - at > TIMES.uneasy);
  }
}
