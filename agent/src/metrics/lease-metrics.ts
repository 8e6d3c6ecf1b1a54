import { StandardUnit } from '@aws-sdk/client-cloudwatch';
import { LeaseKeeper } from '../lease/keeper';
import { Collector } from './publisher';

/** The metrics of the node's lease and of the ring as the node sees it. Without a lease it sees none. */
export const leaseMetrics = (keeper: Pick<LeaseKeeper, 'status' | 'leaseAge'>): Collector => {
  let before = { losses: 0, adoptions: 0 };
  return {
    name: 'lease',
    collect: async () => {
      const { losses = 0, adoptions = 0, members = 0, ringVersion = 0 } = keeper.status() ?? {};
      const since = { losses: losses - before.losses, adoptions: adoptions - before.adoptions };
      before = { losses, adoptions };
      const age = keeper.leaseAge();
      const count = (name: string, value: number) => ({ name, unit: StandardUnit.Count, value });
      return [
        count('LeasesLost', since.losses),
        count('QueuesAdopted', since.adoptions),
        ...(age === undefined
          ? []
          : [
              { name: 'LeaseAge', unit: StandardUnit.Milliseconds, value: age },
              count('Members', members),
              count('RingVersion', ringVersion),
            ]),
      ];
    },
  };
};
