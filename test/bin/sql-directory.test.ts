import { Client } from 'pg';
import { openDirectory } from '../../bin/users/directory';
import { connect, parseDatabaseAddress } from '../../bin/users/sql-connection';
import { SqlDirectory } from '../../bin/users/sql-directory';
import { scramVerifier, UserFile } from '../../bin/users/user-file';
import { addDomains, migrate, readMigrations } from '../../handlers/directory-schema/migrations';
import { MIGRATIONS, postgresPrograms } from '../../local/postgres';
import { PostgresServer } from '../support/postgres';

const PASSWORD = 'correct horse';
const describeWithPostgres = postgresPrograms() ? describe : describe.skip;
if (!postgresPrograms()) {
  console.warn('PostgreSQL is not installed: the SQL directory was not tested (apt-get install postgresql)');
}

describeWithPostgres('the directory in PostgreSQL', () => {
  let server: PostgresServer;
  let count = 0;
  let name: string;
  let locationOf: (role: string) => string;
  let directory: SqlDirectory;

  beforeAll(async () => (server = await PostgresServer.start()), 60_000);
  afterAll(() => server?.stop());
  beforeEach(async () => {
    name = `mail${++count}`;
    locationOf = await server.createDirectory(name, ['example.com', 'example.org']);
    directory = new SqlDirectory(locationOf('mail_editor'));
  });

  /** Runs one statement as a role. */
  const asRole = async (role: string, sql: string) => {
    const client = await connect(parseDatabaseAddress(locationOf(role)));
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  };
  const verifier = scramVerifier(PASSWORD);

  test('keeps all that the users file keeps, and gives it back as the users file', async () => {
    const file = UserFile.parse();
    file.addDomain('example.com');
    file.addDomain('example.org');
    file.put({ address: 'alice@example.com', verifier, shard: 2 });
    file.put({ address: 'bob@example.com', verifier });
    file.requireSecondFactor('example.org', true);
    file.setEnabled('bob@example.com', false);
    file.requireSecondFactor('bob@example.com', true);
    file.change('alice@example.com', { quota: '10G', protocols: ['imap', 'smtp'] });
    file.addAlias('sales@example.com', 'alice@example.com');
    file.addAlias('sales@example.com', 'bob@example.com');
    file.addMember('team@example.org', 'bob@example.com');
    file.addAppPassword('alice@example.com', 'phone', ['imap']);
    file.addAppPassword('alice@example.com', 'scanner', ['smtp', 'imap']);
    file.erase('carol@example.com', new Date('2026-11-01T10:00:00Z'), new Date('2026-11-03T10:00:00Z'));
    file.erase('dave@example.com', new Date('2026-11-01T10:00:00Z'));

    await directory.update((there) => {
      there.requireSecondFactor('example.org', true);
      for (const entry of file.users()) {
        there.put(entry);
        if (entry.address.startsWith('alice')) {
          there.addAppPassword(entry.address, 'phone', ['imap']);
          there.addAppPassword(entry.address, 'scanner', ['smtp', 'imap']);
        }
      }
      for (const subject of ['carol', 'dave']) {
        const { since, due } = file.erasure(`${subject}@example.com`)!;
        there.erase(`${subject}@example.com`, since, due);
      }
    });
    const read = await directory.read();
    expect(read.domains()).toEqual(file.domains());
    const withoutSecrets = (users: ReturnType<UserFile['users']>) =>
      users.map((user) => ({
        ...user,
        appPasswords: user.appPasswords
          .map(({ name: of, protocols }) => ({ of, protocols }))
          .sort((a, b) => (a.of < b.of ? -1 : 1)),
      }));
    expect(withoutSecrets(read.users())).toEqual(withoutSecrets(file.users()));
    const bySubject = (erasures: ReturnType<UserFile['erasures']>) =>
      [...erasures].sort((a, b) => (a.subject < b.subject ? -1 : 1));
    expect(bySubject(read.erasures())).toEqual(bySubject(file.erasures()));

    // What was written and read back is no change.
    const { revision } = (await asRole('mail_node', 'SELECT mail.revision()'))[0] as { revision: string };
    await directory.update((there) => there.users().forEach((user) => there.put(user)));
    expect((await asRole('mail_node', 'SELECT mail.revision()'))[0]).toEqual({ revision });

    await directory.update((there) => {
      for (const address of there.addresses()) there.remove(address);
      there.removeDomain('example.org');
    });
    expect((await directory.read()).addresses()).toEqual([]);
    expect((await directory.read()).domains().map((domain) => domain.name)).toEqual(['example.com']);
  });

  test('audits each change by whom, of what, from what to what, without passwords', async () => {
    process.env.MAIL_OPERATOR = 'erin';
    try {
      await directory.update((file) => file.add('alice@example.com', PASSWORD));
      await directory.update((file) => file.setEnabled('alice@example.com', false));
      await directory.update((file) => file.setPassword('alice@example.com', 'another horse'));
      await directory.update((file) => file.remove('alice@example.com'));
    } finally {
      delete process.env.MAIL_OPERATOR;
    }
    const entries = await directory.audit(10, 'alice@example.com');
    expect(entries.map(({ action, what, operator, role }) => [action, what, operator, role])).toEqual(
      ['delete', 'update', 'update', 'insert'].map((action) => [action, 'users', 'erin', 'mail_editor']),
    );
    expect(entries[2]).toMatchObject({ before: { enabled: true }, after: { enabled: false }, client: '127.0.0.1' });
    const [before, after] = [entries[1].before, entries[1].after] as { verifier: string }[];
    expect(before.verifier).not.toBe(after.verifier);
    expect(JSON.stringify(entries)).not.toContain('SCRAM');
  });

  test('keeps the shard that was chosen, says so in the audit, and lets nobody change it', async () => {
    await directory.update((file) => file.add('alice@example.com', PASSWORD, { shard: 2 }));
    await directory.update((file) => file.change('alice@example.com', { quota: '1G' }));
    const entries = await directory.audit(10, 'alice@example.com');
    expect(entries.map(({ after }) => (after as { shard: number }).shard)).toEqual([2, 2]);
    const [line] = await asRole('mail_node', "SELECT mail.users_file(ARRAY['example.com']) AS line OFFSET 1");
    expect(line).toMatchObject({ line: expect.stringMatching(/::::::userdb_quota_storage_size=1G shard=2$/) });
    for (const shard of ['1', 'NULL']) {
      await expect(asRole('mail_editor', `UPDATE mail.users SET shard = ${shard}`)).rejects.toThrow(
        'the shard of alice@example.com was chosen when the user was added',
      );
    }
  });

  test('forgets in the audit who is erased', async () => {
    await directory.update((file) => file.put({ address: 'alice@example.com', verifier, aliases: ['al@example.com'] }));
    await directory.update((file) => file.erase('alice@example.com', new Date()));
    const entries = await directory.audit(100);
    expect(entries.length).toBeGreaterThan(4);
    expect(JSON.stringify(entries)).not.toMatch(/alice|al@example/);
  });

  test('editors at the same time lose nothing', async () => {
    const users = Array.from({ length: 8 }, (_none, index) => `user${index}@example.com`);
    await Promise.all(
      users.map((address) =>
        new SqlDirectory(locationOf('mail_editor')).update((file) => file.put({ address, verifier })),
      ),
    );
    expect((await directory.read()).addresses()).toEqual(users);
  });

  test('a change that fails leaves nothing behind', async () => {
    await expect(
      directory.update((file) => {
        file.put({ address: 'alice@example.com', verifier });
        file.remove('nobody@example.com');
      }),
    ).rejects.toThrow('nobody@example.com is not a user');
    expect((await directory.read()).addresses()).toEqual([]);
    expect(await directory.audit(10, 'alice@example.com')).toEqual([]);
  });

  test('imports 5000 users in one go', async () => {
    const users = Array.from({ length: 5000 }, (_none, index) => ({
      address: `user${index}@example.com`,
      verifier,
      aliases: [`alias${index}@example.com`],
    }));
    await directory.update((file) => users.forEach((user) => file.put(user)));
    expect((await directory.read()).allAddresses()).toHaveLength(10_000);
  }, 60_000);

  test('nodes get the lines of their domains, and nothing else of the database', async () => {
    await directory.update((file) => {
      file.put({ address: 'alice@example.com', verifier, aliases: ['a@example.com', 'a@example.org'] });
      file.put({ address: 'bob@example.org', verifier });
    });
    expect(await asRole('mail_node', "SELECT mail.users_file(ARRAY['example.com', 'example.net']) AS line")).toEqual([
      { line: '@example.com:::::::' },
      { line: `alice@example.com:${verifier}::::::aliases=a@example.com` },
    ]);
    for (const table of ['users', 'app_passwords', 'audit', 'state']) {
      await expect(asRole('mail_node', `SELECT * FROM mail.${table}`)).rejects.toThrow('permission denied');
    }
    await expect(asRole('mail_node', 'CREATE TABLE mail.mine ()')).rejects.toThrow(/permission denied|read-only/);
    await expect(asRole('mail_node', 'CREATE TABLE public.mine ()')).rejects.toThrow(/permission denied|read-only/);
  });

  test.each([
    ['DELETE FROM mail.audit'],
    ["UPDATE mail.audit SET operator = 'nobody'"],
    ["INSERT INTO mail.audit (action, what, whom) VALUES ('insert', 'users', 'x')"],
    ['TRUNCATE mail.users CASCADE'],
    ['ALTER TABLE mail.users DISABLE TRIGGER ALL'],
    ['DROP FUNCTION mail.record_change CASCADE'],
    ["SET session_replication_role = 'replica'"],
  ])('an editor can not %s', async (sql) => {
    await expect(asRole('mail_editor', sql)).rejects.toThrow(/permission denied|must be owner/);
  });

  test.each([
    ["'alice@example.com', 'secret'"],
    [`'alice@example.com', '{SCRAM-SHA-256}4096${verifier.slice(verifier.indexOf(','))}'`],
    [`'Alice@example.com', '${verifier}'`],
    [`'a/b@example.com', '${verifier}'`],
  ])('refuses (%s) from whoever writes', async (values) => {
    const insert = `INSERT INTO mail.users (address, verifier, enabled, second_factor) VALUES (${values}, true, false)`;
    await expect(asRole('mail_editor', insert)).rejects.toThrow('violates check constraint');
  });

  test('fails when the domain is not known, and says what makes it known', async () => {
    await expect(directory.update((file) => file.put({ address: 'x@example.net' }))).rejects.toThrow(
      'example.net is no domain of the directory; "domain add example.net" makes it one',
    );
  });

  test('fails when the certificate is not for the host, or from nobody known', async () => {
    await expect(openDirectory(locationOf('mail_editor').replace('localhost', '127.0.0.1')).read()).rejects.toThrow(
      /can't reach the database at 127.0.0.1:\d+: .*(altnames|IP)/,
    );
    await expect(openDirectory(locationOf('mail_editor').replace(/\?.*/, '')).read()).rejects.toThrow(
      'self-signed certificate',
    );
  });

  test('a tunnel leads to a port here, and the certificate is still the host’s', async () => {
    const location = locationOf('mail_editor').replace(/:\d+\//, ':5433/');
    await expect(openDirectory(location, { tunnel: server.port }).read()).resolves.toBeInstanceOf(UserFile);
    const other = location.replace('localhost', 'db.example.com');
    await expect(openDirectory(other, { tunnel: server.port }).read()).rejects.toThrow('db.example.com');
  });

  test('fails when the password is wrong, and does not repeat it', async () => {
    const failure = openDirectory(locationOf('mail_editor').replace(':secret@', ':mistake@')).read();
    await expect(failure).rejects.toThrow('does not let mail_editor in');
    await expect(failure).rejects.not.toThrow('mistake');
  });

  describe('migrations', () => {
    const inNew = async (work: (client: Client) => Promise<void>) => {
      const database = `empty${++count}`;
      await server.asOwner((client) => client.query(`CREATE DATABASE ${database}`), 'postgres');
      await server.asOwner(work, database);
    };
    const all = readMigrations(MIGRATIONS);

    test('are applied once, in their order, by however many at a time', async () => {
      await inNew(async (client) => {
        const again = new Client({ ...(client as unknown as { connectionParameters: object }).connectionParameters });
        await again.connect();
        const applied = await Promise.all([migrate(client, all), migrate(again, all)]);
        await again.end();
        expect(applied.flat()).toEqual(all.map((migration) => migration.name));
        await addDomains(client, ['example.com']);
        await addDomains(client, ['example.com', 'example.org']);
      });
    });

    test('that fail leave what was before', async () => {
      await inNew(async (client) => {
        const name = '9999-bad.sql';
        const bad = { version: 9999, name, sql: 'CREATE TABLE mail.new (); SELECT nonsense', digest: 'x' };
        await expect(migrate(client, [...all, bad])).rejects.toThrow('9999-bad.sql: column "nonsense" does not exist');
        expect(await migrate(client, all)).toEqual([]);
        const { rows } = await client.query("SELECT to_regclass('mail.new') AS made");
        expect(rows).toEqual([{ made: null }]);
      });
    });

    test('keep the users of before, who have no shard of their own', async () => {
      await inNew(async (client) => {
        await migrate(client, all.slice(0, 2));
        await addDomains(client, ['example.com']);
        await client.query(
          "INSERT INTO mail.users (address, verifier, enabled, second_factor) VALUES ('a@example.com', $1, true, false)",
          [verifier],
        );
        expect(await migrate(client, all)).toEqual(all.slice(2).map((migration) => migration.name));
        const { rows } = await client.query('SELECT mail.users_file() AS line OFFSET 1');
        expect(rows).toEqual([{ line: `a@example.com:${verifier}::::::` }]);
      });
    });

    test('that were changed, or are newer than the release, are refused', async () => {
      await inNew(async (client) => {
        await migrate(client, all);
        await expect(migrate(client, [{ ...all[0], digest: 'other' }, all[1]])).rejects.toThrow(
          'applied with other content',
        );
        await expect(migrate(client, all.slice(0, 1))).rejects.toThrow('newer than this release');
      });
    });
  });
});
