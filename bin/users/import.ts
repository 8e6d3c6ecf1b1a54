import type { ImportedUser, UserFile } from './user-file';

/** Kinds of files that can be imported. */
export const IMPORTS = ['csv', 'scim', 'ldap'] as const;
export type ImportKind = (typeof IMPORTS)[number];

const CSV_COLUMNS = [
  'address',
  'verifier',
  'quota',
  'protocols',
  'shard',
  'enabled',
  'second_factor',
  'aliases',
  'groups',
];
/** What SCIM has no attribute for: `{ "shard": 2 }` (RFC 7643, 3.3). */
const SCIM_EXTENSION = 'urn:cdk-mail-platform:User';

/**
 * Users of a file from elsewhere.
 *
 * - `csv` (RFC 4180): a first line with names of columns, of which `address` must be one; lists have blanks between. What a
 *   file has no column for, and an empty cell of `verifier` or `shard`, stays as it is.
 * - `scim`: a ListResponse of users (RFC 7644): `userName`, `active`, `emails`, and `shard` of the extension `urn:cdk-mail-platform:User`.
 * - `ldap`: an array of entries, attributes as text or lists of text: `mail`, `mailAlternateAddress`, `proxyAddresses`, `nsAccountLock`,
 *   `userAccountControl`, `mailHost` where it is `shard-2` or so; entries with `member` are groups, which name users by their `dn`.
 *
 * @throws on anything else, with the line or entry; clear passwords are refused
 */
export function readImport(kind: ImportKind, text: string): ImportedUser[] {
  switch (kind) {
    case 'csv':
      return readCsv(text);
    case 'scim':
      return readScim(parseJson(text));
    case 'ldap':
      return readLdap(parseJson(text));
  }
}

/** What an import did. */
export interface ImportResult {
  readonly users: number;
  readonly changed: number;
}

/** Puts all users into the file, or none. @throws with the first user that can't be put */
export function putAll(file: UserFile, users: ImportedUser[]): ImportResult {
  const changed = users.filter((user) => {
    try {
      return file.put(user);
    } catch (error) {
      throw new Error(`${user.address}: ${(error as Error).message}`);
    }
  });
  return { users: users.length, changed: changed.length };
}

function readCsv(text: string): ImportedUser[] {
  const [header = [], ...rows] = parseCsv(text.replace(/^\uFEFF/, ''));
  const names = header.map((name) => name.trim().toLowerCase());
  if (names.includes('password')) {
    throw new Error(
      'the column password is refused: clear passwords belong into no file; import verifiers, or set passwords one by one',
    );
  }
  const unknown = names.find((name) => !CSV_COLUMNS.includes(name));
  if (unknown !== undefined || !names.includes('address') || new Set(names).size !== names.length) {
    throw new Error(
      `the first line must name columns of ${CSV_COLUMNS.join(', ')}, address among them, got ${names.join(', ') || 'none'}`,
    );
  }
  return rows.map((cells, index) => {
    if (cells.length !== names.length) {
      throw new Error(`row ${index + 2} has ${cells.length} cells, expected ${names.length}`);
    }
    const cell = (name: string) => (names.includes(name) ? cells[names.indexOf(name)].trim() : undefined);
    const list = (name: string) => cell(name)?.split(/\s+/).filter(Boolean);
    const flag = (name: string, empty: boolean) => {
      const value = cell(name)?.toLowerCase();
      if (value !== undefined && !['', 'yes', 'no', 'true', 'false'].includes(value)) {
        throw new Error(`row ${index + 2}: ${name} must be yes or no, got ${JSON.stringify(value)}`);
      }
      return value === undefined ? undefined : value === '' ? empty : value === 'yes' || value === 'true';
    };
    return {
      address: cell('address')!,
      verifier: cell('verifier') || undefined,
      quota: cell('quota'),
      protocols: list('protocols'),
      shard: cell('shard') ? Number(cell('shard')) : undefined,
      enabled: flag('enabled', true),
      secondFactor: flag('second_factor', false),
      aliases: list('aliases'),
      groups: list('groups'),
    };
  });
}

