/**
 * `npm run bench:directory`: logins of users who are in a database and in a file, with Dovecot's cache and without (README.md).
 *
 *     npm run bench:directory -- [--rounds 6] [--seconds 4] [--clients 16]
 */
import { parseArgs } from 'node:util';
import type { LocalCluster } from '../local/cluster';
import { prepare } from '../local/prepare';
import { Progress } from '../local/progress';
import { Crew } from './load/crew';
import type { Mechanism } from './load/job';
import { Results, type Sample } from './report';
import { runBench } from './run';
import { enrol, makeAccounts } from './servers/accounts';
import { bootDirectories } from './servers/directories';
import { endpointOf, startCluster, type Variant } from './servers/servers';
import { significant } from './statistics';
import { LOAD_OPTIONS, takeTurns } from './turns';

const ACCOUNTS = 32;
const MECHANISMS: readonly Mechanism[] = ['plain', 'scram'];

const { values } = parseArgs({ options: LOAD_OPTIONS });

async function main(): Promise<void> {
  const progress = new Progress();
  const crew = new Crew(2);
  const cluster = await startCluster(progress, 1, 'directory.config.ts');
  try {
    const variants = await startVariants(cluster, progress);
    for (const { name, endpoint, accounts, mechanism } of variants) {
      // As many clients as accounts: each logs in once, which makes folders and fills the cache.
      await progress.step(`${name}: first logins`, () =>
        crew.perform({ kind: 'logins', endpoint, accounts, mechanism, clients: accounts.length, seconds: 1 }),
      );
    }
    const turns = variants.map((variant) => ({ variant, kind: 'logins' as const }));
    reportLogins(await takeTurns(crew, turns, values));
  } finally {
    crew.dismiss();
    cluster.stop();
  }
}

async function startVariants(cluster: LocalCluster, progress: Progress): Promise<Variant[]> {
  const { root } = await prepare(progress);
  const [{ address }] = cluster.nodes;
  const accounts = makeAccounts(ACCOUNTS, cluster.domains[0], [address]).get(address)!;
  await enrol(cluster, accounts);
  const nodes = await progress.step('nodes with a file, and without a cache', () =>
    bootDirectories(cluster, root, accounts),
  );
  return MECHANISMS.flatMap((mechanism) =>
    Object.entries(nodes).map(([name, node]) => ({
      name: `${mechanism} ${name}`,
      mechanism,
      endpoint: endpointOf(cluster, node),
      accounts,
      machines: [node.name],
    })),
  );
}

function reportLogins(samples: Sample[]): void {
  const results = new Results(samples);
  results.print();
  const compared = MECHANISMS.map((mechanism) => {
    const rate = (name: string) => results.rate('logins', `${mechanism} ${name}`);
    const [file, sql, fileUncached, sqlUncached] = ['file', 'sql', 'fileUncached', 'sqlUncached'].map(rate);
    return [
      mechanism,
      {
        ...{ file, sql, fileUncached, sqlUncached },
        ratioSql: significant(sql / file),
        ratioUncached: significant(fileUncached / file),
        ratioSqlUncached: significant(sqlUncached / sql),
      },
    ];
  });
  console.log(`\n${JSON.stringify(Object.fromEntries(compared))}`);
}

runBench(main);
