import { spawn } from 'node:child_process';
import * as zlib from 'node:zlib';

/** Bytes of a message unpacked; a frame that holds more is no mail. */
const MAX = 512 << 20;

/** Not in the types of Node.js 20. */
interface WithZstd {
  zstdDecompress?(
    packed: Buffer,
    options: { maxOutputLength: number },
    done: (error: Error | null, content: Buffer) => void,
  ): void;
}

/**
 * Unpacks zstd: by Node.js itself, which has it from 22.15 on, else by the program `zstd`. Neither is one more package to
 * trust, and what comes out is checked against its digest anyway.
 *
 * @throws Error when it is not zstd or not whole, or when there is no `zstd`
 */
export function unpack(packed: Buffer): Promise<Buffer> {
  const { zstdDecompress } = zlib as WithZstd;
  return new Promise((resolve, reject) => {
    if (zstdDecompress) {
      zstdDecompress(packed, { maxOutputLength: MAX }, (error, content) => (error ? reject(error) : resolve(content)));
      return;
    }
    const child = spawn('zstd', ['--decompress', '--stdout', '--quiet'], { stdio: ['pipe', 'pipe', 'pipe'] });
    const chunks: Buffer[] = [];
    let size = 0;
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > MAX) child.kill();
    });
    child.stderr.on('data', (chunk: Buffer) => (said += chunk));
    child.on('error', (error: NodeJS.ErrnoException) => reject(error.code === 'ENOENT' ? new NoZstdError() : error));
    child.on('close', (code) =>
      code === 0 ? resolve(Buffer.concat(chunks, size)) : reject(new Error(said.trim() || `zstd ended with ${code}`)),
    );
    child.stdin.on('error', () => undefined); // it judges the input by its exit code
    child.stdin.end(packed);
  });
}

/** No message can be unpacked here. */
export class NoZstdError extends Error {
  constructor() {
    super(
      'Node.js before 22.15 needs the program zstd to unpack mail; install it (apt install zstd), or take a newer Node.js',
    );
  }
}
