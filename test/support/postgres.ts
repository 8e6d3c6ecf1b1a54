import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import type { Client } from 'pg';
import { addDomains, migrate, readMigrations } from '../../handlers/directory-schema/migrations';
import { AS_POSTGRES, asOwner, MIGRATIONS, postgresPrograms } from '../../local/postgres';

/** A PostgreSQL server of its own, with TLS, on a free port of the loopback; gone after `stop`. */
export class PostgresServer {
  /** @throws when PostgreSQL is not installed, or does not start */
  public static async start(): Promise<PostgresServer> {
    const bin = postgresPrograms();
    if (!bin) throw new Error('PostgreSQL is not installed');
    const folder = mkdtempSync(path.join(tmpdir(), 'postgres-'));
    // PostgreSQL wants no root.
    const owner = process.getuid?.() === 0 ? ['setpriv', ...AS_POSTGRES] : [];
    if (owner.length > 0) execFileSync('chown', ['postgres', folder]);
    const run = (command: string, ...args: string[]) => {
      const [program, ...rest] = [...owner, command, ...args];
      execFileSync(program, rest, { stdio: ['ignore', 'ignore', 'pipe'], cwd: folder });
    };
    const data = path.join(folder, 'data');
    run(path.join(bin, 'initdb'), '--auth=trust', '--username=owner', '--no-sync', '--encoding=UTF8', data);
    const certificate = path.join(folder, 'server.crt');
    run(
      'openssl',
      ...'req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext'.split(' '),
      'subjectAltName=DNS:localhost',
      '-keyout',
      path.join(folder, 'server.key'),
      '-out',
      certificate,
    );
    writeFileSync(
      path.join(data, 'pg_hba.conf'),
      'local all owner trust\nhostssl all owner 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n',
    );
    const port = await freePort();
    const [program, ...args] = [
      ...owner,
      path.join(bin, 'postgres'),
      '-D',
      data,
      '-p',
      String(port),
      '-k',
      folder,
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      'fsync=off',
      '-c',
      'ssl=on',
      '-c',
      `ssl_cert_file=${certificate}`,
      '-c',
      `ssl_key_file=${path.join(folder, 'server.key')}`,
    ];
    const child = spawn(program, args, { stdio: 'ignore', cwd: folder });
    chmodSync(folder, 0o755); // the certificate is for clients, too
    const server = new PostgresServer(folder, port, certificate, child);
    for (let attempt = 0; ; attempt++) {
      try {
        await server.asOwner((client) => client.query('SELECT 1'), 'postgres');
        return server;
      } catch (error) {
        if (attempt > 100) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  private constructor(
    private readonly folder: string,
    public readonly port: number,
    /** File with the certificate that clients trust. */
    public readonly certificate: string,
    private readonly process: ChildProcess,
  ) {}

  /** A database with the schema as it is now, both roles with the password `secret`; the address for a role. */
  public async createDirectory(name: string, domains: string[]): Promise<(role: string) => string> {
    await this.asOwner((client) => client.query(`CREATE DATABASE ${name}`), 'postgres');
    await this.asOwner(async (client) => {
      await migrate(client, readMigrations(MIGRATIONS));
      await addDomains(client, domains);
      for (const role of ['mail_node', 'mail_editor']) await client.query(`ALTER ROLE ${role} PASSWORD 'secret'`);
    }, name);
    return (role) => `postgres://${role}:secret@localhost:${this.port}/${name}?sslrootcert=${this.certificate}`;
  }

  /** Does something as the owner of all. */
  public asOwner<T>(work: (client: Client) => Promise<T>, database: string): Promise<T> {
    return asOwner({ host: this.folder, port: this.port, database }, work);
  }

  public async stop(): Promise<void> {
    if (this.process.exitCode === null) {
      const ended = new Promise((resolve) => this.process.once('exit', resolve));
      this.process.kill('SIGINT');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
