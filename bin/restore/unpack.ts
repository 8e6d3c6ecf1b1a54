import * as zlib from 'node:zlib';
import { Decompress } from 'fzstd';

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
 * Unpacks zstd: by Node.js itself, which has it from 22.15 on, before that by a package without dependencies. What comes out
 * is checked against its digest anyway. (The program `zstd` took 3 ms of processor for each message.)
 *
 * @throws Error when it is not zstd or not whole
 */
export async function unpack(packed: Buffer): Promise<Buffer> {
  const { zstdDecompress } = zlib as WithZstd;
  if (zstdDecompress) {
    return new Promise((resolve, reject) =>
      zstdDecompress(packed, { maxOutputLength: MAX }, (error, content) => (error ? reject(error) : resolve(content))),
    );
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  const stream = new Decompress((chunk) => {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX) throw new Error(`it holds more than ${MAX} bytes`);
  });
  stream.push(packed, true);
  return Buffer.concat(chunks, size);
}
