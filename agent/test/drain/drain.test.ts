import { Drain, DrainActions } from '../../src/drain/drain';
import { LifecyclePhase } from '../../src/drain/lifecycle';
import { Notice } from '../../src/drain/notices';
import { Transitions } from '../../src/log';
import { RecordingLog } from '../support/recording-log';

/** A node and its surroundings, as the drain sees them. */
class World implements DrainActions {
  public said?: Notice;
  public clients = 0;
  public messages = 0;
  public homes = 0;
  public leased = 0;
  public at: LifecyclePhase = 'waiting';
  public clock = 1_000_000;
  public readonly done: string[] = [];
  public readonly log = new RecordingLog();

  public notice = async () => this.said;
  public refuseClients = () => void this.done.push('refuse clients');
  public hasLeft = () => this.homes === 0;
  public depart = () => {
    this.done.push('depart');
    return this.leased-- <= 0;
  };
  public connections = async () => this.clients;
  public queueLength = async () => this.messages;
  public flushQueue = async () => void this.done.push('flush');
  public phase = async () => this.at;
  public heartbeat = async () => void this.done.push('heartbeat');
  public complete = async () => {
    this.done.push('complete');
    this.at = 'over';
  };

  /** An agent that has just started. */
  public agent(): Drain {
    return new Drain({
      actions: this,
      log: this.log,
      transitions: new Transitions(this.log),
      limitSeconds: 300,
      now: () => this.clock,
      wallClock: () => this.clock,
    });
  }

  /** What was done since this was last asked. */
  public news(): string[] {
    return this.done.splice(0);
  }
}

const TERMINATED: Notice = { reason: 'Auto Scaling ends the instance', lifecycle: true };

let world: World;
let drain: Drain;
beforeEach(() => {
  world = new World();
  drain = world.agent();
});

/** Looks every 5 s of the world's time. */
const looks = async (count: number): Promise<void> => {
  for (let look = 0; look < count; look++) {
    await drain.look();
    world.clock += 5_000;
  }
};

test('does nothing without a notice', async () => {
  await looks(3);
  expect(world.news()).toEqual([]);
});

test('refuses clients, waits for those it has and for the queue, then lets Auto Scaling go on', async () => {
  Object.assign(world, { said: TERMINATED, clients: 2, messages: 3 });
  await looks(2);
  expect(world.news()).toEqual(['refuse clients', 'flush', 'heartbeat']);
  world.clients = 0;
  await looks(1);
  expect(world.news()).toEqual(['flush']);
  world.messages = 0;
  await looks(1);
  expect(world.news()).toEqual(['depart', 'complete']);
  await looks(3);
  expect(world.news()).toEqual([]);
  expect(world.log.lines).toEqual([
    'info draining: Auto Scaling ends the instance; waiting up to 300 s for connections and queue',
    'info drained: 0 connections and 0 queued messages left',
    'info lifecycle hook answered: CONTINUE',
  ]);
});

test('an idle node stays until the balancer has noticed', async () => {
  world.said = TERMINATED;
  await looks(3);
  expect(world.news()).not.toContain('complete');
  await looks(1);
  expect(world.news()).toEqual(['depart', 'complete']);
});

test('goes on when the time is up, and says what is left', async () => {
  Object.assign(world, { said: TERMINATED, clients: 2, messages: 3 });
  await looks(60);
  expect(world.news()).not.toContain('complete');
  await looks(1);
  expect(world.news()).toEqual(['depart', 'complete']);
  expect(world.log.lines).toContain(
    'warning drain time is up: 2 connections and 3 queued messages left; another node takes them over',
  );
});

test('stays until other nodes serve its users', async () => {
  Object.assign(world, { said: TERMINATED, homes: 7 });
  await looks(10);
  expect(world.news()).not.toContain('depart');
  world.homes = 0;
  await looks(1);
  expect(world.news()).toEqual(['depart', 'complete']);
});

