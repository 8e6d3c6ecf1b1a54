/** So many bytes at once and no more; whoever wants some waits for them, in the order of asking. */
export class Budget {
  private used = 0;
  private readonly waiting: { readonly bytes: number; go(): void }[] = [];

  /** @param limit bytes; one that wants more than all of it gets it alone */
  constructor(private readonly limit: number) {}

  /** Resolves to what gives the bytes back. */
  public async take(bytes: number): Promise<() => void> {
    if (this.waiting.length > 0 || !this.fits(bytes)) {
      await new Promise<void>((go) => this.waiting.push({ bytes, go }));
    } else {
      this.used += bytes;
    }
    let taken = true;
    return () => {
      if (!taken) return;
      taken = false;
      this.used -= bytes;
      while (this.waiting.length > 0 && this.fits(this.waiting[0].bytes)) {
        const next = this.waiting.shift()!;
        this.used += next.bytes;
        next.go();
      }
    };
  }

  private fits(bytes: number): boolean {
    return this.used === 0 || this.used + bytes <= this.limit;
  }
}
