/**
 * A process of clients in IDLE: takes an `IdleOrder` from its parent, answers an `IdleState` when all are in IDLE, and another one at
 * each `{}`.
 */
import type { ClientView, LocalUser } from '../../local/mail-clients';
import { ImapSession } from './imap-session';

/** A user, and the address from which all of the user's clients connect. */
export interface IdleUser extends LocalUser {
  readonly from: string;
}

/** Clients to open. */
export interface IdleOrder {
  readonly endpoint: ClientView;
  readonly users: IdleUser[];
  /** Sessions altogether, one after another of the users. */
  readonly count: number;
  /** Logins at a time. */
  readonly atOnce: number;
}

/** How it stands. */
export interface IdleState {
  /** Open sessions of each user, by address. */
  readonly open: { readonly [user: string]: number };
  /** Sessions that the server ended. */
  readonly ended: number;
  /** Logins that failed, and the first reason. */
  readonly failed: number;
  readonly reason?: string;
  /** When a session heard of a new message, since the last answer. */
  readonly heard: readonly { readonly user: string; readonly at: number }[];
}

const open: { [user: string]: number } = {};
let ended = 0;
let failed = 0;
let reason: string | undefined;
let heard: { user: string; at: number }[] = [];

async function start({ endpoint, users, count, atOnce }: IdleOrder): Promise<void> {
  let next = 0;
  const client = async () => {
    while (next < count) {
      const user = users[next++ % users.length];
      try {
        await idle(endpoint, user);
      } catch (error) {
        failed++;
        reason ??= (error as Error).message;
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, client));
}

async function idle(endpoint: ClientView, user: IdleUser): Promise<void> {
  const session = await ImapSession.open(endpoint, user, { from: user.from });
  await session.command('SELECT INBOX');
  await session.idle();
  open[user.address] = (open[user.address] ?? 0) + 1;
  session.onMessage(() => heard.push({ user: user.address, at: Date.now() }));
  session.onEnd(() => (open[user.address]--, ended++));
}

function state(): IdleState {
  const now = { open, ended, failed, reason, heard };
  heard = [];
  return now;
}

process.on('message', (order: IdleOrder | object) => {
  void ('count' in order ? start(order) : Promise.resolve()).then(() => process.send?.(state()));
});
