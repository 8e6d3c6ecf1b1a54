import { Size } from 'aws-cdk-lib';
import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { MailDemand, MailSizing, sizeFor } from '../../lib/sizing';

/** Nodes and their type, such as `3 m7g.large`. */
function nodes({ minNodes, instanceType }: MailSizing): string {
  return `${minNodes} ${instanceType.toString()}`;
}

test.each([
  [10, '3 t4g.medium'],
  [100, '3 t4g.medium'],
  [500, '3 t4g.medium'],
  [2000, '3 m7g.large'],
  [10_000, '9 m7g.xlarge'],
  [100_000, '36 m7g.2xlarge'],
])('%d users need %s', (users, expected) => {
  const size = sizeFor({ users });
  expect(nodes(size)).toBe(expected);
  expect(size.maxNodes).toBe(2 * size.minNodes);
  expect(size.clusters).toBe(1);
});

test('spreads a million users over clusters of a hundred thousand', () => {
  const million = sizeFor({ users: 1_000_000 });
  const part = sizeFor({ users: 100_000 });
  expect(million).toMatchObject({ clusters: 10, minNodes: part.minNodes, connections: part.connections });
  expect(million.monthlyCost!.total).toBeCloseTo(10 * part.monthlyCost!.total);
});

const demands: MailDemand[] = [1, 10, 333, 1111, 2222, 2223, 5000, 25_000, 77_777, 100_000].flatMap((users) => [
  { users },
  { users, zones: 4 },
  { users, connectedShare: 1, sessionsPerUser: 5 },
  { users, messagesPerDay: 2000 },
]);

test.each(demands)('keeps a reserve, and outlives a zone: %j', (demand) => {
  const { connections, connectionsPerNode, minNodes, deliveriesPerSecond, instanceType } = sizeFor(demand);
  const zones = demand.zones ?? 3;
  const capacity = minNodes * connectionsPerNode;
  expect(minNodes % zones).toBe(0);
  expect(connections).toBeLessThanOrEqual(0.7 * capacity);
  expect(connections).toBeLessThanOrEqual((capacity * (zones - 1)) / zones);
  const vcpus = { 't4g.medium': 2, 'm7g.large': 2, 'm7g.xlarge': 4, 'm7g.2xlarge': 8 }[instanceType.toString()]!;
  expect(deliveriesPerSecond).toBeLessThanOrEqual(0.7 * minNodes * vcpus * 20);
});

test('more of anything costs no less', () => {
  const cost = (demand: MailDemand) => sizeFor(demand).monthlyCost!.total;
  const usual = cost({ users: 5000 });
  for (const more of [
    { users: 6000 },
    { users: 5000, connectedShare: 0.9 },
    { users: 5000, sessionsPerUser: 6 },
    { users: 5000, messagesPerDay: 120 },
    { users: 5000, messageSize: Size.kibibytes(150) },
    { users: 5000, mailboxSize: Size.gibibytes(4) },
  ]) {
    expect(cost(more)).toBeGreaterThan(usual);
  }
});

// By hand: 3 m7g.large and disks, 3 NAT gateways, balancer with 1.2 units, 9.216 GB of mail a day in 4294.97 GB.
test('2 000 users cost what the price list says', () => {
  const { nodes, network, edge, storage, other, total } = sizeFor({ users: 2000 }).monthlyCost!;
  expect(nodes).toBeCloseTo(3 * (0.0816 * 730 + 1.6), 6);
  expect(network).toBeCloseTo(3 * (32.85 + 3.65), 6);
  expect(edge).toBeCloseTo(16.43 + 3 * 3.65 + 1.2 * 4.38, 6);
  const kept = 276.48 * 0.3 + 552.96 * 0.016 + (4294.967296 - 829.44) * 0.008;
  expect(storage).toBeCloseTo(kept + (730 / 24) * 9.216 * (2 * 0.06 + 3 * 0.03), 6);
  expect(other).toBeCloseTo(1 + 0.5 + 0.8 + 2.3 + 6, 6);
  expect(total).toBeCloseTo(nodes + network + edge + storage + other, 6);
});

test('takes a type and its connections as given', () => {
  const size = sizeFor({ users: 10_000, instanceType: new InstanceType('m7g.large'), connectionsPerNode: 3000 });
  expect(nodes(size)).toBe('9 m7g.large');
  expect(size.connectionsPerNode).toBe(3000);
});

test('has no price for a type that the list does not have', () => {
  const size = sizeFor({ users: 100, instanceType: new InstanceType('r7i.large') });
  expect(nodes(size)).toBe('3 r7i.large');
  expect(size.monthlyCost).toBeUndefined();
});

test('alarms follow the size', () => {
  expect(sizeFor({ users: 10 })).toMatchObject({ queueLengthMax: 1000 });
  const large = sizeFor({ users: 100_000 });
  // Ten minutes of 278 messages a second, on one of 36 nodes.
  expect(large.queueLengthMax).toBe(5000);
  expect(large.storeSizeMax.toGibibytes()).toBe(250_000);
});

test.each<[string, MailDemand, string]>([
  ['there are no users', { users: 0 }, 'users must be a whole number >= 1, got 0'],
  ['users are not whole', { users: 1.5 }, 'users must be a whole number >= 1, got 1.5'],
  ['a share is in percent', { users: 1, connectedShare: 60 }, 'connectedShare must be above 0 and <= 1, got 60'],
  ['nobody is connected', { users: 1, connectedShare: 0 }, 'connectedShare must be above 0 and <= 1, got 0'],
  [
    'a user has more sessions than allowed',
    { users: 1, sessionsPerUser: 21 },
    'sessionsPerUser must be 1 to 20, got 21',
  ],
  ['messages are less than none', { users: 1, messagesPerDay: -1 }, 'messagesPerDay must be >= 0, got -1'],
  ['a number is none', { users: NaN }, 'users must be a whole number >= 1, got NaN'],
  ['there is no zone', { users: 1, zones: 0 }, 'zones must be a whole number >= 1, got 0'],
  [
    'a type is not known',
    { users: 1, instanceType: new InstanceType('p4d.24xlarge') },
    'capacity of instance type p4d.24xlarge is not known',
  ],
])('fails when %s', (_name, demand, message) => {
  expect(() => sizeFor(demand)).toThrow(message);
});
