import { Lookup } from './lookup';

/** Lookups that a verifier makes before it gives up (RFC 7208, 4.6.4). */
const MAX_LOOKUPS = 10;
/** Lookups without an answer, likewise. */
const MAX_VOID_LOOKUPS = 2;
/** Where counting ends: a record that includes itself has no end. */
const COUNTED = 50;

const TERM = /^([-+~?]?)(all|include|a|mx|ptr|ip4|ip6|exists)([:/].*)?$/i;

/** Texts that are SPF records (RFC 7208, 4.5). */
export function spfRecords(texts: string[]): string[] {
  return texts.filter((text) => /^v=spf1( |$)/i.test(text));
}

/** Mechanisms and modifiers, in order, without the `+` that means nothing. */
export function spfTerms(text: string): string[] {
  return text
    .split(/ +/)
    .slice(1)
    .filter((term) => term !== '')
    .map((term) => term.replace(/^\+/, '').toLowerCase());
}

/** Why verifiers would answer `permerror` to an SPF record, which is as good as none; empty when they would not. */
export async function spfFaults(domain: string, text: string, lookup: Lookup): Promise<string[]> {
  const walk = new SpfWalk(lookup);
  await walk.visit(domain, text);
  const faults = [...walk.faults];
  if (walk.lookups > MAX_LOOKUPS) {
    const count = walk.lookups >= COUNTED ? `${COUNTED} or more` : walk.lookups;
    faults.push(`it needs ${count} lookups, and verifiers give up after ${MAX_LOOKUPS} (RFC 7208, 4.6.4)`);
  }
  if (walk.voids.length > MAX_VOID_LOOKUPS) {
    faults.push(`more than ${MAX_VOID_LOOKUPS} of its names are not there: ${walk.voids.join(', ')} (RFC 7208, 4.6.4)`);
  }
  return faults;
}

class SpfWalk {
  public readonly faults: string[] = [];
  public readonly voids: string[] = [];
  public lookups = 0;

  constructor(private readonly lookup: Lookup) {}

  public async visit(domain: string, text: string): Promise<void> {
    for (const term of spfTerms(text)) {
      const [, redirect] = /^redirect=(.+)$/.exec(term) ?? [];
      const [, , mechanism, value = ''] = TERM.exec(term) ?? [];
      // Macros are filled with what only a message has.
      const target = redirect ?? (value.startsWith(':') ? value.slice(1).replace(/\/.*$/, '') : domain);
      if (mechanism === undefined && !/^[a-z][a-z0-9._-]*=/.test(term)) {
        this.faults.push(`${term} in the record of ${domain} is no mechanism`);
      } else if (redirect !== undefined || mechanism === 'include') {
        await this.follow(target);
      } else if (['a', 'mx', 'ptr', 'exists'].includes(mechanism)) {
        await this.count(target, mechanism);
      }
    }
  }

  private async follow(target: string): Promise<void> {
    if (++this.lookups >= COUNTED || target.includes('%')) {
      return;
    }
    const texts = await this.lookup.txt(target);
    const records = spfRecords(texts);
    if (texts.length === 0) {
      this.voids.push(target);
    }
    if (records.length !== 1) {
      this.faults.push(`${target} has ${records.length === 0 ? 'no SPF record' : 'more than one SPF record'}`);
      return;
    }
    await this.visit(target, records[0]);
  }

  private async count(target: string, mechanism: string): Promise<void> {
    if (++this.lookups >= COUNTED || target.includes('%')) {
      return;
    }
    const answers =
      mechanism === 'mx'
        ? await this.lookup.mx(target)
        : mechanism === 'ptr'
          ? ['not asked']
          : await this.lookup.addresses(target);
    if (answers.length === 0) {
      this.voids.push(target);
    }
  }
}
