import { writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { LocalCluster } from '../../local/cluster';
import type { LocalUser } from '../../local/mail-clients';
import type { LocalNode } from '../../local/node';
import type { NetworkStore } from '../../local/network-store';
import type { Progress } from '../../local/progress';
import { run, sleep, waitFor } from '../../local/run';
import { synthesise } from '../../local/synthesise';
import { MailboxFormat } from '../../lib/storage';
import { percentile } from './attendance';
import { FAULTS, type Fault, type FaultName } from './faults';
import { Ledger } from './ledger';
import { Load } from './load';
import { Mailboxes, type Findings } from './mailboxes';
import { Random } from './random';
import { Rings } from './rings';
import { StoreAudit } from './store-audit';

/** How long clients that were interrupted were not served, seconds. */
export interface Gaps {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What came of one fault. */
export interface Outcome extends Findings {
  readonly fault: string;
  /** Seconds for which each client that noticed was not served. */
  readonly gaps: { readonly IMAP: number[]; readonly SMTP: number[] };
  /** What happened to the three clients that waited longest, a line each. */
  readonly longest: string[];
  /** Clients there were. */
  readonly clients: number;
}

/** The last line of `npm run bench:kills`. */
export interface KillReport {
  readonly kills: number;
  readonly acknowledged: number;
  readonly lost: number;
  readonly flagsLost: number;
  readonly duplicates: number;
  readonly unreadable: number;
  readonly doubleWriters: number;
  /** Over the clients that noticed a fault of one node. */
  readonly gapSeconds: Gaps;
  readonly imap: Gaps;
  readonly smtp: Gaps;
  /** Share of the clients that noticed. */
  readonly interrupted: number;
}

export interface KillRunOptions {
  readonly progress: Progress;
  readonly seed: number;
  /** @default 8 */
  readonly users?: number;
  /** Clients that send. @default 3 */
  readonly senders?: number;
  /** @default MailboxFormat.MAILDIR */
  readonly format?: MailboxFormat;
}

const SDBOX = path.join(__dirname, 'sdbox.config.ts');

/** A message that was accepted is in its mailbox within this time after the cluster is whole, milliseconds. */
const LAST_DELIVERY = 120_000;

/** A cluster under load, to be broken. */
export class KillRun {
  /** Brings the cluster up, three nodes on a network store, and lets clients in. */
  public static async start(options: KillRunOptions): Promise<KillRun> {
    const { progress, format } = options;
    const cluster = await LocalCluster.start({
      synthesise: (folder) => synthesise(folder, progress, format === MailboxFormat.SDBOX ? SDBOX : undefined),
      progress,
      nodes: 3,
      places: 6,
      networkStore: true,
    });
    const [domain] = cluster.domains;
    const users = Array.from({ length: options.users ?? 8 }, (_unused, index) => ({
      address: `load${index + 1}@${domain}`,
      password: `load${index + 1}-password`,
    }));
    await cluster.userDirectory().update((file) => {
      for (const { address, password } of users) file.add(address, password);
    });
    await Promise.all(cluster.nodes.map((node) => node.shell('systemctl start mail-directory-sync.service')));
    return new KillRun(cluster, users, options);
  }

  public readonly ledger = new Ledger();
  public readonly rings: Rings;
  public readonly audit: StoreAudit;
  private readonly random: Random;
  private readonly mailboxes: Mailboxes;
  private readonly load: Load;
  /** What came of each fault. */
  public readonly outcomes: Outcome[] = [];

  private constructor(
    public readonly cluster: LocalCluster,
    users: readonly LocalUser[],
    private readonly options: KillRunOptions,
  ) {
    this.random = new Random(options.seed);
    const { view } = cluster;
    this.rings = new Rings(cluster);
    this.audit = new StoreAudit(
      (cluster.store as NetworkStore).log,
      new Map(cluster.plan.places.map(({ name, address }) => [name, address])),
      () => this.rings.written(),
    );
    this.mailboxes = new Mailboxes(view, users, this.ledger);
    this.load = new Load({ view, ledger: this.ledger, users });
    this.load.start(options.senders ?? 3);
  }

  public async stop(): Promise<void> {
    await this.load.stop();
    this.cluster.stop();
  }

  /** Breaks the cluster in this way, waits until it is whole again, and looks whether all is there. */
  public async suffer(name: FaultName): Promise<Outcome> {
    const fault: Fault = FAULTS[name];
    return this.during(name, { counts: fault.reach === 'node', silent: true }, async () => {
      const mend = await fault.strike(this.cluster, this.random);
      await sleep(fault.seconds * 1000);
      await mend();
    });
  }

  /**
   * Does something to the cluster under load; resolves to what clients saw of it and what is in their mailboxes.
   *
   * @param counts whether the report has it among the faults of one node
   * @param silent whether connections may die without a word
   */
  public async during(
    name: string,
    { counts, silent }: { readonly counts: boolean; readonly silent: boolean },
    work: () => Promise<void>,
  ): Promise<Outcome> {
    const { progress } = this.options;
    return progress.step(name, async () => {
      await this.whole();
      await sleep(3000 + this.random.below(4000));
      const begin = Date.now();
      await work();
      await this.whole();
      await sleep(2000);
      const end = Date.now();
      const findings = await this.arrived(end);
      this.audit.read();
      const seen = this.load.attendances.map((client) => ({
        client,
        protocol: client.protocol,
        gap: client.gap(begin, end, silent),
      }));
      const longest = [...seen]
        .sort((a, b) => (b.gap ?? 0) - (a.gap ?? 0))
        .slice(0, 3)
        .flatMap(({ client, gap }) => [
          `${gap ?? 0} s: ${client.name}`,
          ...client.failures(begin).map((line) => `  ${line}`),
        ]);
      const gapsOf = (wanted: string) =>
        seen.flatMap(({ protocol, gap }) => (protocol === wanted && gap !== undefined ? [gap] : []));
      const gaps = { IMAP: gapsOf('IMAP'), SMTP: gapsOf('SMTP') };
      longest.unshift(`begun at ${new Date(begin).toISOString()}`);
      const outcome = { fault: name, longest, gaps, clients: seen.length, ...findings };
      for (const client of this.load.attendances) client.forget(end);
      if (counts) this.outcomes.push(outcome);
      this.tell(outcome);
      return outcome;
    });
  }

  /**
   * Replaces so many nodes by new ones, as an instance refresh does: one more first, then an old one drains and goes. The
   * cluster is one larger and one smaller again each time.
   */
  public async roll(count: number): Promise<Outcome> {
    return this.during(
      `${count} of ${this.cluster.nodes.length} nodes replaced`,
      { counts: false, silent: false },
      async () => {
        for (const old of this.cluster.nodes.slice(0, count)) {
          await this.cluster.launch();
          await this.whole();
          await this.drain(old);
          await this.cluster.clear(old);
        }
      },
    );
  }

  /** Auto Scaling tells the node that it is to end; resolves when its agent has handed everything over. */
  private async drain(node: LocalNode): Promise<void> {
    const { instanceId } = node.planned;
    this.cluster.metadata.setTargetLifecycleState(instanceId, 'Terminated');
    await waitFor(`${node.name} to drain`, 120_000, async () => {
      const { nodes } = await this.rings.read();
      return nodes.find(({ id }) => id === instanceId)?.state === 'gone' ? true : undefined;
    });
  }

  /** All outcomes in one. Duplicates and what is lost are of the last look at the mailboxes, which sees all of it. */
  public async report(kills: number): Promise<KillReport> {
    const findings = await this.mailboxes.check(Date.now() - 60_000);
    this.audit.read();
    const imap = this.outcomes.flatMap(({ gaps }) => gaps.IMAP);
    const smtp = this.outcomes.flatMap(({ gaps }) => gaps.SMTP);
    const clients = this.outcomes.reduce((sum, outcome) => sum + outcome.clients, 0);
    return {
      kills,
      acknowledged: this.ledger.messages.size,
      lost: findings.lost.length,
      flagsLost: findings.flagsLost.length,
      duplicates: findings.duplicates,
      unreadable: findings.unreadable.length,
      doubleWriters: this.audit.doubleWrites.length,
      gapSeconds: gapsFrom([...imap, ...smtp]),
      imap: gapsFrom(imap),
      smtp: gapsFrom(smtp),
      interrupted: clients > 0 ? round((imap.length + smtp.length) / clients) : 0,
    };
  }

  /** Copies what helps to find out what happened: logs, journals of the nodes, the store. */
  public async keep(folder: string): Promise<void> {
    await run('cp', ['-a', this.cluster.folder, folder]);
    for (const node of this.cluster.nodes) {
      const journal = await node.shell('journalctl --no-pager --output=short-iso-precise').catch(String);
      writeFileSync(path.join(folder, `${node.name}.journal`), journal);
    }
    writeFileSync(path.join(folder, 'rings.json'), JSON.stringify(this.rings.written(), undefined, 2));
    writeFileSync(path.join(folder, 'double-writes.json'), JSON.stringify(this.audit.doubleWrites, undefined, 2));
  }

  /** Resolves when every node is healthy, in the ring, and has clients sent to it. */
  public async whole(): Promise<void> {
    await waitFor('the ring to be whole', 120_000, async () => {
      const { ring } = await this.rings.read();
      return ring?.nodes.length === this.cluster.nodes.length ? true : undefined;
    });
    for (const node of this.cluster.nodes) {
      await node.ready(90_000);
      await this.cluster.balancer.sees(node.name, true);
    }
  }

  /** Compares with what was promised before a moment, again and again as long as something may still be in a queue. */
  private async arrived(before: number): Promise<Findings> {
    const end = Date.now() + LAST_DELIVERY;
    for (;;) {
      const findings = await this.mailboxes.check(before);
      if (findings.lost.length === 0 || Date.now() > end) return findings;
      await sleep(2000);
    }
  }

  private tell({ fault, gaps, longest, lost, flagsLost, unreadable, duplicates }: Outcome): void {
    const all = [...gaps.IMAP, ...gaps.SMTP];
    const { p50, p99, max } = gapsFrom(all);
    console.log(
      `       ${fault}: ${this.ledger.messages.size} acknowledged, ${lost.length} lost, ${flagsLost.length} flags lost, ` +
        `${duplicates} duplicates, ${unreadable.length} unreadable, ${this.audit.doubleWrites.length} double writes of ` +
        `${this.audit.changes} changes; ${all.length} clients noticed: p50 ${p50} s, p99 ${p99} s, max ${max} s ` +
        `(IMAP ${gapsFrom(gaps.IMAP).max}, SMTP ${gapsFrom(gaps.SMTP).max})`,
    );
    for (const line of longest.slice(0, 25)) console.log(`       ${line}`);
    for (const line of [...lost, ...flagsLost, ...unreadable].slice(0, 10)) console.log(`       ${line}`);
    for (const write of this.audit.doubleWrites.slice(0, 5)) console.log(`       ${JSON.stringify(write)}`);
  }
}

function gapsFrom(values: readonly number[]): Gaps {
  return {
    p50: round(percentile(values, 0.5)),
    p99: round(percentile(values, 0.99)),
    max: round(percentile(values, 1)),
  };
}

const round = (value: number) => Math.round(value * 100) / 100;
