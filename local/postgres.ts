import { existsSync, readdirSync } from 'node:fs';
import * as path from 'node:path';
import { Client } from 'pg';
import { PROJECT } from './paths';

/** The schema's migrations. */
export const MIGRATIONS = path.join(PROJECT, 'assets', 'directory', 'migrations');

/** Arguments of setpriv: PostgreSQL wants no root. */
export const AS_POSTGRES = ['--reuid=postgres', '--regid=postgres', '--init-groups'];

/** Folder of PostgreSQL's programs, where Debian has them, of the newest version; nothing when it is not installed. */
export function postgresPrograms(): string | undefined {
  const base = '/usr/lib/postgresql';
  const versions = existsSync(base) ? readdirSync(base).sort((a, b) => Number(b) - Number(a)) : [];
  return versions.map((version) => path.join(base, version, 'bin')).find((bin) => existsSync(path.join(bin, 'initdb')));
}

/**
 * Does something as the owner of all, whom the server trusts on its socket.
 *
 * @param host folder of the socket
 */
export async function asOwner<T>(
  { host, port, database }: { readonly host: string; readonly port: number; readonly database: string },
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client({ host, port, user: 'owner', database });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
