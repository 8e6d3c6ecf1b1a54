import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import * as path from 'node:path';
import { S3Client } from '@aws-sdk/client-s3';
import type { Directory } from '../bin/users/directory';
import { UserDirectory } from '../bin/users/user-directory';
import { LocalAws } from './aws';
import { LocalBalancer } from './balancer';
import { CertificateAuthority } from './certificate-authority';
import { LocalDatabase } from './database';
import type { ClientView, LocalUser } from './mail-clients';
import { MetadataService } from './metadata';
import { NameServer } from './name-server';
import { layNetwork } from './network';
import { NetworkStore } from './network-store';
import { LocalNode, type BootOptions } from './node';
import { CACHE } from './paths';
import { instanceId, readPlan, standInValue, type Plan, type PlannedSize } from './plan';
import { prepare } from './prepare';
import type { Progress } from './progress';
import { FolderStore, type LocalStore } from './store';
import { Template } from './template';
import { LocalVolumes } from './volumes';

/** Makes the machines of a cluster, switched off, and what they need beside what every cluster has. */
export type Machines = (environment: {
  readonly boot: BootOptions;
  readonly authority: CertificateAuthority;
}) => Promise<LocalNode[]>;

export interface ClusterOptions extends PlannedSize {
  /** Called to synthesise; resolves to the folder of the cloud assembly. */
  readonly synthesise: (folder: string) => Promise<string>;
  readonly progress: Progress;
  /**
   * Whether the store is behind the network, so that nodes can be cut off from it (network-store.ts). Slower.
   * @default false - a folder
   */
  readonly networkStore?: boolean;
  /** @default - systemd-nspawn, with a folder as the store */
  readonly machines?: Machines;
  /** Milliseconds until a node must be healthy. @default 120000 */
  readonly bootLimit?: number;
  /** Also answer on 127.0.0.1 of the network that the sandbox was started from. @default false */
  readonly personPorts?: boolean;
}

