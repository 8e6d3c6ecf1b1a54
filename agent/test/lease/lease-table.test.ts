import { CreateTableCommand, DynamoDBClient, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { randomUUID } from 'node:crypto';
import { LeaseTable } from '../../src/lease/lease-table';
import { MotoServer, startMotoServer } from '../../../test/support/moto-server';
import { randomFrom } from './simulation';
import { SimulatedTable } from './simulated-table';
import { TableAction } from '../../src/lease/actions';
import { NodeState, TableView } from '../../src/lease/items';

let moto: MotoServer;
let client: DynamoDBClient;
let cluster: string;
beforeAll(async () => {
  moto = await startMotoServer();
  client = new DynamoDBClient({ ...moto.clientOptions, maxAttempts: 1 });
  await client.send(
    new CreateTableCommand({
      TableName: 'Leases',
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [
        { AttributeName: 'pk', AttributeType: 'S' },
        { AttributeName: 'sk', AttributeType: 'S' },
      ],
      KeySchema: [
        { AttributeName: 'pk', KeyType: 'HASH' },
        { AttributeName: 'sk', KeyType: 'RANGE' },
      ],
    }),
  );
}, 30_000);
afterAll(async () => {
  client?.destroy();
  await moto?.stop();
});
beforeEach(() => void (cluster = randomUUID()));

const tableOf = (index: number): LeaseTable =>
  new LeaseTable({ client, table: 'Leases', cluster, id: `i-${index}`, address: `10.0.0.${10 + index}`, zone: 'a' });

const FIRST = { do: 'register', epoch: 1, state: 'live' } as const;
const renew = (epoch: number, ring = 0): TableAction & { do: 'renew' } => ({
  do: 'renew',
  epoch,
  state: 'live',
  ready: ring + 1,
  ring,
});

/** Runs the same at once and gives how often it was accepted. */
const accepted = async (tries: Promise<boolean>[]): Promise<number> =>
  (await Promise.all(tries)).filter((ok) => ok).length;

test('a registered node is there for all to read, strongly consistent and with no time of day', async () => {
  expect(await tableOf(1).write(FIRST)).toBe(true);
  expect(await tableOf(2).read()).toEqual({
    nodes: [{ id: 'i-1', address: '10.0.0.11', zone: 'a', epoch: 1, counter: 1, state: 'live', ready: 0, ring: 0 }],
    ring: undefined,
  });
});

test('the epoch grows with each lease of a node, and the lease before it ends there', async () => {
  const table = tableOf(1);
  await table.write(FIRST);
  expect(await table.write(FIRST)).toBe(false);
  const replaced = { epoch: 1, state: 'live' as NodeState };
  // Two agents of one node, as after a restart that left the old one behind: one lease.
  const again = { do: 'register', epoch: 2, state: 'live', replaced } as const;
  expect(await accepted([table.write(again), tableOf(1).write(again)])).toBe(1);
  expect(await table.write(renew(1))).toBe(false);
  expect(await table.write(renew(2, 7))).toBe(true);
  expect((await table.read()).nodes[0]).toMatchObject({ epoch: 2, counter: 2, ready: 8, ring: 7 });
});

test('a fence and a renewal conflict: whichever comes second is refused', async () => {
  const owner = tableOf(1);
  const peer = tableOf(2);
  await owner.write(FIRST);
  const seen = { do: 'fence-peer', peer: { id: 'i-1', epoch: 1, counter: 1 } } as const;
  await owner.write(renew(1));
  expect(await peer.write(seen)).toBe(false);
  expect(await peer.write({ ...seen, peer: { ...seen.peer, counter: 2 } })).toBe(true);
  expect(await owner.write(renew(1))).toBe(false);
  expect(await owner.write({ do: 'go', epoch: 1 })).toBe(false);
});

test('at once, either the fence or the renewal is accepted, never both', async () => {
  for (let index = 0; index < 20; index++) {
    cluster = randomUUID();
    await tableOf(1).write(FIRST);
    const results = await Promise.all([
      tableOf(1).write(renew(1)),
      tableOf(2).write({ do: 'fence-peer', peer: { id: 'i-1', epoch: 1, counter: 1 } }),
    ]);
    expect(results.filter((ok) => ok)).toHaveLength(1);
  }
});

test('of many who change the ring at once one wins', async () => {
  const nodes = (index: number) => [{ id: `i-${index}`, address: `10.0.0.${10 + index}` }];
  for (const version of [1, 2, 3]) {
    const tries = [1, 2, 3, 4, 5].map((index) =>
      tableOf(index).write({ do: 'write-ring', ring: { version, nodes: nodes(index) } }),
    );
    expect(await accepted(tries)).toBe(1);
  }
  expect((await tableOf(1).read()).ring).toMatchObject({ version: 3, nodes: [expect.anything()] });
});

test('two adopters never both win, and a queue is claimed only from a node that is down', async () => {
  const owner = tableOf(1);
  await owner.write(FIRST);
  const peer = { id: 'i-1', epoch: 1 };
  const claim = (index: number, replaced?: string) =>
    tableOf(index).write({ do: 'claim', peer, claim: `i-${index}#1`, replaced });
  expect(await claim(2)).toBe(false);
  await tableOf(2).write({ do: 'fence-peer', peer: { ...peer, counter: 1 } });
  expect(await accepted([2, 3, 4, 5].map((index) => claim(index)))).toBe(1);
  const { adoptedBy } = (await owner.read()).nodes[0];
  // The winner dies: again one.
  expect(await accepted([6, 7, 8].map((index) => claim(index, adoptedBy)))).toBe(1);
  expect(await tableOf(2).write({ do: 'finish-adoption', peer, claim: adoptedBy! })).toBe(false);
});

test('a node does not come back over an adoption that began, nor an adoption over a node that came back', async () => {
  const owner = tableOf(1);
  const back = { do: 'register', epoch: 2, state: 'live', replaced: { epoch: 1, state: 'fenced' } } as const;
  const claim = { do: 'claim', peer: { id: 'i-1', epoch: 1 }, claim: 'i-2#1' } as const;
  for (let index = 0; index < 20; index++) {
    cluster = randomUUID();
    await tableOf(1).write(FIRST);
    await tableOf(2).write({ do: 'fence-peer', peer: { id: 'i-1', epoch: 1, counter: 1 } });
    expect(await accepted([tableOf(1).write(back), tableOf(2).write(claim)])).toBe(1);
  }
  expect(await owner.write(back)).toBe(false);
});

test('what is adopted is marked, and removed by DynamoDB later', async () => {
  await tableOf(1).write(FIRST);
  await tableOf(1).write({ do: 'go', epoch: 1 });
  const peer = { id: 'i-1', epoch: 1 };
  await tableOf(2).write({ do: 'claim', peer, claim: 'i-2#1' });
  expect(await tableOf(2).write({ do: 'finish-adoption', peer, claim: 'i-2#1' })).toBe(true);
  expect((await tableOf(1).read()).nodes[0]).toMatchObject({ state: 'gone', adopted: true, adoptedBy: 'i-2#1' });
});

test('fails when an item is not as it must be', async () => {
  await client.send(
    new PutItemCommand({ TableName: 'Leases', Item: { pk: { S: cluster }, sk: { S: 'ring' }, version: { S: '1' } } }),
  );
  await expect(tableOf(1).read()).rejects.toThrow('lease table, ring: no list of nodes');
});

// The simulation is worth what its table is: both must accept and refuse alike.
test('accepts and refuses exactly what the table of the simulation does', async () => {
  const random = randomFrom(5);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)];
  const simulated = new SimulatedTable();
  const results = { true: 0, false: 0 };
  for (let step = 0; step < 600; step++) {
    const index = pick([1, 2, 3]);
    const view = simulated.view();
    const action = anyAction(index, view, random, pick);
    const ok = simulated.apply(action, { id: `i-${index}`, address: `10.0.0.${10 + index}` });
    expect({ step, action, ok: await tableOf(index).write(action) }).toEqual({ step, action, ok });
    results[`${ok}`] += 1;
  }
  expect(await tableOf(1).read()).toEqual({
    nodes: simulated
      .view()
      .nodes.map((node) => node)
      .sort((one, other) => (one.id < other.id ? -1 : 1)),
    ring: simulated.ring,
  });
  expect(Math.min(results.true, results.false)).toBeGreaterThan(100);
}, 60_000);

