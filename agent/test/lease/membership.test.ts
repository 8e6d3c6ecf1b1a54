import { Action } from '../../src/lease/actions';
import { NodeItem, RingNode, TableView } from '../../src/lease/items';
import { Event, Membership } from '../../src/lease/membership';

const ME = { id: 'i-1', address: '10.0.0.1' };
const PEER = { id: 'i-2', address: '10.0.0.2' };

/** A node's membership, with everything that it asks for done at once unless a test says otherwise. */
class Node {
  public now = 1_000;
  public readonly done: Action[] = [];
  public readonly membership = new Membership(ME);

  public constructor(public table: TableView = { nodes: [] }) {}

  public give(event: Event): Action[] {
    const actions = this.membership.handle(event, this.now);
    this.done.push(...actions);
    return actions;
  }

  public ok(action: Action, result: 'ok' | 'refused' | 'failed' = 'ok', sentAt = this.now): Action[] {
    if (action.do === 'publish' || action.do === 'log') return [];
    const table = action.do === 'read' && result === 'ok' ? this.table : undefined;
    return this.give({ on: 'outcome', action, sentAt, result, table });
  }

  /** The latest action of a kind. */
  public latest<K extends Action['do']>(what: K): Extract<Action, { do: K }> {
    const found = this.done.filter((action) => action.do === what).at(-1);
    if (!found) throw new Error(`no ${what} among ${this.done.map((action) => action.do).join(', ')}`);
    return found as Extract<Action, { do: K }>;
  }

  public count(what: Action['do']): number {
    return this.done.filter((action) => action.do === what).length;
  }

  public set items(items: Partial<NodeItem>[]) {
    this.table = { ...this.table, nodes: items.map((item) => ({ ...BASE, ready: item.ring ?? 0, ...item })) };
  }

  public set ring({ version, nodes }: { version: number; nodes: RingNode[] }) {
    this.table = { ...this.table, ring: { version, nodes } };
  }

  public read(): void {
    this.now += 1_000;
    this.give({ on: 'tick' });
    this.ok(this.latest('read'));
  }

  /** As a node that has just taken its lease. */
  public lease(): this {
    this.give({ on: 'tick' });
    this.ok(this.latest('kick-all'));
    this.ok(this.latest('forget'));
    this.read();
    this.ok(this.latest('register'));
    this.items = [{ ...ME, epoch: this.latest('register').epoch }];
    this.ok(this.latest('start'));
    this.give({ on: 'able', able: true });
    return this;
  }

  /** As one of two nodes of a settled ring. */
  public serving(): this {
    this.lease();
    this.items = [ME, { ...PEER, ring: 3 }];
    this.ring = { version: 3, nodes: [ME, PEER] };
    this.read();
    this.renewed();
    this.read();
    expect(this.latest('publish').view.settled).toBe(true);
    return this;
  }

  public renewed(): void {
    this.give({ on: 'tick' });
    this.ok(this.latest('renew'));
  }
}

const BASE: NodeItem = { id: '', address: '', zone: 'a', epoch: 1, counter: 1, state: 'live', ready: 0, ring: 0 };

test('nothing is served before there is a lease and a settled ring', () => {
  const node = new Node();
  expect(node.give({ on: 'tick' })[0]).toMatchObject({ do: 'publish', view: { serving: false } });
  node.lease();
  expect(node.membership.status().reason).toBe('no ring was seen under this lease yet');
  node.read();
  expect(node.latest('write-ring').ring).toEqual({ version: 1, nodes: [ME] });
  node.ring = { version: 1, nodes: [ME] };
  node.renewed();
  node.read();
  expect(node.latest('publish').view).toMatchObject({ serving: true, settled: false, was: [] });
  expect(node.membership.status().reason).toBe('ring 1 is not settled yet');
  node.renewed();
  expect(node.latest('renew').ring).toBe(1);
  node.read();
  expect(node.latest('publish').view).toMatchObject({ settled: true });
  expect(node.membership.status().reason).toBeUndefined();
});

test('takes the next epoch, over what it replaces', () => {
  const node = new Node();
  node.items = [{ ...ME, epoch: 4, state: 'live' }];
  node.give({ on: 'tick' });
  node.ok(node.latest('kick-all'));
  node.read();
  expect(node.latest('register')).toEqual({
    do: 'register',
    epoch: 5,
    state: 'live',
    replaced: { epoch: 4, state: 'live', adoptedBy: undefined },
  });
});

