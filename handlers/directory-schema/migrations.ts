import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import * as path from 'node:path';
import type { Client } from 'pg';

/** A step of the schema; files are named `0001-what.sql` and never change once they were released. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the file, hexadecimal. */
  readonly digest: string;
}

/** Migrations of a folder in their order. @throws when a number is missing or there twice */
export function readMigrations(folder: string): Migration[] {
  const files = readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .sort();
  return files.map((file, index) => {
    const version = Number(/^(\d{4})-/.exec(file)?.[1]);
    if (version !== index + 1) {
      throw new Error(`expected migration ${index + 1} in ${folder}, got ${file}`);
    }
    const sql = readFileSync(path.join(folder, file), 'utf8');
    return { version, name: file, sql, digest: createHash('sha256').update(sql).digest('hex') };
  });
}

/**
 * Brings the schema up to date: each migration that is missing in a transaction of its own, by one caller at a time.
 *
 * @returns names of those that were applied
 * @throws when one that was applied has changed since, or the database has one that is not known here
 */
export async function migrate(client: Client, migrations: Migration[]): Promise<string[]> {
  await client.query("SELECT pg_advisory_lock(hashtext('mail migrations'))");
  try {
    await client.query(
      'CREATE TABLE IF NOT EXISTS mail_migrations ' +
        '(version int PRIMARY KEY, name text NOT NULL, digest text NOT NULL, at timestamptz NOT NULL DEFAULT now())',
    );
    const { rows } = await client.query<Migration>(
      'SELECT version, name, digest FROM mail_migrations ORDER BY version',
    );
    for (const { version, name, digest } of rows) {
      const known = migrations.find((migration) => migration.version === version);
      if (!known) {
        throw new Error(`the database has ${name}, which is newer than this release; deploy a release that knows it`);
      }
      if (known.digest !== digest) {
        throw new Error(`${name} was applied with other content than ${known.name} has; add a new migration instead`);
      }
    }
    const missing = migrations.filter(({ version }) => !rows.some((row) => row.version === version));
    for (const migration of missing) await apply(client, migration);
    return missing.map(({ name }) => name);
  } finally {
    await client.query("SELECT pg_advisory_unlock(hashtext('mail migrations'))").catch(() => undefined);
  }
}

async function apply(client: Client, { version, name, sql, digest }: Migration): Promise<void> {
  try {
    await client.query('BEGIN');
    await client.query(sql);
    await client.query('INSERT INTO mail_migrations (version, name, digest) VALUES ($1, $2, $3)', [
      version,
      name,
      digest,
    ]);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw new Error(`${name}: ${(error as Error).message}`);
  }
}

/** Has the directory know the domains; those that it knows stay as they are. */
export async function addDomains(client: Client, domains: string[]): Promise<void> {
  await client.query(
    'INSERT INTO mail.domains (name, enabled, second_factor) ' +
      'SELECT name, true, false FROM unnest($1::text[]) AS name ' +
      'WHERE name NOT IN (SELECT name FROM mail.domains)',
    [domains],
  );
}
