import { hostname, userInfo } from 'node:os';
import type { Client } from 'pg';
import type { Directory, DirectoryOptions } from './directory';
import { connect, type DatabaseAddress, hide, parseDatabaseAddress } from './sql-connection';
import { changesBetween, type TableChanges } from './sql-tables';
import { UserFile } from './user-file';

/** Who changed what, as the audit has it. */
export interface AuditEntry {
  readonly at: Date;
  readonly operator: string;
  readonly role: string;
  readonly client: string | null;
  readonly action: 'insert' | 'update' | 'delete';
  /** Table. */
  readonly what: string;
  /** Address, domain, or subject of an erasure. */
  readonly whom: string;
  readonly before: object | null;
  readonly after: object | null;
}

/**
 * The directory in PostgreSQL (assets/directory/migrations). It is changed as the users file is, so that both have the same rules: a
 * transaction that holds the one row of mail.state reads all, applies the change, and writes the rows that differ. Triggers
 * audit each.
 */
export class SqlDirectory implements Directory {
  public readonly location: string;
  private readonly address: DatabaseAddress;

  /** @throws when the location is no address of a database */
  constructor(
    location: string,
    private readonly options: DirectoryOptions = {},
  ) {
    this.location = hide(location);
    this.address = parseDatabaseAddress(location);
  }

  public read(): Promise<UserFile> {
    return this.connected((client) => readFile(client));
  }

  public update(change: (file: UserFile) => void): Promise<void> {
    return this.connected(async (client) => {
      await client.query("SELECT set_config('mail.operator', $1, false)", [operatorName()]);
      await client.query('BEGIN');
      // Whoever else changes anything waits here, and reads what we leave.
      await client.query('SELECT 1 FROM mail.state FOR UPDATE');
      const before = await readFile(client);
      const after = UserFile.parse(before.toString());
      change(after);
      await write(client, changesBetween(before, after));
      await client.query('COMMIT');
    });
  }

  /** The latest changes, the last one first. */
  public audit(limit: number, whom?: string): Promise<AuditEntry[]> {
    return this.connected(async (client) => {
      const { rows } = await client.query<AuditEntry>(
        'SELECT at, operator, role, host(client) AS client, action, what, whom, before, after FROM mail.audit ' +
          'WHERE $2::text IS NULL OR whom = $2 ORDER BY id DESC LIMIT $1',
        [limit, whom ?? null],
      );
      return rows;
    });
  }

  private async connected<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = await connect(this.address, this.options);
    try {
      return await work(client);
    } catch (error) {
      throw explain(error, this.location);
    } finally {
      // What was not committed is as if it had not been.
      await client.end().catch(() => undefined);
    }
  }
}

async function readFile(client: Client): Promise<UserFile> {
  const { rows } = await client.query<{ line: string }>('SELECT users_file AS line FROM mail.users_file()');
  return UserFile.parse(rows.map(({ line }) => `${line}\n`).join(''));
}

/** Rows that go first, so that none refers to one that is gone; then those that are new or other. */
async function write(client: Client, changes: TableChanges[]): Promise<void> {
  for (const { table, gone } of [...changes].reverse()) {
    if (gone.length === 0) continue;
    const keys = (of: string) => `(${table.key.map((column) => `${of}.${column}`).join(', ')})`;
    await client.query(
      `DELETE FROM mail.${table.name} t USING jsonb_populate_recordset(NULL::mail.${table.name}, $1) r ` +
        `WHERE ${keys('t')} = ${keys('r')}`,
      [JSON.stringify(gone)],
    );
  }
  for (const { table, put } of changes) {
    if (put.length === 0) continue;
    const columns = [...table.key, ...table.columns].join(', ');
    const update = table.columns.map((column) => `${column} = excluded.${column}`).join(', ');
    await client.query(
      `INSERT INTO mail.${table.name} (${columns}) ` +
        `SELECT ${columns} FROM jsonb_populate_recordset(NULL::mail.${table.name}, $1) ` +
        `ON CONFLICT (${table.key.join(', ')}) DO ${update ? `UPDATE SET ${update}` : 'NOTHING'}`,
      [JSON.stringify(put)],
    );
  }
}

/** What the audit has beside the role, which many people may share. The database can't check it; CloudTrail says who got a token. */
function operatorName(): string {
  return process.env.MAIL_OPERATOR ?? `${userInfo().username}@${hostname()}`;
}

function explain(error: unknown, location: string): unknown {
  const { code, constraint, detail, message, table } = error as {
    code?: string;
    constraint?: string;
    detail?: string;
    message: string;
    table?: string;
  };
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code)) {
    return error;
  }
  if (constraint === 'users_domain_fkey') {
    const [, domain] = /\(domain\)=\(([^)]*)\)/.exec(detail ?? '') ?? [];
    return new Error(`${domain} is no domain of the directory; "domain add ${domain}" makes it one`);
  }
  if (code === '3F000' || code === '42P01' || code === '42883') {
    return new Error(`${location} has no schema yet; a deployment of the stack makes it`);
  }
  if (code === '25006') {
    return new Error(
      `${location} takes no changes; it is the address for reading, the stack's output has the other one`,
    );
  }
  return new Error(`${location}: ${message}${table ? ` (mail.${table})` : ''}`);
}
