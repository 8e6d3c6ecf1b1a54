import { DKIM_SELECTORS, publicKeyOf, selectorName, tagsOf } from '../../lib/dns/dkim-text';
import { DnsRecord, textOf, txt } from '../../lib/dns/dns-record';
import { MailDnsSettings } from '../../lib/dns/mail-dns-settings';
import { dmarcText, domainRecords, hostRecords, reportAuthorisation, spfText } from '../../lib/dns/mail-records';
import { Lookup, LookupError } from './lookup';
import { spfFaults, spfRecords, spfTerms } from './spf';

/** What was found about one record. */
export interface Finding {
  /** As in `DnsRecord`. */
  readonly purpose: string;
  readonly name: string;
  readonly type: string;
  /** `unknown`: no name server answered. */
  readonly status: 'ok' | 'missing' | 'wrong' | 'unknown';
  /** Data as in a zone file. */
  readonly found: string[];
  readonly expected: string[];
  /** Why it is not ok. */
  readonly reasons: string[];
}

/** What a check sees; `expected` only where it is not that of the record. */
interface Seen {
  readonly found: string[];
  readonly reasons: string[];
  readonly expected?: string[];
}

/** Looks up all that a domain needs, and says of each record whether it is there and right. */
export async function checkDomain(settings: MailDnsSettings, domain: string, lookup: Lookup): Promise<Finding[]> {
  return new DomainCheck(settings, domain, lookup).run();
}

class DomainCheck {
  constructor(
    private readonly settings: MailDnsSettings,
    private readonly domain: string,
    private readonly lookup: Lookup,
  ) {}

  public async run(): Promise<Finding[]> {
    const { settings, domain } = this;
    const { hostname } = settings;
    const findings = [
      await this.find({ purpose: 'Host', name: hostname, type: 'A' }, () => this.host(hostname)),
      await this.find({ purpose: 'DkimKey', name: selectorName('…', hostname), type: 'TXT' }, () => this.dkimKey()),
    ];
    for (const record of hostRecords(settings)) {
      findings.push(await this.find(record, () => this.same(record)));
    }
    // Reports to another domain's address must be allowed there, whosever domain that is.
    const authorisation = reportAuthorisation(domain, settings.reportAddress);
    if (authorisation !== undefined) {
      const record = { purpose: 'Reports', name: authorisation, type: 'TXT', ttl: 0, values: [txt('v=DMARC1')] };
      findings.push(await this.find(record, () => this.same(record)));
    }
    for (const record of domainRecords(settings, domain).filter(({ purpose }) => !/^Reports\d/.test(purpose))) {
      findings.push(await this.find(record, () => this.check(record)));
    }
    return findings;
  }

  private check(record: DnsRecord): Promise<Seen> {
    switch (record.purpose) {
      case 'Mx':
        return this.mx(record);
      case 'Spf':
        return this.spf();
      case 'Dmarc':
        return this.dmarc(record);
      case 'Dkim1':
      case 'Dkim2':
        return this.dkim(record);
      default:
        return this.same(record);
    }
  }

  private async find(
    { purpose, name, type, values = [] }: Pick<DnsRecord, 'purpose' | 'name' | 'type'> & { values?: string[] },
    look: () => Promise<Seen>,
  ): Promise<Finding> {
    try {
      const { found, reasons, expected = values } = await look();
      const status = reasons.length === 0 ? 'ok' : found.length === 0 ? 'missing' : 'wrong';
      return { purpose, name, type, status, found, expected, reasons };
    } catch (error) {
      if (error instanceof LookupError) {
        return { purpose, name, type, status: 'unknown', found: [], expected: values, reasons: [error.message] };
      }
      throw error;
    }
  }

  private async host(hostname: string): Promise<Seen> {
    const found = await this.lookup.addresses(hostname);
    return { found, reasons: found.length === 0 ? ['the mail host has no address'] : [], expected: ["the balancer's"] };
  }

  /** Records whose data must be just what is expected, or for texts of one kind, one of that kind. */
  private async same({ name, type, values }: DnsRecord): Promise<Seen> {
    const found = await this.ask(name, type, values[0]);
    const reasons = [];
    if (found.length === 0) {
      reasons.push('there is no such record');
    } else if (!sameSet(found, values)) {
      reasons.push('it says something else');
    } else if (
      type === 'CNAME' &&
      !/_domainkey|_mta-sts/.test(name) &&
      (await this.lookup.addresses(name)).length === 0
    ) {
      reasons.push(`${values[0]} has no address`);
    }
    return { found, reasons };
  }

  private async mx({ name, values }: DnsRecord): Promise<Seen> {
    const found = await this.lookup.mx(name);
    const reasons = found.length === 0 ? ['there is no such record'] : [];
    const others = found.filter((value) => !values.includes(value));
    const lacking = values.filter((value) => !found.includes(value));
    if (found.length > 0 && lacking.length > 0) {
      reasons.push(`it lacks ${lacking.join(', ')}`);
    }
    if (others.length > 0) {
      reasons.push(`${others.join(', ')} would take mail too`);
    }
    for (const host of found.map((value) => value.replace(/^\d+ /, '').slice(0, -1))) {
      const [alias] = await this.lookup.cname(host);
      if (alias !== undefined) {
        reasons.push(`${host} is an alias of ${alias} and must not be one (RFC 2181, 10.3)`);
      } else if ((await this.lookup.addresses(host)).length === 0) {
        reasons.push(`${host} has no address`);
      }
    }
    return { found, reasons };
  }