test('answers the hook when the lease is given up, and not before', async () => {
  Object.assign(world, { said: TERMINATED, leased: 2 });
  await looks(5);
  expect(world.news().slice(-3)).toEqual(['depart', 'depart', 'heartbeat']);
  await looks(1);
  expect(world.news()).toEqual(['depart', 'complete']);
});

test('does not wait for ever for a lease that can not be given up', async () => {
  Object.assign(world, { said: TERMINATED, leased: Infinity });
  await looks(9);
  expect(world.news()).not.toContain('complete');
  await looks(1);
  expect(world.news()).toEqual(['depart', 'complete']);
  expect(world.log.lines).toContain('warning the lease is not given up in time; others fence the node');
});

test('keeps the hook from timing out while it waits', async () => {
  Object.assign(world, { said: TERMINATED, clients: 2 });
  await looks(13);
  expect(world.news().filter((done) => done === 'heartbeat')).toHaveLength(4);
});

test('answers only when Auto Scaling has reached the hook', async () => {
  Object.assign(world, { said: TERMINATED, at: 'before' });
  await looks(3);
  expect(world.news()).toEqual(['refuse clients', 'flush', 'flush']);
  world.at = 'waiting';
  await looks(1);
  expect(world.news()).toEqual(['depart', 'complete']);
});

test('a restarted agent goes on', async () => {
  Object.assign(world, { said: TERMINATED, clients: 2 });
  await looks(2);
  world.news();
  drain = world.agent();
  world.clients = 0;
  await looks(4);
  expect(world.news()).toEqual(['refuse clients', 'flush', 'flush', 'heartbeat', 'depart', 'complete']);
});

test('a restarted agent answers no second time', async () => {
  Object.assign(world, { said: TERMINATED, at: 'over' });
  await looks(3);
  expect(world.news()).toEqual(['refuse clients', 'flush', 'flush']);
  expect(world.log.lines).toContain('info no lifecycle action waits for an answer');
});

test('drains on a Spot interruption within the time that is left, with no hook to answer', async () => {
  const endsAt = world.clock + 60_000;
  Object.assign(world, { said: { reason: 'Spot interruption', lifecycle: false, endsAt }, clients: 2 });
  await looks(10);
  expect(world.log.lines).toEqual(['info draining: Spot interruption; waiting up to 50 s for connections and queue']);
  await looks(1);
  expect(world.log.lines).toHaveLength(2);
  expect(world.news()).toEqual(['refuse clients', 'flush', 'depart']);
});

test('answers the hook that comes after a Spot drain', async () => {
  world.said = { reason: 'EC2 recommends to rebalance a Spot instance', lifecycle: false };
  await looks(4);
  expect(world.news()).toEqual(['refuse clients', 'flush', 'flush', 'depart']);
  world.said = TERMINATED;
  await looks(1);
  expect(world.news()).toEqual(['complete']);
});

test('carries on when Postfix is down and when AWS refuses, and tries again', async () => {
  world.said = TERMINATED;
  world.queueLength = () => Promise.reject(new Error('mail system is down'));
  world.flushQueue = () => Promise.reject(new Error('mail system is down'));
  const complete = world.complete;
  world.complete = () => Promise.reject(new Error('Throttling'));
  await looks(62);
  expect(world.log.lines).toContain(
    'warning drain time is up: 0 connections and unknown queued messages left; another node takes them over',
  );
  expect(world.log.lines.filter((line) => line === 'warning lifecycle hook: failing: Throttling')).toHaveLength(1);
  world.complete = complete;
  await looks(1);
  expect(world.news()).toContain('complete');
});

test('keeps draining when the metadata can not be read', async () => {
  Object.assign(world, { said: TERMINATED, clients: 1 });
  await looks(1);
  world.notice = () => Promise.reject(new Error('HTTP 500'));
  world.clients = 0;
  await looks(3);
  expect(world.log.lines).toContain('info drained: 0 connections and 0 queued messages left');
  expect(world.log.lines).toContain('warning instance metadata: failing: HTTP 500');
});
