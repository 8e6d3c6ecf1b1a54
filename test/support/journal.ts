import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  type ListObjectVersionsCommandOutput,
  PutBucketVersioningCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { FaultyProxy, startFaultyProxy } from './faulty-proxy';
import { MotoServer, startMotoServer } from './moto-server';

const SERVE = join(__dirname, '..', '..', 'assets', 'node', 'libexec', 'journal', 'serve');

/** Listens and hands over the sockets as systemd does for mail-journal.socket. */
const ACTIVATE = `
import os, socket, sys
listeners = []
for path in sys.argv[2:]:
    listeners.append(socket.socket(socket.AF_UNIX))
    listeners[-1].bind(path)
    listeners[-1].listen(128)
high = [os.dup(listener.fileno()) for listener in listeners for _ in range(4)]
for index, listener in enumerate(listeners):
    os.dup2(high[4 * index + 3], 3 + index)
os.environ['LISTEN_FDS'] = str(len(listeners))
os.execvp('python3', ['python3', '-B', sys.argv[1]])
`;

/** A message as Postfix hands it over. */
export interface Copy {
  readonly queueId: string;
  readonly sender: string;
  /** Names of the copies. */
  readonly copies: string[];
  readonly data: string;
  readonly client?: string;
}

/** An object of the journal, unpacked. */
export interface Journalled {
  readonly key: string;
  readonly versionId: string;
  readonly text: string;
  readonly metadata: { [name: string]: string };
  /** As S3 keeps it, base64. */
  readonly checksum?: string;
  readonly packed: Buffer;
}

/** The journal's daemon between a client that speaks as Postfix does and S3 of moto, behind a proxy that can fail. */
export class JournalBench {
  public proxy!: FaultyProxy;
  public bucket = '';
  /** Bucket with the keys of a sealed journal. */
  public keysBucket?: string;
  /** Lines that the daemon said. */
  public readonly said: string[] = [];
  /** Past the proxy. */
  public s3!: S3Client;
  private moto!: MotoServer;
  private folder = '';
  private daemon?: ChildProcess;
  private buckets = 0;

  public async start(): Promise<void> {
    this.folder = mkdtempSync(join(tmpdir(), 'journal-'));
    this.moto = await startMotoServer();
    this.proxy = await startFaultyProxy(this.moto.url);
    this.s3 = new S3Client({ ...this.moto.clientOptions, forcePathStyle: true });
  }

  /** For SDK clients past the proxy. */
  public get awsOptions(): MotoServer['clientOptions'] {
    return this.moto.clientOptions;
  }

  public async stop(): Promise<void> {
    await this.kill();
    this.s3?.destroy();
    await this.proxy?.stop();
    await this.moto?.stop();
    for (const folder of [this.folder, this.maps]) rmSync(folder, { recursive: true, force: true });
  }

  /** An empty bucket, and a daemon that writes to it; sealed for the addresses that somebody has, if they are given. */
  public async begin(known?: readonly string[]): Promise<void> {
    await this.kill();
    this.proxy.behave();
    this.said.length = 0;
    this.bucket = await this.newBucket(`journal-${++this.buckets}`);
    this.keysBucket = known && (await this.newBucket(`keys-${this.buckets}`));
    if (known) this.know(known);
    await this.launch();
  }

  /** Writes the maps of Postfix as libexec/directory/sync does: whose addresses are known. */
  public know(addresses: readonly string[]): void {
    mkdirSync(this.maps, { recursive: true });
    writeFileSync(join(this.maps, 'mailboxes'), addresses.map((address) => `${address} mailbox\n`).join(''));
    writeFileSync(join(this.maps, 'aliases'), '');
  }

