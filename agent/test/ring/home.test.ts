import { homeOf } from '../../src/ring/home';
import vectors from './home-vectors.json';

const NODES = ['10.0.48.10', '10.0.64.10', '10.0.80.10', '10.0.48.11'];
const USERS = Array.from({ length: 20_000 }, (_, index) => `user${index}@example.com`);

test('agrees with the vectors that Dovecot agrees with', () => {
  expect(vectors.map(({ user, nodes }) => ({ user, nodes, home: homeOf(user, nodes) }))).toEqual(vectors);
});

test('knows users in any case, and nodes in any order', () => {
  expect(homeOf('Alice@Example.COM', NODES)).toBe(homeOf('alice@example.com', [...NODES].reverse()));
});

test('spreads users evenly', () => {
  for (const node of NODES) {
    const share = USERS.filter((user) => homeOf(user, NODES) === node).length / USERS.length;
    expect(share).toBeGreaterThan(0.24);
    expect(share).toBeLessThan(0.26);
  }
});

test('a node that goes moves its own users and no other', () => {
  const [gone, ...left] = NODES;
  for (const user of USERS) {
    const before = homeOf(user, NODES);
    if (before !== gone) expect(homeOf(user, left)).toBe(before);
  }
});

test('without nodes there is no home', () => {
  expect(homeOf('alice@example.com', [])).toBeUndefined();
});
