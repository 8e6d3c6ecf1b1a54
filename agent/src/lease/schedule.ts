/** Which kinds of action are under way, and when each may begin again. */
export class Schedule<Kind extends string> {
  private readonly underWay = new Set<Kind>();
  private readonly notBefore = new Map<Kind, number>();

  /**
   * Begins an action of the kind, unless one is under way or it is too early.
   *
   * @param pause milliseconds from this beginning to the next, at least
   */
  public begin(kind: Kind, now: number, pause = 0): boolean {
    if (this.underWay.has(kind) || !this.isDue(kind, now)) return false;
    this.underWay.add(kind);
    this.set(kind, now + pause);
    return true;
  }

  /** The action of the kind is over, or no longer counts. */
  public end(kind: Kind): void {
    this.underWay.delete(kind);
  }

  public isUnderWay(kind: Kind): boolean {
    return this.underWay.has(kind);
  }

  public isDue(kind: Kind, now: number): boolean {
    return now >= (this.notBefore.get(kind) ?? -Infinity);
  }

  /** The next action of the kind is due at a time, or at once. */
  public set(kind: Kind, at = -Infinity): void {
    this.notBefore.set(kind, at);
  }
}
