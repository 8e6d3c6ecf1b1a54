import { Resolver } from 'node:dns/promises';

/** Answers that say that there is nothing, which is an answer. */
const NOTHING = ['ENOTFOUND', 'ENODATA'];

/** A name server that could not be asked, or did not know. */
export class LookupError extends Error {}

/** Looks records up, by the system's name servers or by given ones. Names come without the final dot, in lower case. */
export class Lookup {
  private readonly resolver = new Resolver({ timeout: 3000, tries: 2 });

  /** @param server address, with a port if it is not 53: `192.0.2.1:5353`, `[2001:db8::1]:5353` */
  constructor(server?: string) {
    if (server !== undefined) {
      try {
        this.resolver.setServers([server]);
      } catch {
        throw new Error(`--resolver must be an address such as 192.0.2.1 or 192.0.2.1:5353, got ${server}`);
      }
    }
  }

  /** Texts, each joined of its strings. */
  public async txt(name: string): Promise<string[]> {
    const records = await this.ask(name, 'TXT', () => this.resolver.resolveTxt(name));
    return records.map((strings) => strings.join(''));
  }

  /** Mail exchangers as in a zone file. */
  public async mx(name: string): Promise<string[]> {
    const records = await this.ask(name, 'MX', () => this.resolver.resolveMx(name));
    return records.map(({ priority, exchange }) => `${priority} ${plain(exchange)}.`);
  }

  /** Services as in a zone file. */
  public async srv(name: string): Promise<string[]> {
    const records = await this.ask(name, 'SRV', () => this.resolver.resolveSrv(name));
    return records.map(({ priority, weight, port, name: host }) => `${priority} ${weight} ${port} ${plain(host)}.`);
  }

  /** Where an alias leads, as in a zone file. */
  public async cname(name: string): Promise<string[]> {
    const names = await this.ask(name, 'CNAME', () => this.resolver.resolveCname(name));
    return names.map((alias) => `${plain(alias)}.`);
  }

  /** IPv4 and IPv6 addresses, also by way of an alias. */
  public async addresses(name: string): Promise<string[]> {
    const v4 = await this.ask(name, 'A', () => this.resolver.resolve4(name));
    return [...v4, ...(await this.ask(name, 'AAAA', () => this.resolver.resolve6(name)))];
  }

  private async ask<T>(name: string, type: string, query: () => Promise<T[]>): Promise<T[]> {
    try {
      return await query();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== undefined && NOTHING.includes(code)) {
        return [];
      }
      throw new LookupError(`no answer for ${type} ${name} (${code})`);
    }
  }
}

function plain(name: string): string {
  return name.replace(/\.$/, '').toLowerCase();
}