  private async newBucket(Bucket: string): Promise<string> {
    const CreateBucketConfiguration = { LocationConstraint: 'eu-central-1' } as const;
    const bucket = { Bucket, CreateBucketConfiguration, ObjectLockEnabledForBucket: true };
    await this.s3.send(new CreateBucketCommand(bucket));
    const VersioningConfiguration = { Status: 'Enabled' } as const;
    await this.s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }));
    return Bucket;
  }

  private get maps(): string {
    return `${this.folder}.maps`;
  }

  /** Starts the daemon anew, as systemd does when it has ended. */
  public async launch(): Promise<void> {
    for (const name of readdirSync(this.folder)) rmSync(join(this.folder, name), { force: true });
    const daemon = spawn('python3', ['-c', ACTIVATE, SERVE, this.socket('lmtp'), this.socket('policy')], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOME: this.folder,
        AWS_ENDPOINT_URL: this.proxy.url,
        AWS_ACCESS_KEY_ID: 'testing',
        AWS_SECRET_ACCESS_KEY: 'testing',
        AWS_DEFAULT_REGION: 'eu-central-1',
        MAIL_CLUSTER: 'Test',
        MAIL_JOURNAL_BUCKET: this.bucket,
        MAIL_JOURNAL_WAITING_MAX: '1000000',
        ...(this.keysBucket && {
          MAIL_JOURNAL_KEYS: this.keysBucket,
          MAIL_DOMAINS: 'example.com example.org',
          MAIL_MAPS: this.maps,
        }),
        MAIL_MESSAGE_SIZE_MAX: '52428800',
      },
    });
    this.daemon = daemon;
    createInterface({ input: daemon.stderr }).on('line', (line) => this.said.push(line));
    for (const end = Date.now() + 20_000; !existsSync(this.socket('policy'));) {
      if (Date.now() > end || daemon.exitCode !== null) throw new Error(`no daemon: ${this.said.join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  public async kill(): Promise<void> {
    const daemon = this.daemon;
    this.daemon = undefined;
    if (!daemon || daemon.exitCode !== null || daemon.signalCode !== null) return;
    const gone = once(daemon, 'exit');
    daemon.kill('SIGKILL');
    await gone;
  }

  public connect(): Promise<LmtpClient> {
    return LmtpClient.connect(this.socket('lmtp'));
  }

  /** Hands a message over on a connection of its own. Resolves to the code that each copy got. */
  public async deliver(copy: Copy): Promise<number[]> {
    const client = await this.connect();
    try {
      return await client.deliver(copy);
    } finally {
      client.close();
    }
  }

  /** What Postfix does: until each copy got its 250. @throws Error after `seconds` */
  public async deliverUntilStored(copy: Copy, seconds = 30): Promise<void> {
    for (const end = Date.now() + seconds * 1000; ;) {
      const codes = await this.deliver(copy).catch(() => [0]);
      if (codes.every((code) => code === 250)) return;
      if (Date.now() > end)
        throw new Error(`${copy.queueId} is not stored: ${codes}; ${this.said.slice(-5).join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Answer of the policy service to one question. */
  public async ask(): Promise<string> {
    const socket = connect(this.socket('policy'));
    socket.write('request=smtpd_access_policy\nprotocol_state=DATA\nsize=0\n\n');
    const [answer] = await once(socket, 'data');
    socket.destroy();
    return String(answer);
  }

  /** All versions of all objects, read past the proxy. */
  public objects(): Promise<Journalled[]> {
    return readJournal(this.s3, this.bucket);
  }

  private socket(name: string): string {
    return join(this.folder, name);
  }
}

/** All versions of all objects of a journal, sealed ones opened by the program age as an operator does. */
export async function readJournal(s3: S3Client, bucket: string): Promise<Journalled[]> {
  const found: Journalled[] = [];
  for await (const { Versions = [] } of paginateVersions(s3, bucket)) {
    for (const { Key, VersionId } of Versions) {
      const object = await s3.send(new GetObjectCommand({ Bucket: bucket, Key, VersionId, ChecksumMode: 'ENABLED' }));
      const packed = Buffer.from(await object.Body!.transformToByteArray());
      const metadata = object.Metadata ?? {};
      const content = metadata.keys ? await openByProgram(s3, packed, metadata) : packed;
      found.push({
        key: Key!,
        versionId: VersionId!,
        text: content ? unzstd(content) : '',
        metadata,
        checksum: object.ChecksumSHA256,
        packed,
      });
    }
  }
  return found;
}

async function* paginateVersions(s3: S3Client, Bucket: string): AsyncGenerator<ListObjectVersionsCommandOutput> {
  let page: ListObjectVersionsCommandOutput | undefined;
  do {
    const KeyMarker = page?.NextKeyMarker;
    const VersionIdMarker = page?.NextVersionIdMarker;
    page = await s3.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'journal/', KeyMarker, VersionIdMarker }));
    yield page;
  } while (page.IsTruncated);
}