/** Cells of each row that is not empty (RFC 4180). @throws on a quote that has no end or stands in the middle */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;
  while (cell.lastIndex < text.length) {
    const at = cell.lastIndex;
    const match = cell.exec(text);
    if (!match)
      throw new Error(`row ${rows.length + 1} has a quote that is not a cell's first and last character, at ${at}`);
    row.push(match[1] === undefined ? match[2] : match[1].replaceAll('""', '"'));
    if (match[3] !== ',') {
      if (row.some((value) => value !== '')) rows.push(row);
      row = [];
    } else if (cell.lastIndex === text.length) {
      row.push('');
    }
  }
  if (row.length > 0) rows.push(row);
  return rows;
}

function readScim(body: unknown): ImportedUser[] {
  const resources = (body as { Resources?: unknown }).Resources;
  if (!Array.isArray(resources)) {
    throw new Error('expected a SCIM ListResponse with Resources (RFC 7644, 3.4.2)');
  }
  return resources.map(
    (
      resource: {
        userName?: unknown;
        active?: unknown;
        emails?: { value: string; primary?: boolean }[];
        [SCIM_EXTENSION]?: { shard?: number };
      },
      index,
    ) => {
      const emails = (resource.emails ?? []).filter(({ value }) => typeof value === 'string');
      const primary = emails.find((email) => email.primary) ?? emails[0];
      const name =
        typeof resource.userName === 'string' && resource.userName.includes('@') ? resource.userName : undefined;
      const address = primary?.value ?? name;
      if (address === undefined) {
        throw new Error(`resource ${index + 1} has neither emails nor an address as userName`);
      }
      return {
        address,
        shard: resource[SCIM_EXTENSION]?.shard,
        enabled: typeof resource.active === 'boolean' ? resource.active : undefined,
        aliases: resource.emails && emails.map(({ value }) => value).filter((value) => value !== address),
      };
    },
  );
}

type LdapEntry = { readonly [attribute: string]: string | string[] | undefined };

/** Bit of Active Directory's userAccountControl: ACCOUNTDISABLE. */
const ACCOUNT_DISABLED = 2;

function readLdap(body: unknown): ImportedUser[] {
  if (!Array.isArray(body)) {
    throw new Error('expected an array of LDAP entries');
  }
  const entries = (body as LdapEntry[]).map((entry) =>
    Object.fromEntries(Object.entries(entry).map(([name, value]) => [name.toLowerCase(), [value ?? []].flat()])),
  );
  const groups = entries.filter((entry) => entry.member);
  return entries
    .filter((entry) => !entry.member)
    .map((entry, index) => {
      const [address] = entry.mail ?? [];
      if (address === undefined) {
        throw new Error(`entry ${entry.dn?.[0] ?? index + 1} has no mail`);
      }
      // Active Directory has SMTP: before the first address and smtp: before the others.
      const proxies = (entry.proxyaddresses ?? [])
        .filter((proxy) => /^smtp:/i.test(proxy))
        .map((proxy) => proxy.slice(5));
      const others = [...(entry.mailalternateaddress ?? []), ...proxies];
      const [locked] = entry.nsaccountlock ?? [];
      const [control] = entry.useraccountcontrol ?? [];
      const disabled = locked?.toLowerCase() === 'true' || (Number(control ?? 0) & ACCOUNT_DISABLED) !== 0;
      const dn = entry.dn?.[0]?.toLowerCase();
      // Of inetLocalMailRecipient: the host that has the mailbox.
      const shard = /^shard-(\d+)$/i.exec(entry.mailhost?.[0] ?? '')?.[1];
      const memberOf = groups.filter(
        (group) => dn !== undefined && group.member.some((member) => member.toLowerCase() === dn),
      );
      return {
        address,
        shard: shard === undefined ? undefined : Number(shard),
        enabled: locked === undefined && control === undefined ? undefined : !disabled,
        aliases:
          entry.mailalternateaddress || entry.proxyaddresses
            ? others.filter((other) => other.toLowerCase() !== address.toLowerCase())
            : undefined,
        groups: groups.length > 0 ? memberOf.flatMap((group) => (group.mail ?? []).slice(0, 1)) : undefined,
      };
    });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`the file is no JSON: ${(error as Error).message}`);
  }
}
