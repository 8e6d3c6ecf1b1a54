import { ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { buildSync } from 'esbuild';
import { UserDirectory } from '../../bin/users/user-directory';

const LOCATION = 's3://mail-users-test/users';
const PASSWORD = 'correct horse';

// The S3 API over HTTP as the command meets it: https://docs.getmoto.org/en/latest/docs/server_mode.html
const moto = spawnSync('moto_server', ['--version']).error === undefined;
const describeWithS3 = moto ? describe : describe.skip;
if (!moto) {
  console.warn('moto_server is not installed: the mail-users command was not tested (pip install "moto[server]")');
}

describeWithS3('mail-users', () => {
  let folder: string;
  let command: string;
  let server: ChildProcess;
  let environment: NodeJS.ProcessEnv;
  let s3: S3Client;

  beforeAll(async () => {
    // As the package ships it: one file.
    folder = mkdtempSync(join(tmpdir(), 'mail-users-'));
    command = join(folder, 'mail-users.js');
    buildSync({
      entryPoints: [join(__dirname, '..', '..', 'bin', 'mail-users.ts')],
      outfile: command,
      bundle: true,
      platform: 'node',
    });
    const port = await freePort();
    server = spawn('moto_server', ['-H', '127.0.0.1', '-p', `${port}`], { stdio: 'ignore' });
    const endpoint = `http://127.0.0.1:${port}`;
    environment = {
      ...process.env,
      AWS_ENDPOINT_URL: endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
    };
    s3 = new S3Client({
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    });
    await untilAnswered(() => s3.send(new CreateBucketCommand({ Bucket: 'mail-users-test' })));
  }, 30_000);

  afterAll(() => {
    s3?.destroy();
    server?.kill();
    rmSync(folder, { recursive: true });
  });

  function run(argv: string[], input = '') {
    const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...argv], {
      input,
      env: environment,
      encoding: 'utf8',
    });
    return { status, stdout, stderr };
  }

  test('adds, lists, changes and removes a user', async () => {
    const directory = ['--directory', LOCATION];
    expect(run(['list', ...directory])).toMatchObject({ status: 0, stdout: '' });
    expect(run(['add', ...directory, '--quota', '10G', 'alice@example.com'], `${PASSWORD}\n`).status).toBe(0);
    expect(run(['add', ...directory, 'bob@example.com'], `${PASSWORD}\n`).status).toBe(0);
    expect(run(['list', ...directory]).stdout).toBe('alice@example.com\nbob@example.com\n');

    const before = await stored();
    expect(before).toMatch(/^alice@example\.com:\{SCRAM-SHA-256\}100000,.*userdb_quota_storage_size=10G$/m);
    expect(before).not.toContain(PASSWORD);
    expect(run(['password', ...directory, 'alice@example.com'], 'another good one\n').status).toBe(0);
    expect((await stored()).split('\n')[0]).not.toBe(before.split('\n')[0]);

    expect(run(['remove', ...directory, 'alice@example.com']).status).toBe(0);
    expect(run(['list', ...directory]).stdout).toBe('bob@example.com\n');

    expect(run(['add', ...directory, '--shard', 'shard-2', 'dave@example.com'], `${PASSWORD}\n`).status).toBe(0);
    expect(run(['shard', 'list', ...directory]).stdout).toBe('dave@example.com shard-2\n');
    expect(run(['remove', ...directory, 'dave@example.com']).status).toBe(0);
  }, 60_000);

  test('makes up app passwords, shows them once, lists and revokes them', async () => {
    const directory = ['--directory', LOCATION];
    expect(run(['add', ...directory, 'carol@example.com'], `${PASSWORD}\n`).status).toBe(0);
    const phone = [
      'app-password',
      'add',
      ...directory,
      '--name',
      'phone',
      '--protocols',
      'imap,smtp',
      'carol@example.com',
    ];
    const { status, stdout } = run(phone);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^([a-z2-7]{4}-){4}[a-z2-7]{4}\n$/);
    expect(await stored()).not.toContain(stdout.trim().slice(5));
    expect(run(['app-password', 'list', ...directory, 'carol@example.com']).stdout).toBe('phone imap,smtp\n');
    expect(run(['app-password', 'revoke', ...directory, '--name', 'phone', 'carol@example.com']).status).toBe(0);
    expect(run(['app-password', 'list', ...directory, 'carol@example.com']).stdout).toBe('');

    expect(run(['second-factor', 'required', ...directory, 'example.com']).status).toBe(0);
    expect(run(['disable', ...directory, 'carol@example.com']).status).toBe(0);
    expect(await stored()).toMatch(/^carol@example\.com:.*::::::login=none\n@example\.com:::::::login=second-factor$/m);
    expect(run(['second-factor', 'optional', ...directory, 'example.com']).status).toBe(0);
    expect(run(['enable', ...directory, 'carol@example.com']).status).toBe(0);
    expect(await stored()).toMatch(/^carol@example\.com:[^:]*::::::$/m);
    expect(run(['remove', ...directory, 'carol@example.com']).status).toBe(0);
  }, 60_000);

  test('does not lose a user that someone else adds at the same time, also not the first one', async () => {
    const location = 's3://mail-users-test/raced';
    const intruder = new UserDirectory(location, s3);
    for (const name of ['first', 'second']) {
      let raced = false;
      const racedClient = new S3Client({
        endpoint: environment.AWS_ENDPOINT_URL,
        region: 'us-east-1',
        forcePathStyle: true,
        credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
      });
      racedClient.middlewareStack.add(
        (next, context) => async (args) => {
          if (context.commandName === 'PutObjectCommand' && !raced) {
            raced = true;
            await intruder.update((file) => file.add(`intruder-${name}@example.com`, PASSWORD));
          }
          return next(args);
        },
        { step: 'initialize' },
      );
      await new UserDirectory(location, racedClient).update((file) => file.add(`${name}@example.com`, PASSWORD));
      racedClient.destroy();
    }
    expect((await intruder.read()).addresses()).toEqual([
      'intruder-first@example.com',
      'first@example.com',
      'intruder-second@example.com',
      'second@example.com',
    ]);
  }, 30_000);

  test.each([
    ['the directory is missing', ['list'], '', '--directory is missing'],
    [
      'the directory is no S3 address',
      ['list', '--directory', '/etc/users'],
      '',
      'directory must be s3://bucket/users or postgres://role@host:port/database, got',
    ],
    ['the bucket is not there', ['list', '--directory', 's3://no-such-bucket/users'], '', 'there is no bucket'],
    ['the command is unknown', ['rename', '--directory', LOCATION, 'a@example.com'], '', 'command must be add'],
    ['the password is an argument', ['add', '--directory', LOCATION, 'a@example.com', PASSWORD], '', 'one address'],
    ['no password is given', ['add', '--directory', LOCATION, 'a@example.com'], '', 'no password on standard input'],
    ['the password is short', ['add', '--directory', LOCATION, 'a@example.com'], 'short\n', '8 characters or more'],
    ['the address is bad', ['add', '--directory', LOCATION, 'a'], `${PASSWORD}\n`, 'address must be name@domain'],
    [
      'an app password has no protocols',
      ['app-password', 'add', '--directory', LOCATION, '--name', 'phone', 'a@example.com'],
      '',
      '--protocols is missing',
    ],
    ['half of the command is missing', ['app-password', '--directory', LOCATION], '', 'command must be add'],
    [
      'an option is for another command',
      ['disable', '--directory', LOCATION, '--name', 'phone', 'a@example.com'],
      '',
      '--name goes with app-password add and app-password revoke only',
    ],
    [
      'a shard is to change',
      ['set', '--directory', LOCATION, '--shard', '2', 'bob@example.com'],
      '',
      '--shard goes with add only',
    ],
    [
      'the shard is no number',
      ['add', '--directory', LOCATION, '--shard', 'first', 'a@example.com'],
      `${PASSWORD}\n`,
      'shard must be a number from 1 to 10',
    ],
    ['the user is unknown', ['remove', '--directory', LOCATION, 'nobody@example.com'], '', 'is not a user'],
  ])(
    'fails when %s',
    (_name, argv, input, message) => {
      const { status, stderr } = run(argv, input);
      expect(stderr).toContain(message);
      expect(stderr).not.toMatch(/^\s+at /m);
      expect(status).toBe(1);
    },
    20_000,
  );

  test('fails when the file in S3 is damaged, and does not touch it', async () => {
    const damaged = 'this is not a users file\n';
    await s3.send(new PutObjectCommand({ Bucket: 'mail-users-test', Key: 'damaged', Body: damaged }));
    const { status, stderr } = run(
      ['add', '--directory', 's3://mail-users-test/damaged', 'a@example.com'],
      `${PASSWORD}\n`,
    );
    expect(stderr).toContain('users file, line 1');
    expect(status).toBe(1);
    expect(await stored('damaged')).toBe(damaged);
  }, 20_000);

  async function stored(key = 'users'): Promise<string> {
    const object = await s3.send(new GetObjectCommand({ Bucket: 'mail-users-test', Key: key }));
    return object.Body!.transformToString();
  }
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}

async function untilAnswered(ask: () => Promise<unknown>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await ask();
      return;
    } catch (error) {
      if (attempt === 100) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
