import { isActive } from '../../src/lease/items';
import { randomFrom, SimulatedNode, Simulation } from './simulation';

const SEED = Number(process.env.SIMULATION_SEED ?? 1);
const COUNT = Number(process.env.SIMULATION_COUNT ?? 60);
const FAULTY = 90_000;
/** Within this time of the last fault every user is served, in milliseconds. */
const RECOVERY = 25_000;

/** One cluster through a minute and a half of faults, and the quiet after them. */
const live = (seed: number): { world: Simulation; recovery: number } => {
  const random = randomFrom(seed);
  const world = new Simulation(random);
  const count = 3 + Math.floor(random() * 3);
  for (let index = 0; index < count; index++) world.after(world.between(0, 5_000), () => world.addNode());

  const victims = () => world.nodes.filter((node) => node.powered && !node.membership.status().over);
  const fault = (): void => {
    if (!world.faults) return;
    world.after(world.between(200, 6_000), fault);
    const list = victims();
    const node = list[Math.floor(random() * list.length)];
    if (!node) return void world.addNode();
    const kind = random();
    if (kind < 0.3) freeze(world, node, world.between(500, 20_000));
    else if (kind < 0.5) partition(world, node, world.between(500, 15_000));
    else if (kind < 0.65) world.crashAgent(node, world.between(200, 4_000));
    else if (kind < 0.75) dovecotFails(world, node, world.between(1_000, 10_000));
    else if (kind < 0.85) {
      if (list.length < 7) world.addNode();
    } else if (kind < 0.93) drain(world, node);
    else if (list.length > 2) {
      world.powerOff(node);
      world.after(world.between(0, 5_000), () => world.addNode());
    }
  };
  world.after(10_000, fault);
  if (seed % 3 === 0) world.after(10_000, () => churn(world));
  world.runUntil(FAULTY);

  world.faults = false;
  for (const node of world.nodes) {
    node.partitioned = false;
    node.dovecotWorks = true;
    node.frozenUntil = Math.min(node.frozenUntil, world.now);
  }
  // Nodes that drain may be all that is left.
  world.addNode();
  let recovered = world.now;
  while (world.now < FAULTY + RECOVERY + 20_000) {
    world.runUntil(world.now + 100);
    if (world.unserved.length > 0) recovered = world.now;
  }
  return { world, recovery: recovered - FAULTY };
};

/** Rings that come and go faster than nodes would change them, for users who go and come back before one is settled. */
const churn = (world: Simulation): void => {
  if (!world.faults) return;
  world.after(world.between(50, 1_500), () => churn(world));
  const holders = [...world.table.nodes.values()].filter((node) => isActive(node));
  const nodes = holders.filter(() => world.random() < 0.7).map(({ id, address }) => ({ id, address }));
  world.table.ring = { version: (world.table.ring?.version ?? 0) + 1, nodes };
};

const freeze = (world: Simulation, node: SimulatedNode, duration: number): void => {
  world.note(`${node.id} freezes for ${Math.round(duration)} ms`);
  node.frozenUntil = Math.max(node.frozenUntil, world.now + duration);
};

const partition = (world: Simulation, node: SimulatedNode, duration: number): void => {
  world.note(`${node.id} can't reach the table for ${Math.round(duration)} ms`);
  node.partitioned = true;
  world.after(duration, () => (node.partitioned = false));
};

const dovecotFails = (world: Simulation, node: SimulatedNode, duration: number): void => {
  world.note(`${node.id} Dovecot fails for ${Math.round(duration)} ms`);
  node.dovecotWorks = false;
  node.sessions.clear();
  world.after(duration, () => (node.dovecotWorks = true));
};

const drain = (world: Simulation, node: SimulatedNode): void => {
  world.note(`${node.id} drains`);
  const look = (): void => {
    // As the agent does: the notice is still there after a restart.
    world.give(node, { on: 'drain' });
    if (node.membership.status().left) world.after(world.between(0, 3_000), () => world.give(node, { on: 'depart' }));
    if (!node.membership.status().over && node.powered) world.after(500, look);
  };
  look();
};

test(`no two nodes can ever write to one mailbox, and each mailbox finds its node (${COUNT} histories from seed ${SEED})`, () => {
  const total = { fenced: 0, adopted: 0, rings: 0, losses: 0 };
  const recoveries: number[] = [];
  for (let seed = SEED; seed < SEED + COUNT; seed++) {
    const { world, recovery } = live(seed);
    const replay = `SIMULATION_SEED=${seed} SIMULATION_COUNT=1`;
    if (process.env.SIMULATION_HISTORY) console.log(world.history.join('\n'));
    expect({ replay, violations: world.violations }).toEqual({ replay, violations: [] });
    expect({ replay, unserved: world.unserved, recovery: recovery <= RECOVERY || recovery }).toEqual({
      replay,
      unserved: [],
      recovery: true,
    });
    recoveries.push(recovery);
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += world.counts[key];
  }
  recoveries.sort((one, other) => one - other);
  const quantile = (share: number) =>
    recoveries[Math.min(recoveries.length - 1, Math.floor(share * recoveries.length))];
  console.log(JSON.stringify({ ...total, recovery: { p50: quantile(0.5), p99: quantile(0.99), max: quantile(1) } }));
  // A history in which nothing happens would prove nothing.
  for (const happened of Object.values(total)) expect(happened).toBeGreaterThan(COUNT);
}, 600_000);
