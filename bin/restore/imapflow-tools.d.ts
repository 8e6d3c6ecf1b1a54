declare module 'imapflow/lib/tools.js' {
  import type { ImapFlow } from 'imapflow';

  /** A folder's name as the server expects it. */
  export function encodePath(client: ImapFlow, path: string): string;
  /** As IMAP has it, UTC. */
  export function formatDateTime(date: Date): string;
}