  private async spf(): Promise<Seen> {
    const { settings, domain } = this;
    const records = spfRecords(await this.lookup.txt(domain));
    const found = records.map(txt);
    if (records.length === 0) {
      return { found, reasons: ['there is no such record'] };
    }
    if (records.length > 1) {
      return { found, reasons: ['there are several, so that none counts (RFC 7208, 4.5); make one of them'] };
    }
    const terms = spfTerms(records[0]);
    const reasons = settings.senders
      .filter((sender) => !terms.includes(sender.replace(/^\+/, '').toLowerCase()))
      .map((sender) => `it lacks ${sender}`);
    const all = terms.find((term) => /^[-~?]?all$/.test(term));
    if (all !== '-all' && (all !== '~all' || settings.spfHardFail)) {
      reasons.push(`it must end in ${settings.spfHardFail ? '-all' : '~all or -all'}, not in ${all ?? 'nothing'}`);
    }
    for (const sender of settings.senders) {
      const [, host] = /^a:([^/]+)/i.exec(sender) ?? [];
      if (host !== undefined && (await this.lookup.addresses(host)).length === 0) {
        reasons.push(`${host}, from where mail is sent, has no address`);
      }
    }
    const others = terms.filter((term) => !/^[-~?]?all$/.test(term) && !settings.senders.includes(term));
    reasons.push(...(await spfFaults(domain, records[0], this.lookup)));
    // What else sends mail of the domain is its owner's to know, and stays.
    const expected = others.length > 0 ? [...settings.senders, ...others] : settings.senders;
    return { found, reasons, expected: [txt(spfText({ ...settings, senders: expected }))] };
  }

  private async dmarc({ name }: DnsRecord): Promise<Seen> {
    const texts = (await this.lookup.txt(name)).filter((text) => /^v\s*=\s*DMARC1\s*(;|$)/.test(text));
    const found = texts.map(txt);
    if (texts.length !== 1) {
      return {
        found,
        reasons: [
          texts.length === 0 ? 'there is no such record' : 'there are several, so that none counts (RFC 7489, 6.6.3)',
        ],
      };
    }
    const want = tagsOf(dmarcText(this.settings));
    const { p, sp = p, pct = '100', rua = '' } = tagsOf(texts[0]);
    const reasons = [];
    if (p?.toLowerCase() !== want.p) {
      reasons.push(`p must be ${want.p}, got ${p ?? 'none'}`);
    } else if (sp?.toLowerCase() !== want.p && want.p === 'reject') {
      reasons.push(`sp leaves subdomains open: it must be ${want.p}, got ${sp}`);
    }
    if (pct !== '100') {
      reasons.push(`pct must be 100, got ${pct}`);
    }
    if (!rua.toLowerCase().split(',').includes(want.rua!)) {
      reasons.push(`rua must have ${want.rua}`);
    }
    return { found, reasons };
  }

  /** Whether the stack publishes a key at all. */
  private async dkimKey(): Promise<Seen> {
    const { hostname } = this.settings;
    const found: string[] = [];
    const reasons: string[] = [];
    let keys = 0;
    for (const selector of DKIM_SELECTORS) {
      const texts = await this.lookup.txt(selectorName(selector, hostname));
      found.push(...texts.map(txt));
      const { live, fault } = readKeys(texts);
      keys += live;
      if (fault !== undefined) {
        reasons.push(`${selectorName(selector, hostname)}: ${fault}`);
      }
    }
    if (keys === 0 && reasons.length === 0) {
      reasons.push('no key is published; did the first rotation fail?');
    }
    return { found, reasons, expected: ['"v=DKIM1; k=rsa; p=…"'] };
  }

  /** Whether the domain has the key that the stack publishes, and will have the next one. */
  private async dkim({ name, values }: DnsRecord): Promise<Seen> {
    const [target] = values;
    const alias = await this.lookup.cname(name);
    const texts = await this.lookup.txt(name);
    if (alias.length > 0) {
      return { found: alias, reasons: alias[0] === target ? [] : ['it leads elsewhere'] };
    }
    if (texts.length === 0) {
      return { found: [], reasons: ['there is no such record'] };
    }
    const reasons = ['it is a TXT record and no alias, so that the next rotation breaks it'];
    const { fault } = readKeys(texts);
    const source = await this.lookup.txt(target.slice(0, -1));
    if (fault !== undefined) {
      reasons.unshift(fault);
    } else if (tagsOf(texts[0]).p !== tagsOf(source[0] ?? '').p) {
      reasons.unshift(`it has another key than ${target}`);
    }
    return { found: texts.map(txt), reasons };
  }

  private async ask(name: string, type: string, like: string): Promise<string[]> {
    switch (type) {
      case 'SRV':
        return this.lookup.srv(name);
      case 'CNAME':
        return this.lookup.cname(name);
      default: {
        const [version] = textOf(like).split(';');
        return (await this.lookup.txt(name)).filter((text) => text.split(';')[0].trim() === version).map(txt);
      }
    }
  }
}

/** Keys in the texts of a selector; a revoked one is none. */
function readKeys(texts: string[]): { live: number; fault?: string } {
  if (texts.length > 1) {
    return { live: 0, fault: 'there are several records; the strings of a key belong into one' };
  }
  try {
    return { live: texts.filter((text) => publicKeyOf(text) !== undefined).length };
  } catch (error) {
    return { live: 0, fault: (error as Error).message };
  }
}

function sameSet(one: string[], other: string[]): boolean {
  return one.length === other.length && one.every((value) => other.includes(value));
}
