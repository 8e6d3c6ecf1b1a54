import { waitFor } from '../../local/run';
import { ImapSession } from './imap-session';
import type { Job } from './job';
import { message } from './message';
import { SmtpSession } from './smtp-session';

const MESSAGES_PER_CONNECTION = 10;
/** Milliseconds until all that was sent must be in the mailboxes. */
const ARRIVAL = 60_000;

/** Works until `more` says no; resolves to the number of operations. */
type Work = (more: () => boolean) => Promise<number>;

/** What the clients of each kind do before the clock starts, and then. */
export const CLIENTS: { readonly [kind in Job['kind']]: (job: Job, index: number) => Promise<Work> } = {
  logins: (job, index) =>
    Promise.resolve(async (more) => {
      let done = 0;
      for (; more(); done++) {
        const user = account(job, index + done * job.clients);
        const session = await ImapSession.open(job.endpoint, user, { mechanism: job.mechanism });
        await session.logout();
      }
      return done;
    }),

  fetches: async (job, index) => {
    const { address } = account(job, index);
    const session = await ImapSession.open(job.endpoint, account(job, index));
    const exists = Number(/^\* (\d+) EXISTS/m.exec(await session.command('SELECT INBOX'))?.[1]);
    if (!exists) throw new Error(`${address} has no messages`);
    return async (more) => {
      let done = 0;
      for (; more(); done++) await session.command(`FETCH ${1 + ((done * 7) % exists)} (UID FLAGS BODY.PEEK[])`);
      session.close();
      return done;
    };
  },

  deliveries: async (job, index) => {
    const { address } = account(job, index);
    const mailbox = await ImapSession.open(job.endpoint, account(job, index));
    const before = await mailbox.messages();
    return async (more) => {
      let sent = 0;
      do sent += await send(job, address, more);
      while (more());
      await waitFor(
        `${sent} messages to reach ${address}`,
        ARRIVAL,
        async () => ((await mailbox.messages()) < before + sent ? undefined : true),
        50,
      );
      mailbox.close();
      return sent;
    };
  },

  sessions: (job, index) =>
    Promise.resolve(async (more) => {
      let done = 0;
      for (; more(); done++) {
        const { address } = account(job, index + done * job.clients);
        const session = await ImapSession.open(job.endpoint, account(job, index + done * job.clients));
        await session.command('SELECT INBOX');
        await session.append(message(address, address));
        await session.command('NOOP');
        await session.command('FETCH * (FLAGS BODY.PEEK[])');
        await session.command('STORE * +FLAGS (\\Seen)');
        await session.command('STORE * +FLAGS (\\Flagged)');
        await session.logout();
      }
      return done;
    }),
};

/** One connection with messages to one mailbox; the first is always sent. */
async function send({ endpoint }: Job, to: string, more: () => boolean): Promise<number> {
  const from = `sender@${endpoint.hostname}`;
  const session = await SmtpSession.open(endpoint);
  let sent = 0;
  do {
    await session.send(from, to, message(from, to));
    sent++;
  } while (sent < MESSAGES_PER_CONNECTION && more());
  await session.quit();
  return sent;
}

function account({ accounts }: Job, index: number) {
  return accounts[index % accounts.length];
}
