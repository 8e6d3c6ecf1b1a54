import type { UserFile } from './user-file';

type Row = { readonly [column: string]: unknown };

/** A table of the schema `mail`. */
export interface Table {
  readonly name: string;
  readonly key: string[];
  readonly columns: string[];
  /** Its rows, as the users file has them. */
  readonly rows: (file: UserFile) => Row[];
}

/** What a change of the users file does to a table. */
export interface TableChanges {
  readonly table: Table;
  /** Keys of rows that are no longer there. */
  readonly gone: Row[];
  /** Rows that are new, or have other columns. */
  readonly put: Row[];
}

/** Tables, each behind those that it refers to. */
export const TABLES: Table[] = [
  {
    name: 'domains',
    key: ['name'],
    columns: ['enabled', 'second_factor'],
    rows: (file) =>
      file.domains().map(({ name, enabled, secondFactor }) => ({ name, enabled, second_factor: secondFactor })),
  },
  {
    name: 'users',
    key: ['address'],
    columns: ['verifier', 'quota', 'enabled', 'second_factor', 'protocols', 'shard'],
    rows: (file) =>
      file.users().map(({ address, verifier, quota, enabled, secondFactor, protocols, shard }) => ({
        address,
        verifier,
        quota: quota ?? null,
        enabled,
        second_factor: secondFactor,
        protocols: protocols ?? null,
        shard: shard ?? null,
      })),
  },
  {
    name: 'aliases',
    key: ['alias', 'address'],
    columns: [],
    rows: (file) => file.users().flatMap(({ address, aliases }) => aliases.map((alias) => ({ alias, address }))),
  },
  {
    name: 'group_members',
    key: ['group_address', 'address'],
    columns: [],
    rows: (file) =>
      file.users().flatMap(({ address, groups }) => groups.map((group) => ({ group_address: group, address }))),
  },
  {
    name: 'app_passwords',
    key: ['address', 'id'],
    columns: ['name', 'protocols', 'verifier'],
    rows: (file) =>
      file
        .users()
        .flatMap(({ address, appPasswords }) =>
          appPasswords.map(({ id, name, protocols, verifier }) => ({ address, id, name, protocols, verifier })),
        ),
  },
  {
    name: 'erasures',
    key: ['subject'],
    columns: ['since', 'due'],
    rows: (file) => file.erasures().map(({ subject, since, due }) => ({ subject, since, due: due ?? null })),
  },
];

/** What it takes to get from one state to another. */
export function changesBetween(before: UserFile, after: UserFile): TableChanges[] {
  return TABLES.map((table) => {
    const keyOf = (row: Row) => table.key.map((column) => row[column]).join('\n');
    const old = new Map(table.rows(before).map((row) => [keyOf(row), row]));
    const now = new Map(table.rows(after).map((row) => [keyOf(row), row]));
    return {
      table,
      gone: [...old].filter(([key]) => !now.has(key)).map(([, row]) => row),
      put: [...now].filter(([key, row]) => JSON.stringify(old.get(key)) !== JSON.stringify(row)).map(([, row]) => row),
    };
  });
}
