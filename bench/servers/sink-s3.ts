import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';

/** How long S3 takes for a PUT of some KB, milliseconds. */
const PUT_MILLISECONDS = 20;

/**
 * Confirms what is put as S3 does, by its SHA-256 and after S3's time, and keeps nothing: moto takes 10 ms of this machine's
 * processors for each object, which S3 does not. A process of its own.
 */
export class SinkS3 {
  private process?: ChildProcess;
  private port = 0;

  /** @param address where it listens, which nodes reach */
  constructor(private readonly address: string) {}

  public get endpoint(): string {
    return `http://${this.address}:${this.port}`;
  }

  public async start(): Promise<void> {
    this.process = fork(__filename, [this.address], { execArgv: ['--import', 'tsx'] });
    [this.port] = await once(this.process, 'message');
  }

  /** Names of objects that were put, each as often as it was. */
  public async stored(): Promise<string[]> {
    this.process!.send('stored');
    const [names] = await once(this.process!, 'message');
    return names;
  }

  public stop(): void {
    this.process?.kill();
  }
}

function serve(address: string): void {
  const stored: string[] = [];
  const server = createServer((ask, reply) => {
    ask.resume();
    ask.once('end', () => {
      setTimeout(() => {
        if (ask.method === 'PUT') stored.push(ask.url!);
        const checksum = ask.headers['x-amz-checksum-sha256'];
        reply.writeHead(200, { etag: '"0"', 'x-amz-checksum-sha256': checksum, 'x-amz-checksum-type': 'FULL_OBJECT' });
        reply.end();
      }, PUT_MILLISECONDS);
    });
  });
  process.on('message', () => process.send!(stored));
  server.listen(0, address, () => process.send!((server.address() as { port: number }).port));
  process.once('disconnect', () => process.exit());
}

if (require.main === module) serve(process.argv[2]);
