import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LeaseKeeper, LeaseKeeperOptions } from '../../src/lease/keeper';
import { TableAction } from '../../src/lease/actions';
import { Transitions } from '../../src/log';
import { leaseMetrics } from '../../src/metrics/lease-metrics';
import { homeOf } from '../../src/ring/home';
import { RecordingLog } from '../support/recording-log';
import { temporaryFolder } from '../support/temporary-folder';
import { eventually } from '../support/wait';
import { SimulatedTable } from './simulated-table';

const ADDRESS = '10.0.0.11';
const OTHER = '10.0.0.12';
const USERS = Array.from({ length: 30 }, (_, index) => `user${index}@example.com`);

/** A node's root helper, with the sessions that it knows. */
class Helper {
  public sessions: string[] = [];
  public readonly asked: string[] = [];
  public releaseDeliveries = async () => void this.asked.push('release deliveries');
  public releaseSessions = async () => {
    this.asked.push('release sessions');
    if (this.sessions.length === 0) return;
    const addresses = [...ring().matchAll(/^node\t(.*)$/gm)].map(([, address]) => address);
    this.sessions = this.sessions.filter((user) => homeOf(user, addresses) === ADDRESS);
  };
  public forget = async () => void this.asked.push('forget');
  public takeOver = async (before: readonly string[]) => void this.asked.push(`take-over ${before.join(',')}`);
  public flush = async () => void this.asked.push('flush');
  public fence = async () => void this.asked.push('fence');
  public unfence = async () => void this.asked.push('unfence');
  public alive = async (deadline: number) => void this.asked.push(`alive ${deadline > 0}`);
  public adopt = async (id: string) => {
    this.asked.push(`adopt ${id}`);
    return '2 messages';
  };
}

let table: SimulatedTable;
let reachable: boolean;
let helper: Helper;
let log: RecordingLog;
let ringFile: string;
let keeper: LeaseKeeper;
beforeEach(() => {
  table = new SimulatedTable();
  reachable = true;
  helper = new Helper();
  log = new RecordingLog();
  ringFile = join(temporaryFolder(), 'ring');
  keeper = made();
});
afterEach(() => keeper.stop());

const me = { id: 'i-1', address: ADDRESS };
const made = (options: Partial<LeaseKeeperOptions> = {}): LeaseKeeper =>
  new LeaseKeeper({
    join: async () => ({
      me,
      table: {
        read: async () => {
          if (!reachable) throw new Error('no way to the table');
          return table.view();
        },
        write: async (action: Exclude<TableAction, { do: 'read' }>) => {
          if (!reachable) throw new Error('no way to the table');
          return table.apply(action, me);
        },
      },
    }),
    control: helper,
    ringFile,
    able: () => true,
    log,
    transitions: new Transitions(log),
    ...options,
  });

const ring = (): string => readFileSync(ringFile, 'utf8');
const serves = (): Promise<void> => eventually(() => ring().includes('settled\tyes'));

test('takes a lease, starts the daemons, joins the ring and serves', async () => {
  keeper.start();
  // A ring file that a former agent left behind says nothing any more.
  expect(ring()).toContain('state\tfenced');
  await expect(keeper.check.run(new AbortController().signal)).rejects.toThrow('not known yet');
  await serves();
  expect(ring()).toBe(
    `version\t1\nself\t${ADDRESS}\nstate\tserving\nsettled\tyes\nnode\t${ADDRESS}\nwas\t${ADDRESS}\n`,
  );
  expect(helper.asked.slice(0, 5)).toEqual([
    'release deliveries',
    'release sessions',
    'forget',
    'unfence',
    'alive true',
  ]);
  await expect(keeper.check.run(new AbortController().signal)).resolves.toBeUndefined();
});