/** The mail cluster that a synthesised MailStack describes, on this machine. Lives in a sandbox (see sandbox.ts). */
export class LocalCluster {
  /** Brings the cluster up; when it resolves, every node is healthy and the balancer sends clients to them. */
  public static async start(options: ClusterOptions): Promise<LocalCluster> {
    const { progress } = options;
    mkdirSync(CACHE, { recursive: true });
    const folder = mkdtempSync(path.join(CACHE, 'run-'));
    const prepared = await prepare(progress);
    const aws = new LocalAws(prepared.motoServer, folder);
    let cluster: LocalCluster | undefined;
    try {
      const [assembly, authority] = await Promise.all([
        options.synthesise(path.join(folder, 'cdk.out')),
        CertificateAuthority.create(path.join(folder, 'ca')),
        progress.step('AWS APIs (moto_server)', () => aws.start()),
      ]);
      const volumes = new LocalVolumes(aws, folder);
      const template = Template.read(
        path.join(assembly, 'MailStack.template.json'),
        (id, resource, attribute) => volumes.idOf(id) ?? standInValue(id, resource, attribute),
      );
      await volumes.provide(template);
      cluster = new LocalCluster(folder, readPlan(template, options), aws, authority, options, volumes);
      await cluster.bringUp(template, assembly, prepared.root, options);
      return cluster;
    } catch (error) {
      cluster?.stop();
      aws.stop();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  public readonly users: LocalUser[];
  /** Nodes that run now. */
  public readonly nodes: LocalNode[] = [];
  public readonly metadata: MetadataService;
  public readonly store: LocalStore;
  /** What stands for the directory's database, if it is in one. */
  public readonly database?: LocalDatabase;
  private readonly names: NameServer;
  private loadBalancer?: LocalBalancer;
  private bootOptions?: BootOptions;
  private instances = 0;

  private constructor(
    /** Folder of this run: logs, store, authority. Removed by `stop`. */
    public readonly folder: string,
    public readonly plan: Plan,
    public readonly aws: LocalAws,
    public readonly authority: CertificateAuthority,
    options: ClusterOptions,
    /** What stands for EBS. */
    public readonly volumes: LocalVolumes,
  ) {
    const [domain] = this.domains;
    this.users = ['alice', 'bob'].map((name) => ({ address: `${name}@${domain}`, password: `${name}-local-password` }));
    this.metadata = new MetadataService(() => this.nodes.map(({ planned }) => planned));
    this.store = volumes.exist
      ? volumes
      : options.networkStore
        ? new NetworkStore({ folder, address: plan.gateway, places: plan.places })
        : new FolderStore(path.join(folder, 'store'));
    this.names = new NameServer(plan, folder);
    if (plan.environment.MAIL_DIRECTORY === 'sql') this.database = new LocalDatabase(plan, folder, authority);
  }

  public get hostname(): string {
    return this.plan.environment.MAIL_HOSTNAME;
  }

  public get domains(): string[] {
    return this.plan.environment.MAIL_DOMAINS.split(' ');
  }

  /** Address of the balancer in its first zone. */
  public get address(): string {
    return this.plan.balancerAddresses[0];
  }

  /** Where clients find the cluster, and how they trust it. */
  public get view(): ClientView {
    const authority = readFileSync(this.authority.certificateFile, 'utf8');
    return { address: this.address, hostname: this.hostname, authority };
  }

  public get balancer(): LocalBalancer {
    if (!this.loadBalancer) throw new Error('the balancer has not been started');
    return this.loadBalancer;
  }

  /** The users, as the operator's command edits them. */
  public userDirectory(): Directory {
    if (this.database) return this.database.directory();
    return new UserDirectory(this.plan.environment.MAIL_DIRECTORY_OBJECT, new S3Client(this.aws.client));
  }

  /** Ends everything and removes the run's folder. Safe to call at any time. */
  public stop(): void {
    this.loadBalancer?.stop();
    for (const node of this.nodes) node.kill();
    this.names.stop();
    this.metadata.stop();
    this.store.stop();
    this.aws.stop();
    void this.database?.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /**
   * Boots one more instance, at a place that is free; the balancer looks for it there. Resolves when it is healthy.
   *
   * @throws Error when all places are taken.
   */
  public async launch(): Promise<LocalNode> {
    const node = this.place();
    await this.boot(node);
    return node;
  }

  /** Frees the place of an instance that has ended. */
  public async clear(node: LocalNode): Promise<void> {
    await node.clear();
    await this.volumes.terminate(node);
    this.nodes.splice(this.nodes.indexOf(node), 1);
  }

  /** A new instance, at the place that was free for longest. */
  private place(): LocalNode {
    if (!this.bootOptions) throw new Error('the cluster is not up');
    const { places } = this.plan;
    const taken = new Set(this.nodes.map(({ name }) => name));
    const inTurn = places.map((_place, index) => places[(this.instances + index) % places.length]);
    const place = inTurn.find(({ name }) => !taken.has(name));
    if (!place) throw new Error(`all ${places.length} places are taken; plan more`);
    this.instances++;
    const node = new LocalNode({ ...place, instanceId: instanceId(this.instances) }, this.bootOptions);
    this.nodes.push(node);
    return node;
  }

  private async boot(node: LocalNode, limit = 120_000): Promise<void> {
    await this.volumes.launch(node);
    await node.boot();
    await node.ready(limit).catch(async (error: Error) => {
      appendFileSync(path.join(this.folder, `${node.name}.log`), error.message);
      throw new Error(`${error.message}\n${await node.diagnosis()}`);
    });
  }

  private async bringUp(template: Template, assembly: string, root: string, options: ClusterOptions): Promise<void> {
    const { progress } = options;
    const certificate = await this.authority.issue(this.hostname);

    const published = progress.step('bundle and users', async () => {
      const certificates = this.plan.environment.MAIL_CERTIFICATE_SECRET?.split(':').at(-1) ?? '';
      await this.aws.provide(template, { [certificates]: this.authority.secret() });
      await this.database?.create();
      await this.aws.publish(assembly, 'MailStack');
      await this.userDirectory().update((file) => {
        for (const { address, password } of this.users) file.add(address, password);
      });
    });
    await layNetwork(this.plan);
    await this.metadata.start();
    await this.store.start();
    this.names.start();

    this.bootOptions = {
      root,
      store: this.store,
      logs: this.folder,
      awsEndpoint: this.aws.endpointFor(this.plan.gateway),
      plan: this.plan,
      authority: this.database && this.view.authority,
    };
    if (options.machines) {
      this.nodes.push(...(await options.machines({ boot: this.bootOptions, authority: this.authority })));
    } else {
      for (let count = 0; count < this.plan.nodes.length; count++) this.place();
    }
    await Promise.all([
      // Nodes ask for their bundle until it is there; what they do before that takes as long.
      published,
      ...this.nodes.map((node) =>
        progress.step(`${node.name} (${node.planned.zone}, ${node.address}) booted and healthy`, () =>
          this.boot(node, options.bootLimit),
        ),
      ),
    ]);

    const balancer = new LocalBalancer({
      plan: this.plan,
      folder: this.folder,
      certificate,
      personPorts: options.personPorts ?? false,
    });
    await progress.step(`balancer on ports ${this.plan.listeners.map(({ port }) => port).join(', ')}`, () =>
      balancer.start(),
    );
    this.loadBalancer = balancer;
  }
}
