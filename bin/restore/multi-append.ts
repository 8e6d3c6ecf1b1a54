import type { ImapFlow } from 'imapflow';
import { encodePath, formatDateTime } from 'imapflow/lib/tools.js';

/** A message for a folder, with its time and flags there. */
export interface Appended {
  readonly message: Buffer;
  readonly date: Date;
  /** Such as `\\Seen`, and keywords. */
  readonly flags: readonly string[];
}

/** What ImapFlow's own commands use and its types don't name. */
interface Commands {
  exec(command: string, attributes: object[]): Promise<{ next(): void }>;
}

/** Whether the server takes several messages by one APPEND, and without being asked before each. */
export function canAppendMany({ capabilities }: ImapFlow): boolean {
  return capabilities.has('MULTIAPPEND') && capabilities.has('LITERAL+');
}

/**
 * Puts messages into a folder by one command: the server keeps all of them or none, syncs once, and is waited for once.
 *
 * @see https://www.rfc-editor.org/rfc/rfc3502 and https://www.rfc-editor.org/rfc/rfc7888 for `{size+}`
 * @throws what the server answers, as ImapFlow has it, with `serverResponseCode`
 */
export async function appendMany(client: ImapFlow, path: string, messages: readonly Appended[]): Promise<void> {
  const parts = messages.flatMap(({ message, date, flags }) => {
    // A literal with NUL must say so: https://www.rfc-editor.org/rfc/rfc3516
    const literal8 = message.includes(0) ? '~' : '';
    return [
      Buffer.from(` (${flags.join(' ')}) "${formatDateTime(date)}" ${literal8}{${message.length}+}\r\n`),
      message,
    ];
  });
  try {
    const answer = await (client as unknown as Commands).exec('APPEND', [
      { type: 'ATOM', value: encodePath(client, path) },
      // As it is: ImapFlow would wait for the server before each literal of more than 4096 bytes.
      { type: 'TEXT', value: Buffer.concat(parts).subarray(1) },
    ]);
    answer.next();
  } catch (error) {
    const { response } = error as { response?: { attributes?: { section?: { value: string }[] }[] } };
    throw Object.assign(error as Error, { serverResponseCode: response?.attributes?.[0]?.section?.[0]?.value });
  }
}
