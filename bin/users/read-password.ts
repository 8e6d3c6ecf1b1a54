import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

/**
 * A password from the terminal, asked for twice and not shown, or from the first line of standard input.
 *
 * @throws when the two differ, or when input ends before there is a line
 */
export async function readPassword(address: string): Promise<string> {
  if (!process.stdin.isTTY) {
    return readLine('');
  }
  const first = await readLine(`Password for ${address}: `);
  const second = await readLine('Again: ');
  if (first !== second) {
    throw new Error('the two passwords differ; nothing was changed');
  }
  return first;
}

/** A line that is not shown, with a prompt if input is a terminal. @throws when input ends before there is one */
export function readLine(prompt: string): Promise<string> {
  return new Promise((resolve, reject) => {
    process.stderr.write(prompt);
    // readline echoes to its output: give it one that drops everything.
    const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
    const lines = createInterface({ input: process.stdin, output: silent, terminal: process.stdin.isTTY });
    let answered = false;
    lines.once('line', (line) => {
      answered = true;
      lines.close();
      resolve(line);
    });
    lines.once('SIGINT', () => reject(new Error('interrupted; nothing was changed')));
    lines.once('close', () => {
      if (prompt) {
        process.stderr.write('\n');
      }
      if (!answered) {
        reject(new Error('no password on standard input; nothing was changed'));
      }
    });
  });
}
