/**
 * A process of clients in IDLE: takes an `IdleOrder` from its parent, answers an `IdleState` when all are in IDLE, and another one at
 * each `{}`.
 */
import type { ClientView, LocalUser } from '../../local/mail-clients';
import { ImapSession } from './imap-session';

/** Clients to open. */
export interface IdleOrder {
  readonly endpoint: ClientView;
  readonly accounts: LocalUser[];
  /** Sessions altogether, one after another of the accounts. */
  readonly count: number;
  /** Logins at a time. */
  readonly atOnce: number;
}

/** How it stands. */
export interface IdleState {
  readonly open: number;
  /** Sessions that the server ended. */
  readonly ended: number;
  /** Logins that failed, and the first reason. */
  readonly failed: number;
  readonly reason?: string;
}

let open = 0;
let ended = 0;
let failed = 0;
let reason: string | undefined;

async function start({ endpoint, accounts, count, atOnce }: IdleOrder): Promise<void> {
  let next = 0;
  const client = async () => {
    while (next < count) {
      const account = accounts[next++ % accounts.length];
      try {
        const session = await ImapSession.open(endpoint, account);
        await session.command('SELECT INBOX');
        await session.idle();
        open++;
        session.onEnd(() => (open--, ended++));
      } catch (error) {
        failed++;
        reason ??= (error as Error).message;
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, client));
}

const state = (): IdleState => ({ open, ended, failed, reason });

process.on('message', (order: IdleOrder | object) => {
  void ('count' in order ? start(order) : Promise.resolve()).then(() => process.send?.(state()));
});