test('a node that others have fenced stops its daemons before it comes back, and waits for who adopts its queue', () => {
  const node = new Node();
  const adopter = { ...PEER, epoch: 2 };
  node.items = [{ ...ME, state: 'fenced', adoptedBy: 'i-2#2' }, adopter];
  node.give({ on: 'tick' });
  node.ok(node.latest('kick-all'));
  node.read();
  expect(node.count('register')).toBe(0);
  node.ok(node.latest('stop'));
  node.read();
  expect(node.count('register')).toBe(0);
  expect(node.membership.status().reason).toBe("no lease: i-2#2 adopts the node's queue");
  node.items = [{ ...ME, state: 'fenced', adoptedBy: 'i-2#2', adopted: true }, adopter];
  node.read();
  expect(node.latest('register').epoch).toBe(2);
});

test('without renewals it stops everything after three seconds, counted from when the last good one was sent', () => {
  const node = new Node().serving();
  const sentAt = node.now;
  node.now += 900;
  node.give({ on: 'outcome', action: node.latest('renew'), sentAt, result: 'ok' });
  node.now = sentAt + 3_000;
  node.give({ on: 'tick' });
  expect(node.count('stop')).toBe(0);
  node.now = sentAt + 3_001;
  const actions = node.give({ on: 'tick' });
  expect(actions.map((action) => action.do)).toEqual(expect.arrayContaining(['publish', 'stop']));
  expect(node.latest('publish').view.serving).toBe(false);
});

test('a node that wakes up late fences itself before it goes on with anything', () => {
  const node = new Node().serving();
  const read = node.latest('read');
  node.now += 20_000;
  const [first] = node.give({
    on: 'outcome',
    action: read,
    sentAt: node.now - 20_000,
    result: 'ok',
    table: node.table,
  });
  expect(first).toMatchObject({ do: 'log', level: 'error' });
  expect(node.latest('publish').view.serving).toBe(false);
});

test('a refused renewal ends the lease at once; one that failed does not', () => {
  const node = new Node().serving();
  node.ok(node.latest('renew'), 'failed');
  expect(node.count('stop')).toBe(0);
  node.ok(node.latest('renew'), 'refused');
  expect(node.count('stop')).toBe(1);
});

test('a peer is fenced when its counter stands still for five seconds here, whatever its clock says', () => {
  const node = new Node().serving();
  for (let second = 0; second < 4; second++) {
    node.renewed();
    node.read();
  }
  expect(node.count('fence-peer')).toBe(0);
  node.renewed();
  node.read();
  node.read();
  expect(node.latest('fence-peer').peer).toEqual({ id: 'i-2', epoch: 1, counter: 1 });
});

test('a ring is not settled while a node that holds its lease follows another, older or newer', () => {
  const node = new Node().serving();
  node.ring = { version: 4, nodes: [ME] };
  node.read();
  for (const ring of [3, 5]) {
    node.items = [ME, { ...PEER, ring, counter: ring }];
    node.renewed();
    node.read();
    expect(node.latest('publish').view).toMatchObject({ version: 4, settled: false });
  }
  node.items = [ME, { ...PEER, ring: 3, state: 'fenced' }];
  node.renewed();
  node.read();
  expect(node.latest('publish').view).toMatchObject({ version: 4, settled: true });
});

test('a ring is not settled by a read that was sent before the moved sessions had ended', () => {
  const node = new Node().serving();
  const third = { id: 'i-3', address: '10.0.0.3' };
  node.ring = { version: 4, nodes: [ME, PEER, third] };
  node.items = [ME, { ...PEER, ring: 4 }];
  node.read();
  node.ok(node.latest('end-deliveries'));
  node.renewed();
  node.now += 1_000;
  node.give({ on: 'tick' });
  const sentAt = node.now;
  node.now += 100;
  node.ok(node.latest('kick'));
  node.ok(node.latest('forget'));
  node.ok(node.latest('read'), 'ok', sentAt);
  expect(node.latest('publish').view).toMatchObject({ version: 4, settled: false });
  node.renewed();
  node.read();
  expect(node.latest('publish').view).toMatchObject({ version: 4, settled: true });
});