const anyAction = (
  index: number,
  view: TableView,
  random: () => number,
  pick: <T>(list: readonly T[]) => T,
): Exclude<TableAction, { do: 'read' }> => {
  const mine = view.nodes.find(({ id }) => id === `i-${index}`);
  const peer = pick(view.nodes) ?? { id: 'i-1', epoch: 1, counter: 1, state: 'live' };
  // Now and then what was true some time ago.
  const old = random() < 0.25 ? 1 : 0;
  const epoch = (mine?.epoch ?? 1) - old;
  const version = (view.ring?.version ?? 0) + 1 - old;
  const lease = { id: peer.id, epoch: peer.epoch - (random() < 0.1 ? 1 : 0) };
  return pick<Exclude<TableAction, { do: 'read' }>>([
    {
      do: 'register',
      epoch: (mine?.epoch ?? 0) + 1,
      state: pick(['live', 'draining'] as const),
      replaced: old || !mine ? undefined : { epoch: mine.epoch, state: mine.state, adoptedBy: mine.adoptedBy },
    },
    { do: 'renew', epoch, state: 'live', ready: step(random), ring: step(random) },
    { do: 'renew', epoch, state: 'draining', ready: step(random), ring: step(random) },
    { do: 'go', epoch },
    { do: 'fence-peer', peer: { ...lease, counter: peer.counter - old } },
    { do: 'write-ring', ring: { version: Math.max(1, version), nodes: [{ id: `i-${index}`, address: '10.0.0.1' }] } },
    { do: 'claim', peer: lease, claim: `i-${index}#${epoch}`, replaced: old ? undefined : peer.adoptedBy },
    { do: 'claim', peer: lease, claim: `i-${index}#${epoch}`, replaced: peer.adoptedBy },
    { do: 'finish-adoption', peer: lease, claim: peer.adoptedBy ?? 'i-9#1' },
  ]);
};

const step = (random: () => number): number => Math.floor(random() * 9);

test('the ring keeps which shard each node has', async () => {
  const nodes = [
    { id: 'i-1', address: '10.0.0.11', shard: 'shard-1' },
    { id: 'i-2', address: '10.0.0.12' },
  ];
  expect(await tableOf(1).write({ do: 'write-ring', ring: { version: 1, nodes } })).toBe(true);
  expect((await tableOf(2).read()).ring).toEqual({ version: 1, nodes });
});