test('ends the sessions of users who move away, and of no one else', async () => {
  keeper.start();
  await serves();
  helper.sessions = USERS;
  table.apply({ do: 'register', epoch: 1, state: 'live' }, { id: 'i-2', address: OTHER });
  table.apply(
    { do: 'write-ring', ring: { version: 2, nodes: [me, { id: 'i-2', address: OTHER }] } },
    { id: 'i-2', address: OTHER },
  );
  await eventually(() => table.item('i-1')?.ready === 2);
  // Not before the other is ready as well.
  expect(helper.sessions).toEqual(USERS);
  table.apply({ do: 'renew', epoch: 1, ready: 2, ring: 0, state: 'live' }, { id: 'i-2', address: OTHER });
  await eventually(() => table.item('i-1')?.ring === 2);
  const stay = USERS.filter((user) => homeOf(user, [ADDRESS, OTHER]) === ADDRESS);
  expect(helper.sessions).toEqual(stay);
  expect(stay.length).toBeGreaterThan(5);
  // Not before the other has let go as well.
  expect(ring()).toContain('settled\tno');
  expect(helper.asked.filter((request) => request === 'flush')).toHaveLength(1);
  table.apply({ do: 'renew', epoch: 1, ready: 2, ring: 2, state: 'live' }, { id: 'i-2', address: OTHER });
  await serves();
  // What the former homes left is removed, and mail for those who move was put off.
  await eventually(() => helper.asked.filter((request) => request === 'flush').length === 2);
  expect(helper.asked.filter((request) => request.startsWith('take-over'))).toEqual([
    'take-over ',
    `take-over ${ADDRESS}`,
  ]);
}, 15_000);

test('stops everything when the table is out of reach for three seconds, and comes back with a new lease', async () => {
  keeper.start();
  await serves();
  const metrics = leaseMetrics(keeper);
  expect((await metrics.collect()).map(({ name }) => name)).toEqual([
    'LeasesLost',
    'QueuesAdopted',
    'LeaseAge',
    'Members',
    'RingVersion',
  ]);
  reachable = false;
  const cutAt = performance.now();
  await eventually(() => helper.asked.includes('fence'));
  expect(performance.now() - cutAt).toBeLessThan(3_300);
  expect(ring()).toContain('state\tfenced');
  await expect(keeper.check.run(new AbortController().signal)).rejects.toThrow('no lease: the last renewal was sent 3');
  expect(await metrics.collect()).toEqual([
    expect.objectContaining({ name: 'LeasesLost', value: 1 }),
    expect.objectContaining({ name: 'QueuesAdopted', value: 0 }),
  ]);
  reachable = true;
  await serves();
  expect(table.item('i-1')).toMatchObject({ epoch: 2, state: 'live' });
  expect(helper.asked.slice(helper.asked.indexOf('fence'))).toEqual(expect.arrayContaining(['fence', 'unfence']));
}, 15_000);

test('adopts the queue of a node that is down', async () => {
  table.apply({ do: 'register', epoch: 1, state: 'live' }, { id: 'i-2', address: OTHER });
  table.nodes.get('i-2')!.state = 'fenced';
  keeper.start();
  await eventually(() => table.item('i-2')?.adopted === true);
  expect(table.item('i-2')?.adoptedBy).toBe('i-1#1');
  expect(helper.asked).toContain('adopt i-2');
  expect(keeper.status()?.adoptions).toBe(1);
});

test('leaves in order: its users, then the daemons, then the lease', async () => {
  keeper.start();
  await serves();
  keeper.drain();
  await eventually(() => keeper.hasLeft());
  expect(table.ring?.nodes).toEqual([]);
  expect(table.item('i-1')?.state).toBe('draining');
  expect(helper.asked).not.toContain('fence');
  await eventually(() => keeper.depart());
  expect(table.item('i-1')?.state).toBe('gone');
  expect(helper.asked.at(-1)).toBe('fence');
  expect(ring()).toContain('state\tfenced');
}, 15_000);

test('does not serve when the ring file can not be written', async () => {
  keeper = made({ ringFile: join(temporaryFolder(), 'missing', 'ring') });
  keeper.start();
  await eventually(() => helper.asked.includes('fence'));
  expect(log.lines).toContainEqual(expect.stringMatching(/^warning ring file: failing: ENOENT/));
  expect(keeper.status()?.reason).toMatch(/^no lease: the ring file can't be written/);
});

test('joins as soon as the node knows who it is', async () => {
  const { join: joins } = (made() as unknown as { options: LeaseKeeperOptions }).options;
  let tries = 0;
  keeper = made({ join: () => (++tries < 2 ? Promise.reject(new Error('HTTP 500')) : joins()) });
  keeper.start();
  await serves();
  expect(log.lines).toContain('warning instance identity: failing: HTTP 500');
});
