import type { LocalUser } from '../local/mail-clients';
import { cpuSeconds } from './control-group';
import type { Crew } from './load/crew';
import type { JobKind } from './load/job';
import type { Sample } from './report';
import type { Variant } from './servers/servers';

/** What benches of several variants have in common on their command line. */
export const LOAD_OPTIONS = {
  rounds: { type: 'string', default: '6' },
  seconds: { type: 'string', default: '4' },
  clients: { type: 'string', default: '16' },
} as const;

/** Values of `LOAD_OPTIONS`. */
export interface Load {
  readonly rounds: string;
  readonly seconds: string;
  readonly clients: string;
}

/** What is measured once in each round. */
export interface Turn {
  readonly variant: Variant;
  readonly kind: JobKind;
  /** @default - all of the variant */
  readonly accounts?: LocalUser[];
}

/**
 * Takes all turns in each round, so that what else the machine does meets all alike, and each second round in the opposite order: who comes
 * after a load that leaves work behind, such as deliveries to be indexed, has less of the machine.
 */
export async function takeTurns(crew: Crew, turns: Turn[], load: Load): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (let round = 1; round <= Number(load.rounds); round++) {
    for (const turn of round % 2 === 1 ? turns : [...turns].reverse()) samples.push(await measure(crew, turn, load));
    console.log(`round ${round} of ${load.rounds}`);
  }
  return samples;
}

async function measure(crew: Crew, { variant, kind, accounts }: Turn, load: Load): Promise<Sample> {
  const serverCpu = () => variant.machines.reduce((sum, machine) => sum + cpuSeconds(machine), 0);
  const before = serverCpu();
  const outcome = await crew.perform({
    kind,
    endpoint: variant.endpoint,
    mechanism: variant.mechanism,
    accounts: accounts ?? variant.accounts,
    clients: Number(load.clients),
    seconds: Number(load.seconds),
  });
  return {
    variant: variant.name,
    kind,
    rate: outcome.operations / outcome.seconds,
    serverCpu: (serverCpu() - before) / outcome.operations,
    clientShare: outcome.clientCpu / outcome.seconds,
  };
}
