/**
 * `npm run bench:node`: what one node does in a second, with our configuration and with others (README.md).
 *
 *     npm run bench:node -- [--rounds 5] [--seconds 4] [--clients 16] [--only logins,fetches] [--variants ours,default]
 */
import { parseArgs } from 'node:util';
import { Progress } from '../local/progress';
import { Crew } from './load/crew';
import { JOB_KINDS } from './load/job';
import { report } from './report';
import { run } from './run';
import { startServers, type Variant } from './servers/servers';
import { LOAD_OPTIONS, takeTurns } from './turns';

/** Accounts of each variant: those of FETCH and of deliveries are apart, so that their mailboxes stay as they are meant. */
const ACCOUNTS = { logins: [0, 32], sessions: [0, 32], fetches: [32, 48], deliveries: [48, 80] } as const;

const { values } = parseArgs({
  options: {
    ...LOAD_OPTIONS,
    only: { type: 'string', default: JOB_KINDS.join(',') },
    variants: { type: 'string', default: 'ours,default,dms,hop,sdbox' },
  },
});

async function main(): Promise<void> {
  const progress = new Progress();
  const crew = new Crew(2);
  const servers = await startServers(progress, 80);
  try {
    const variants = servers.variants.filter(({ name }) => values.variants.split(',').includes(name));
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
    servers.stop();
  }
}

/** Mail for those who fetch, and a first login of all others, which makes folders and computes the password. */
async function fill(crew: Crew, variant: Variant): Promise<void> {
  const { endpoint, accounts } = variant;
  const [first, end] = ACCOUNTS.fetches;
  const job = { endpoint, accounts, clients: 16 };
  await crew.perform({ ...job, kind: 'deliveries', accounts: accounts.slice(first, end), seconds: 3 });
  await crew.perform({ ...job, kind: 'logins', seconds: 8 });
}

run(main);
