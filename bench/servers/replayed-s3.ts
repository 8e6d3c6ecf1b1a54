import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, request, type ServerResponse } from 'node:http';

/** An answer as it was given the first time. */
interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * moto's answers to what is only read, each made by moto once and then repeated from memory: moto serves about 100 objects a
 * second on a processor, S3 some thousands. A process of its own.
 */
export class ReplayedS3 {
  private process?: ChildProcess;
  private port = 0;

  /** @param origin URL of moto */
  constructor(private readonly origin: string) {}

  public get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  public async start(): Promise<void> {
    this.process = fork(__filename, [this.origin], { execArgv: ['--import', 'tsx'] });
    [this.port] = await once(this.process, 'message');
  }

  public async stop(): Promise<void> {
    if (!this.process || this.process.exitCode !== null) return;
    const gone = once(this.process, 'exit');
    this.process.kill();
    await gone;
  }
}

function serve(origin: string): void {
  const known = new Map<string, Answer>();
  const server = createServer((ask, reply) => {
    // Queries and paths say all; signatures and the client's name are in headers and differ.
    const name = `${ask.method} ${ask.url}`;
    const answer = known.get(name);
    if (answer) {
      give(answer, reply);
      return;
    }
    const onward = request(`${origin}${ask.url}`, { method: ask.method, headers: ask.headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        const { statusCode = 500, headers } = response;
        const fresh = {
          status: statusCode,
          headers: { ...headers, connection: 'keep-alive' },
          body: Buffer.concat(chunks),
        };
        if (statusCode === 200 && (ask.method === 'GET' || ask.method === 'HEAD')) known.set(name, fresh);
        give(fresh, reply);
      });
    });
    onward.on('error', (error) => reply.destroy(error));
    ask.pipe(onward);
  });
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as { port: number }).port));
  process.once('disconnect', () => process.exit());
}

function give({ status, headers, body }: Answer, reply: ServerResponse): void {
  reply.writeHead(status, headers);
  reply.end(body);
}

if (require.main === module) serve(process.argv[2]);
