import { Token } from 'aws-cdk-lib';

/** An IPv4 range: its first and last address as numbers. */
export interface Ipv4Range {
  readonly text: string;
  readonly prefix: number;
  readonly first: number;
  readonly last: number;
}

/**
 * Reads an IPv4 range in CIDR notation.
 *
 * @param name of the prop that the range comes from, for the message
 * @throws when it is not one, when its address is not the first of the range (`10.0.0.1/24`), or when it is not known yet
 */
export function parseCidr(name: string, text: string): Ipv4Range {
  if (Token.isUnresolved(text)) {
    throw new Error(`${name} must be known when the stack is synthesised, got a token; write the range`);
  }
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  const octets = match ? match.slice(1, 5).map(Number) : [];
  const prefix = match ? Number(match[5]) : -1;
  if (!match || octets.some((octet) => octet > 255) || prefix > 32) {
    const hint = text.includes(':') ? '; the balancer has IPv4 addresses only' : '';
    throw new Error(`${name} must be an IPv4 range such as 192.0.2.0/24, got ${JSON.stringify(text)}${hint}`);
  }
  const address = octets.reduce((sum, octet) => sum * 256 + octet, 0);
  const size = 2 ** (32 - prefix);
  const first = address - (address % size);
  if (first !== address) {
    const canonical = [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join('.');
    throw new Error(`${name} must begin at the first address of its range, got ${text}; write ${canonical}/${prefix}`);
  }
  return { text, prefix, first, last: first + size - 1 };
}

/**
 * Reads IPv4 ranges that must not overlap.
 *
 * @throws when one can't be read, or when two overlap; the message names both
 */
export function parseCidrs(name: string, texts: string[]): Ipv4Range[] {
  const ranges = texts.map((text) => parseCidr(name, text));
  const sorted = [...ranges].sort((a, b) => a.first - b.first || a.prefix - b.prefix);
  for (let i = 1; i < sorted.length; i++) {
    if (sorted[i].first <= sorted[i - 1].last) {
      throw new Error(
        `${name} must not overlap, got ${sorted[i - 1].text} and ${sorted[i].text}; leave out ${sorted[i].text}`,
      );
    }
  }
  return ranges;
}
