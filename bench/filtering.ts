/**
 * `npm run bench:filtering`: what looking for spam and viruses costs a delivery on port 25 (README.md).
 *
 *     npm run bench:filtering -- [--rounds 6] [--seconds 4] [--clients 16]
 */
import { parseArgs } from 'node:util';
import type { LocalCluster } from '../local/cluster';
import { prepare } from '../local/prepare';
import { Progress } from '../local/progress';
import { Crew } from './load/crew';
import { Results, type Sample } from './report';
import { runBench } from './run';
import { makeAccounts, enrol } from './servers/accounts';
import { bootFilterNode } from './servers/filters';
import { endpointOf, startCluster, type Variant } from './servers/servers';
import { significant } from './statistics';
import { LOAD_OPTIONS, takeTurns } from './turns';

const ACCOUNTS = 32;

const { values } = parseArgs({ options: LOAD_OPTIONS });

async function main(): Promise<void> {
  const progress = new Progress();
  const crew = new Crew(2);
  const cluster = await startCluster(progress, 1, 'without-journal.config.ts');
  try {
    const variants = await startVariants(cluster, progress);
    for (const { name, endpoint, accounts } of variants) {
      // Also has postscreen know the clients' address.
      await progress.step(`${name}: first deliveries`, () =>
        crew.perform({ kind: 'deliveries', endpoint, accounts, clients: 16, seconds: 3 }),
      );
    }
    const turns = variants.map((variant) => ({ variant, kind: 'deliveries' as const }));
    reportCosts(await takeTurns(crew, turns, values));
  } finally {
    crew.dismiss();
    cluster.stop();
  }
}

/** The same node without filtering, with rspamd, and with rspamd and ClamAV. */
async function startVariants(cluster: LocalCluster, progress: Progress): Promise<Variant[]> {
  const { root } = await prepare(progress);
  const [off] = cluster.nodes;
  const accounts = makeAccounts(ACCOUNTS, cluster.domains[0], [off.address]).get(off.address)!;
  await enrol(cluster, accounts);
  const [rspamd, on] = await progress.step('nodes with rspamd, and with ClamAV too', () =>
    Promise.all([
      bootFilterNode(cluster, root, 'rspamd', { virusScan: false }),
      bootFilterNode(cluster, root, 'filtering', {}),
    ]),
  );
  return Object.entries({ off, rspamd, on }).map(([name, node]) => ({
    name,
    endpoint: endpointOf(cluster, node),
    accounts,
    machines: [node.name],
  }));
}

function reportCosts(samples: Sample[]): void {
  const results = new Results(samples);
  results.print();
  const compare = (of: (variant: string) => number) => {
    const [off, rspamd, on] = ['off', 'rspamd', 'on'].map(of);
    return { off, rspamd, on, ratioRspamd: significant(rspamd / off), ratioOn: significant(on / off) };
  };
  const deliveries = compare((variant) => results.rate('deliveries', variant));
  const cpuMs = compare((variant) => results.cpuMs('deliveries', variant));
  console.log(`\n${JSON.stringify({ deliveries, cpuMs })}`);
}

runBench(main);
