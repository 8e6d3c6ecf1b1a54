/** A record set that a mail domain needs, however it gets into DNS. */
export interface DnsRecord {
  /** What it is for, such as `Spf`; there is one of each in a domain. */
  readonly purpose: string;

  /** Whole name, without the final dot. */
  readonly name: string;

  /** `CNAME`, `MX`, `SRV` or `TXT`. */
  readonly type: string;

  /** Seconds that others may keep it. */
  readonly ttl: number;

  /** Data as in a zone file: host names with the final dot, texts in quotes. */
  readonly values: string[];
}

/**
 * A text as the data of a TXT record: quoted strings of 255 bytes at most, which readers join without a blank
 * (RFC 1035, 3.3.14; RFC 7208, 3.3).
 *
 * @throws when it is not printable ASCII, which no record of a mail domain has
 */
export function txt(text: string): string {
  if (!/^[ -~]+$/.test(text)) {
    throw new Error(`text of a TXT record must be printable ASCII, got ${JSON.stringify(text)}`);
  }
  const strings = text.match(/.{1,255}/g) ?? [];
  return strings.map((string) => `"${string.replace(/["\\]/g, '\\$&')}"`).join(' ');
}

/** The text of a TXT record from its data in a zone file. */
export function textOf(value: string): string {
  const strings = value.match(/"(?:[^"\\]|\\.)*"/g) ?? [];
  return strings.map((string) => string.slice(1, -1).replace(/\\(.)/g, '$1')).join('');
}

/** Lines for a zone file (RFC 1035, 5.1), each complete in itself. */
export function zoneFile(records: DnsRecord[]): string {
  return records
    .flatMap(({ name, ttl, type, values }) => values.map((value) => `${name}. ${ttl} IN ${type} ${value}\n`))
    .join('');
}