/** Opens a sealed object by the first of its keys that is there; nothing when none is. */
async function openByProgram(
  s3: S3Client,
  sealed: Buffer,
  { keys, 'keys-bucket': Bucket }: { [name: string]: string },
): Promise<Buffer | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'identity-'));
  try {
    for (const tag of keys.split(',')) {
      const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: `private/${tag}/` }));
      for (const { Key } of Contents) {
        const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }));
        const identity = join(folder, 'identity');
        writeFileSync(identity, await Body!.transformToString(), { mode: 0o600 });
        const { status, stdout } = spawnSync('age', ['--decrypt', '--identity', identity], {
          input: sealed,
          maxBuffer: 1 << 28,
        });
        if (status === 0) return stdout;
      }
    }
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** As Debian's command does it, for Node.js has zstd from 22.15 on. */
export function unzstd(packed: Buffer): string {
  return execFileSync('zstd', ['--decompress', '--stdout', '--quiet'], {
    input: packed,
    maxBuffer: 1 << 28,
  }).toString();
}

/** LMTP as Postfix's client speaks it with XFORWARD. */
export class LmtpClient {
  public static async connect(path: string): Promise<LmtpClient> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new LmtpClient(socket);
  }

  private readonly lines: AsyncIterator<string>;

  private constructor(public readonly socket: Socket) {
    socket.on('error', () => undefined);
    this.lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  /** Code of the next answer. @throws Error when the connection ends before it. */
  public async answer(): Promise<number> {
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done) throw new Error('the connection ended');
      if (value[3] !== '-') return Number(value.slice(0, 3));
    }
  }

  public async ask(line: string): Promise<number> {
    this.socket.write(`${line}\r\n`);
    return this.answer();
  }

  public async deliver(copy: Copy): Promise<number[]> {
    if ((await this.answer()) !== 220) return copy.copies.map(() => 421);
    for (const line of lines(copy)) {
      const code = await this.ask(line);
      if (code !== 250 && code !== 354) return copy.copies.map(() => code);
    }
    this.socket.write(stuffed(copy.data));
    const codes: number[] = [];
    while (codes.length < copy.copies.length) codes.push(await this.answer());
    return codes;
  }

  public close(): void {
    this.socket.destroy();
  }
}

/** Commands of a delivery up to DATA. */
export function lines({ queueId, client, sender, copies, data }: Copy): string[] {
  return [
    'LHLO node.example.com',
    `XFORWARD ADDR=${client ?? '[UNAVAILABLE]'} IDENT=${queueId}`,
    `MAIL FROM:<${sender}> SIZE=${data.length} BODY=8BITMIME`,
    ...copies.map((name) => `RCPT TO:<${name}>`),
    'DATA',
  ];
}

/** A message as DATA has it, with its end. */
export function stuffed(data: string): string {
  return `${data.replace(/^\./gm, '..')}.\r\n`;
}

const DIGITS = '0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz';

/** Long queue id of a message that came at a moment, milliseconds since 1970; https://www.postfix.org/postconf.5.html#enable_long_queue_ids */
export function queueIdAt(time: number, file = 4711): string {
  const digits = (value: number, base: number): string =>
    value < base ? DIGITS[value] : digits(Math.floor(value / base), base) + DIGITS[value % base];
  const microseconds = digits((time % 1000) * 1000, 52).padStart(4, '0');
  return `${digits(Math.floor(time / 1000), 52)}${microseconds}z${digits(file, 51)}`;
}