test('a queue that was moved is not moved again when the table is read late', () => {
  const node = new Node().serving();
  const orphan = { ...PEER, state: 'fenced' as const };
  node.items = [ME, orphan];
  node.ring = { version: 4, nodes: [ME] };
  node.read();
  node.ok(node.latest('claim'));
  node.ok(node.latest('adopt'));
  node.ok(node.latest('finish-adoption'));
  expect(node.membership.status().adoptions).toBe(1);
  node.items = [ME, { ...orphan, adoptedBy: 'i-1#1' }];
  node.renewed();
  node.read();
  expect(node.count('adopt')).toBe(1);
});

test('sessions end when all nodes are ready to end theirs, and not much later when one is not', () => {
  const node = new Node().serving();
  const kicks = node.count('kick');
  node.ring = { version: 4, nodes: [ME, PEER, { id: 'i-3', address: '10.0.0.3' }] };
  node.read();
  node.ok(node.latest('end-deliveries'));
  node.renewed();
  expect(node.latest('renew')).toMatchObject({ ready: 4, ring: 3 });
  for (let second = 0; second < 5; second++) {
    node.read();
    node.renewed();
  }
  expect(node.count('kick')).toBe(kicks);
  node.items = [ME, { ...PEER, ready: 4, ring: 3 }];
  node.read();
  expect(node.count('kick')).toBe(kicks + 1);
  expect(node.latest('kick').view.version).toBe(4);

  const impatient = new Node().serving();
  impatient.ring = { version: 4, nodes: [ME, PEER, { id: 'i-3', address: '10.0.0.3' }] };
  impatient.read();
  impatient.ok(impatient.latest('end-deliveries'));
  for (let second = 0; second < 8; second++) {
    impatient.read();
    impatient.renewed();
  }
  expect(impatient.count('kick')).toBe(1);
});

test('nobody comes back before what was read of their mailboxes is forgotten', () => {
  const node = new Node().serving();
  node.items = [ME, { ...PEER, ring: 4 }];
  node.ring = { version: 4, nodes: [ME, PEER, { id: 'i-3', address: '10.0.0.3' }] };
  node.read();
  node.ok(node.latest('end-deliveries'));
  node.ok(node.latest('kick'));
  node.renewed();
  expect(node.latest('renew').ring).toBe(4);
  node.read();
  expect(node.latest('publish').view.settled).toBe(false);
  node.ok(node.latest('forget'), 'failed');
  const forgets = node.count('forget');
  node.read();
  expect(node.count('forget')).toBe(forgets + 1);
  expect(node.latest('publish').view.settled).toBe(false);
  node.ok(node.latest('forget'));
  node.read();
  expect(node.latest('publish').view.settled).toBe(true);
});

test('a node that is new in the ring has no sessions to end, whatever ring it has seen', () => {
  const node = new Node().lease();
  node.items = [ME, { ...PEER, ring: 3 }];
  node.ring = { version: 3, nodes: [PEER] };
  node.read();
  node.renewed();
  node.read();
  expect(node.latest('publish').view).toMatchObject({ version: 3, settled: true });
  node.ring = { version: 4, nodes: [ME, PEER] };
  node.read();
  node.renewed();
  expect(node.latest('renew')).toMatchObject({ ready: 4, ring: 4 });
  expect(node.count('end-deliveries')).toBe(0);
  // It is not there for anybody before it is settled in the ring itself.
  expect(node.membership.status().reason).toBe('ring 4 is not settled yet');
});

test('what was ready for an older ring is not ready for the next', () => {
  const node = new Node().serving();
  const third = { id: 'i-3', address: '10.0.0.3' };
  node.items = [ME, { ...PEER, ready: 9, ring: 3 }];
  node.ring = { version: 4, nodes: [ME, PEER, third] };
  node.read();
  const first = node.latest('end-deliveries');
  node.ring = { version: 5, nodes: [ME, third] };
  node.read();
  const kicks = node.count('kick');
  node.ok(first);
  expect(node.count('kick')).toBe(kicks);
  node.ok(node.latest('end-deliveries'));
  expect(node.count('kick')).toBe(kicks + 1);
});

test('a ring without a node ends no sessions on those that stay; one with a new node does', () => {
  const node = new Node().serving();
  const ends = node.count('end-deliveries');
  node.ring = { version: 4, nodes: [ME] };
  node.read();
  expect(node.count('end-deliveries')).toBe(ends);
  expect(node.latest('renew').ring).toBe(4);
  node.ring = { version: 5, nodes: [ME, PEER] };
  node.read();
  expect(node.count('end-deliveries')).toBe(ends + 1);
  expect(node.latest('renew').ring).toBe(4);
});

