import { type ChildProcess } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import type { Client } from 'pg';
import { openDirectory, type Directory } from '../bin/users/directory';
import { addDomains, migrate, readMigrations } from '../handlers/directory-schema/migrations';
import type { CertificateAuthority } from './certificate-authority';
import type { Plan } from './plan';
import { AS_POSTGRES, asOwner, MIGRATIONS, postgresPrograms } from './postgres';
import { run, start, waitFor } from './run';

/**
 * What stands for Aurora: Debian's PostgreSQL on the gateway, under the name that the nodes know, with a certificate of the local authority.
 * The schema is that of the migrations. Roles come in by TLS only; nobody here can check a token of IAM, so it is not looked at.
 */
export class LocalDatabase {
  private process?: ChildProcess;

  constructor(
    private readonly plan: Plan,
    private readonly folder: string,
    private readonly authority: CertificateAuthority,
  ) {}

  /** Where mail-users finds it from the sandbox's own network. */
  public directory(): Directory {
    const { MAIL_DIRECTORY_DATABASE: database } = this.plan.environment;
    const address = `postgres://mail_editor@${this.host}:${this.port}/${database}?sslrootcert=${this.authority.certificateFile}`;
    return openDirectory(address, { tunnel: this.port });
  }

  /** Makes a new database; when it resolves, the directory answers. */
  public async create(): Promise<void> {
    const bin = programs();
    mkdirSync(this.home, { recursive: true });
    await run('chown', ['postgres', this.home]);
    // The folder of the run is root's.
    chmodSync(this.folder, 0o711);
    await run(
      'setpriv',
      [
        ...AS_POSTGRES,
        path.join(bin, 'initdb'),
        '--auth=trust',
        '--username=owner',
        '--no-sync',
        '--encoding=UTF8',
        this.data,
      ],
      { cwd: this.home },
    );
    const certificate = path.join(this.home, 'server.pem');
    copyFileSync(await this.authority.issue(this.host), certificate);
    chmodSync(certificate, 0o600);
    await run('chown', ['postgres', certificate]);
    writeFileSync(
      path.join(this.data, 'pg_hba.conf'),
      'local all owner trust\nhostssl all mail_node,mail_editor 0.0.0.0/0 trust\n',
    );
    await this.start();
    await this.asOwner(
      (client) => client.query(`CREATE DATABASE ${this.plan.environment.MAIL_DIRECTORY_DATABASE}`),
      'postgres',
    );
    await this.asOwner(async (client) => {
      await migrate(client, readMigrations(MIGRATIONS));
      await addDomains(client, this.plan.environment.MAIL_DOMAINS.split(' '));
    });
  }

  /** Starts it again after `stop`. */
  public async start(): Promise<void> {
    const pem = path.join(this.home, 'server.pem');
    const settings = [
      'listen_addresses=*',
      `unix_socket_directories=${this.home}`,
      'fsync=off',
      'ssl=on',
      `ssl_cert_file=${pem}`,
      `ssl_key_file=${pem}`,
    ];
    const log = openSync(path.join(this.folder, 'postgres.log'), 'a');
    const options = settings.flatMap((setting) => ['-c', setting]);
    this.process = start(
      'setpriv',
      [...AS_POSTGRES, path.join(programs(), 'postgres'), '-D', this.data, '-p', `${this.port}`, ...options],
      log,
      { cwd: this.home },
    );
    await waitFor('PostgreSQL', 30_000, () => this.asOwner((client) => client.query('SELECT 1'), 'postgres'));
  }

  /** Ends it at once, with all connections. */
  public async kill(): Promise<void> {
    const { process } = this;
    if (!process || process.exitCode !== null) return;
    const ended = new Promise((resolve) => process.once('exit', resolve));
    process.kill('SIGQUIT');
    await ended;
  }

  /** Does something as the owner of all. */
  public asOwner<T>(
    work: (client: Client) => Promise<T>,
    database = this.plan.environment.MAIL_DIRECTORY_DATABASE,
  ): Promise<T> {
    return asOwner({ host: this.home, port: this.port, database }, work);
  }

  private get host(): string {
    return this.plan.environment.MAIL_DIRECTORY_HOST;
  }

  private get port(): number {
    return Number(this.plan.environment.MAIL_DIRECTORY_PORT);
  }

  private get home(): string {
    return path.join(this.folder, 'database');
  }

  private get data(): string {
    return path.join(this.home, 'data');
  }
}

function programs(): string {
  const bin = postgresPrograms();
  if (bin === undefined) throw new Error('PostgreSQL is missing; apt-get install postgresql');
  return bin;
}
