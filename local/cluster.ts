import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import * as path from 'node:path';
import { S3Client } from '@aws-sdk/client-s3';
import { UserDirectory } from '../bin/users/user-directory';
import { LocalAws } from './aws';
import { LocalBalancer } from './balancer';
import { CertificateAuthority } from './certificate-authority';
import { MetadataService } from './metadata';
import { NameServer } from './name-server';
import { layNetwork } from './network';
import { LocalNode, type BootOptions } from './node';
import { CACHE } from './paths';
import { readPlan, standInValue, type Plan } from './plan';
import { prepare } from './prepare';
import type { Progress } from './progress';
import { Template } from './template';

/** A mailbox and the password that opens it. */
export interface LocalUser {
  readonly address: string;
  readonly password: string;
}

/** Makes the machines of a cluster, switched off, and what they need beside what every cluster has. */
export type Machines = (environment: {
  readonly boot: BootOptions;
  readonly authority: CertificateAuthority;
}) => Promise<LocalNode[]>;

export interface ClusterOptions {
  /** Called to synthesise; resolves to the folder of the cloud assembly. */
  readonly synthesise: (folder: string) => Promise<string>;
  readonly progress: Progress;
  /** @default - the template's minimum */
  readonly nodes?: number;
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
      const template = Template.read(path.join(assembly, 'MailStack.template.json'), standInValue);
      cluster = new LocalCluster(folder, readPlan(template, options.nodes), aws, authority);
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
  public readonly nodes: LocalNode[] = [];
  public readonly metadata: MetadataService;
  private readonly names: NameServer;
  private loadBalancer?: LocalBalancer;

  private constructor(
    /** Folder of this run: logs, store, authority. Removed by `stop`. */
    public readonly folder: string,
    public readonly plan: Plan,
    public readonly aws: LocalAws,
    public readonly authority: CertificateAuthority,
  ) {
    const [domain] = this.domains;
    this.users = ['alice', 'bob'].map((name) => ({ address: `${name}@${domain}`, password: `${name}-local-password` }));
    this.metadata = new MetadataService(plan.nodes);
    this.names = new NameServer(plan, folder);
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

  public get balancer(): LocalBalancer {
    if (!this.loadBalancer) throw new Error('the balancer has not been started');
    return this.loadBalancer;
  }

  /** The users object, as the operator's command edits it. */
  public userDirectory(): UserDirectory {
    return new UserDirectory(this.plan.environment.MAIL_DIRECTORY_OBJECT, new S3Client(this.aws.client));
  }

  /** Ends everything and removes the run's folder. Safe to call at any time. */
  public stop(): void {
    this.loadBalancer?.stop();
    for (const node of this.nodes) node.kill();
    this.names.stop();
    this.metadata.stop();
    this.aws.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async bringUp(template: Template, assembly: string, root: string, options: ClusterOptions): Promise<void> {
    const { progress } = options;
    const store = path.join(this.folder, 'store');
    mkdirSync(store);
    const certificate = await this.authority.issue(this.hostname);

    const published = progress.step('bundle and users in S3', async () => {
      const certificates = this.plan.environment.MAIL_CERTIFICATE_SECRET?.split(':').at(-1) ?? '';
      await this.aws.provide(template, { [certificates]: this.authority.secret() });
      await this.aws.publish(assembly, 'MailStack');
      await this.userDirectory().update((file) => {
        for (const { address, password } of this.users) file.add(address, password);
      });
    });
    await layNetwork(this.plan);
    await this.metadata.start();
    this.names.start();

    const boot = {
      root,
      store,
      logs: this.folder,
      awsEndpoint: this.aws.endpointFor(this.plan.gateway),
      plan: this.plan,
    };
    const containers: Machines = async () => this.plan.nodes.map((planned) => new LocalNode(planned, boot));
    this.nodes.push(...(await (options.machines ?? containers)({ boot, authority: this.authority })));
    await Promise.all([
      // Nodes ask for their bundle until it is there; what they do before that takes as long.
      published,
      ...this.nodes.map((node) =>
        progress.step(`${node.name} (${node.planned.zone}, ${node.address}) booted and healthy`, async () => {
          await node.boot();
          await node.ready(options.bootLimit ?? 120_000).catch(async (error: Error) => {
            appendFileSync(path.join(this.folder, `${node.name}.log`), error.message);
            throw new Error(`${error.message}\n${await node.diagnosis()}`);
          });
        }),
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
