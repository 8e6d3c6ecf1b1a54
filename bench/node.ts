/**
 * `npm run bench:node`: what one node does in a second, with our configuration and with others (README.md).
 *
 *     npm run bench:node -- [--rounds 6] [--seconds 4] [--clients 16] [--only logins,fetches] [--variants ours,default]
 */
import { parseArgs } from 'node:util';
import type { ClientView, LocalUser } from '../local/mail-clients';
import { Progress } from '../local/progress';
import { Crew } from './load/crew';
import { ImapSession } from './load/imap-session';
import { JOB_KINDS } from './load/job';
import { message } from './load/message';
import { report } from './report';
import { runBench } from './run';
import { startServers, type Variant, VARIANTS } from './servers/servers';
import { LOAD_OPTIONS, takeTurns } from './turns';

/** Accounts of each variant: those of FETCH and of deliveries are apart, so that their mailboxes stay as they are meant. */
const ACCOUNTS = { logins: [0, 32], sessions: [0, 32], fetches: [32, 48], deliveries: [48, 80] } as const;
/** In each mailbox of those that fetch: as many in all variants. */
const MESSAGES = 20;

const { values } = parseArgs({
  options: {
    ...LOAD_OPTIONS,
    only: { type: 'string', default: JOB_KINDS.join(',') },
    variants: { type: 'string', default: VARIANTS.join(',') },
  },
});

async function main(): Promise<void> {
  const progress = new Progress();
  const crew = new Crew(2);
  const { variants, stop } = await startServers(progress, 80, values.variants.split(','));
  try {
    const kinds = JOB_KINDS.filter((kind) => values.only.split(',').includes(kind));
    for (const variant of variants) {
      await progress.step(`${variant.name}: mailboxes filled`, () => fill(crew, variant));
    }
    const turns = kinds.flatMap((kind) =>
      variants.map((variant) => ({ kind, variant, accounts: variant.accounts.slice(...ACCOUNTS[kind]) })),
    );
    report(await takeTurns(crew, turns, values));
  } finally {
    crew.dismiss();
    stop();
  }
}

/** A first login of everybody, which makes folders and computes the password, and mail for those who fetch. */
async function fill(crew: Crew, variant: Variant): Promise<void> {
  const { endpoint, accounts } = variant;
  // As many clients as accounts: each logs in once.
  await crew.perform({ kind: 'logins', endpoint, accounts, clients: accounts.length, seconds: 1 });
  await Promise.all(accounts.slice(...ACCOUNTS.fetches).map((account) => fillMailbox(endpoint, account)));
}

async function fillMailbox(endpoint: ClientView, account: LocalUser): Promise<void> {
  const session = await ImapSession.open(endpoint, account);
  for (let number = 0; number < MESSAGES; number++) {
    await session.append(message(account.address, account.address));
  }
  await session.command('SELECT INBOX');
  // What is found out at the first reading is in the cache then.
  await session.command('FETCH 1:* (UID FLAGS BODY.PEEK[])');
  await session.logout();
}

runBench(main);
