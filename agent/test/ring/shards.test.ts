import { homeOf } from '../../src/ring/home';
import { renderRing, RingView, serves } from '../../src/ring/ring-file';
import { holdersOf, homeIn } from '../../src/ring/shards';
import vectors from './shard-vectors.json';

const NAMES = ['shard-1', 'shard-2', 'shard-3'];
const NODES = ['10.0.48.10', '10.0.64.10', '10.0.80.10'];
const HOLDERS = NODES.map((address, index) => ({ address, shard: NAMES[index] }));
const USERS = Array.from({ length: 200 }, (_, index) => `user${index}@example.com`);
const VIEW: RingView = {
  version: 7,
  self: NODES[0],
  serving: true,
  settled: true,
  nodes: NODES,
  was: NODES,
  leaving: [],
  shards: holdersOf(NAMES, HOLDERS),
};
const own = USERS.filter((user) => homeOf(user, NAMES) === 'shard-1');

test('agrees with the vectors that Dovecot agrees with', () => {
  for (const { user, nodes, shards, shard, home } of vectors) {
    expect(homeIn(user, nodes, shards, shard)).toBe(home ?? undefined);
  }
});

test('a node has the users of its shard, whatever other nodes there are', () => {
  expect(own.length).toBeGreaterThan(40);
  for (const others of [[], HOLDERS.slice(1), [{ address: '10.0.64.11', shard: 'shard-2' }]]) {
    const nodes = [HOLDERS[0], ...others];
    const view = { ...VIEW, nodes: nodes.map(({ address }) => address), shards: holdersOf(NAMES, nodes) };
    expect(USERS.filter((user) => serves(view, user))).toEqual(own);
  }
});

test('a shard without a node has no home, and nobody else takes its users', () => {
  const shards = holdersOf(NAMES, HOLDERS.slice(1));
  const left = NODES.slice(1);
  for (const user of own) expect(homeIn(user, left, shards)).toBeUndefined();
  for (const user of USERS.filter((one) => !own.includes(one))) expect(left).toContain(homeIn(user, left, shards));
});

test('a shard that two nodes claim has no home', () => {
  const [first] = holdersOf(NAMES, [...HOLDERS, { address: '10.0.48.11', shard: 'shard-1' }]);
  expect(first).toEqual({ name: 'shard-1' });
});

test('the node that follows another serves nobody before the ring has settled', () => {
  const next = { address: '10.0.48.11', shard: 'shard-1' };
  const nodes = [next, ...HOLDERS.slice(1)];
  const view = {
    ...VIEW,
    self: next.address,
    nodes: nodes.map(({ address }) => address),
    shards: holdersOf(NAMES, nodes),
  };
  expect(USERS.filter((user) => serves({ ...view, settled: false, was: NODES }, user))).toEqual([]);
  expect(USERS.filter((user) => serves(view, user))).toEqual(own);
});

test('the ring file lists all shards, with an empty address where there is no node', () => {
  const text = renderRing({ ...VIEW, shards: holdersOf(NAMES, HOLDERS.slice(0, 1)) });
  expect(text.split('\n').filter((line) => line.startsWith('shard'))).toEqual([
    'shard\tshard-1\t10.0.48.10',
    'shard\tshard-2\t',
    'shard\tshard-3\t',
  ]);
});
