import { Progress } from '../../local/progress';
import { percentile } from './attendance';
import type { FaultName } from './faults';
import { KillRun, type Outcome } from './kill-run';

/** Three nodes under load, broken in the ways that found most (E1, E3, E4, E5). More of them: `npm run bench:kills`. */

let run: KillRun;

beforeAll(async () => {
  run = await KillRun.start({ progress: new Progress(), seed: 7 });
}, 300_000);

afterAll(() => run?.stop(), 60_000);

function expectNothingLost({ lost, flagsLost, unreadable }: Outcome): void {
  expect({ lost, flagsLost, unreadable, doubleWrites: run.audit.doubleWrites }).toEqual({
    lost: [],
    flagsLost: [],
    unreadable: [],
    doubleWrites: [],
  });
}

// The first, so that no fault is behind what it finds.
test('a node is replaced in good order: nothing is lost or arrives twice, and no mailbox has two writers', async () => {
  const outcome = await run.roll(1);
  expectNothingLost(outcome);
  expect(outcome.duplicates).toBe(0);
}, 300_000);

test.each<FaultName>(['power', 'freeze'])(
  '%s: nothing that was acknowledged is lost, and no mailbox has two writers',
  async (name) => {
    const outcome = await run.suffer(name);
    expectNothingLost(outcome);
    // The load did something, and the audit saw it.
    expect(run.ledger.messages.size).toBeGreaterThan(50);
    expect(run.audit.changes).toBeGreaterThan(1000);
    // Everybody is served again (E1).
    expect(percentile([...outcome.gaps.IMAP, ...outcome.gaps.SMTP], 1)).toBeLessThan(30);
  },
  300_000,
);