test('users who go and come back within rings that were not settled are not kept', () => {
  const node = new Node().serving();
  const third = { id: 'i-3', address: '10.0.0.3' };
  node.ring = { version: 4, nodes: [ME, PEER, third] };
  node.read();
  node.ring = { version: 5, nodes: [ME, PEER] };
  node.read();
  expect(node.latest('publish').view).toMatchObject({
    nodes: [ME.address, PEER.address],
    was: [ME.address, PEER.address, third.address],
  });
});

test('a node that leaves in good order may end what was passed on to it, until its lease is over', () => {
  const node = new Node().serving();
  node.items = [ME, { ...PEER, ring: 3, state: 'draining' }];
  node.ring = { version: 4, nodes: [ME] };
  node.read();
  expect(node.latest('publish').view).toMatchObject({ nodes: [ME.address], leaving: [PEER.address] });
  node.items = [ME, { ...PEER, ring: 4, state: 'fenced' }];
  node.read();
  expect(node.latest('publish').view).toMatchObject({ nodes: [ME.address], leaving: [] });
});

test('a node that dies may not', () => {
  const node = new Node().serving();
  node.items = [ME, { ...PEER, ring: 3, state: 'fenced' }];
  node.ring = { version: 4, nodes: [ME] };
  node.read();
  expect(node.latest('publish').view).toMatchObject({ nodes: [ME.address], leaving: [] });
});

test('a ring that the node was not in keeps it from keeping anybody', () => {
  const node = new Node().serving();
  node.ring = { version: 4, nodes: [PEER] };
  node.read();
  node.ring = { version: 5, nodes: [ME, PEER] };
  node.read();
  expect(node.latest('publish').view).toMatchObject({ version: 5, was: [] });
});

test('without Dovecot it leaves the ring, and comes back when Dovecot has stayed up', () => {
  const node = new Node().serving();
  node.give({ on: 'able', able: false });
  for (let second = 0; second < 5; second++) {
    node.renewed();
    node.read();
    node.items = [ME, { ...PEER, ring: 3, counter: node.now }];
  }
  expect(node.latest('write-ring').ring).toEqual({ version: 4, nodes: [PEER] });
  const writes = node.count('write-ring');
  node.ok(node.latest('write-ring'));
  node.ring = { version: 4, nodes: [PEER] };
  node.give({ on: 'able', able: true });
  for (let second = 0; second < 5; second++) {
    node.renewed();
    node.read();
    node.items = [ME, { ...PEER, ring: 4, counter: node.now }];
  }
  expect(node.count('write-ring')).toBe(writes);
  node.renewed();
  node.read();
  expect(node.latest('write-ring').ring).toEqual({ version: 5, nodes: [ME, PEER] });
});

test('the last node of a ring stays in it', () => {
  const node = new Node().serving();
  node.items = [ME, { ...PEER, state: 'gone', adopted: true }];
  node.ring = { version: 4, nodes: [ME] };
  node.give({ on: 'able', able: false });
  for (let second = 0; second < 8; second++) {
    node.renewed();
    node.read();
  }
  expect(node.count('write-ring')).toBe(0);
});

test('sessions that do not end cost the lease', () => {
  const node = new Node().serving();
  node.ring = { version: 4, nodes: [ME, PEER, { id: 'i-3', address: '10.0.0.3' }] };
  node.read();
  for (let second = 0; second < 16; second++) {
    node.ok(node.latest('end-deliveries'), 'failed');
    node.renewed();
    node.now += 1_000;
    node.give({ on: 'tick' });
  }
  expect(node.count('stop')).toBe(1);
  expect(node.membership.status().reason).toContain("can't be ended");
});

test('a node of a shard goes into the ring with it, and publishes who has which', () => {
  const node = new Node();
  const membership = new Membership({ ...ME, shard: 'shard-1' }, ['shard-1', 'shard-2']);
  Object.assign(node, { membership });
  node.lease();
  node.give({ on: 'able', able: true });
  node.read();
  expect(node.latest('write-ring').ring.nodes).toEqual([{ ...ME, shard: 'shard-1' }]);
  node.ring = { version: 2, nodes: [{ ...ME, shard: 'shard-1' }] };
  node.read();
  expect(node.latest('publish').view.shards).toEqual([{ name: 'shard-1', address: ME.address }, { name: 'shard-2' }]);
});
