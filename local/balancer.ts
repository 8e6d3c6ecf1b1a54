import { type ChildProcess } from 'node:child_process';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import * as path from 'node:path';
import type { Plan, PlannedListener } from './plan';
import { start, waitFor } from './run';

/** Added to each port for the address that a person on this machine uses. */
export const PERSON_PORT_OFFSET = 10_000;

export interface BalancerOptions {
  readonly plan: Plan;
  /** Folder for configuration, log and control socket. */
  readonly folder: string;
  /** PEM file with key and certificates, for listeners that end TLS. */
  readonly certificate: string;
  /** Also listen on 127.0.0.1 of the network that the sandbox was started from. */
  readonly personPorts: boolean;
}

/**
 * HAProxy in TCP mode in the place of the Network Load Balancer. Like an NLB it keeps the client's address, checks
 * health over HTTP and resets the connections of a target that turns unhealthy. Unlike one it refuses connections when
 * all targets are unhealthy; an NLB fails open.
 */
export class LocalBalancer {
  private process?: ChildProcess;

  constructor(private readonly options: BalancerOptions) {}

  public async start(): Promise<void> {
    const file = path.join(this.options.folder, 'haproxy.cfg');
    writeFileSync(file, this.configuration());
    const log = path.join(this.options.folder, 'haproxy.log');
    this.process = start('haproxy', ['-db', '-f', file], openSync(log, 'a'));
    await waitFor('the balancer', 10_000, async () => ((await this.targets()).length > 0 ? true : undefined)).catch(
      (error: Error) => {
        throw new Error(`${error.message}\n${readFileSync(log, 'utf8').trim().split('\n').slice(-5).join('\n')}`);
      },
    );
  }

  public stop(): void {
    this.process?.kill('SIGKILL');
  }

  /** Resolves when the balancer sees the node healthy, or not, on every port. */
  public async sees(node: string, healthy: boolean, timeout = 30_000): Promise<void> {
    await waitFor(`the balancer to see ${node} ${healthy ? 'healthy' : 'unhealthy'}`, timeout, async () => {
      const targets = (await this.targets()).filter((target) => target.node === node);
      return targets.every((target) => target.healthy === healthy) ? true : undefined;
    });
  }

  /** Has the balancer check the node's health, or believe that it stays as it is. */
  public async look(node: string, checking: boolean): Promise<void> {
    for (const { port } of this.options.plan.listeners) {
      await this.control(`${checking ? 'enable' : 'disable'} health nodes-${port}/${node}`);
    }
  }

  private async targets(): Promise<{ node: string; healthy: boolean }[]> {
    const rows = (await this.control('show stat')).split('\n').map((line) => line.split(','));
    // Columns: https://docs.haproxy.org/2.6/management.html#9.1 (pxname, svname, … status is the 18th)
    return rows
      .filter(([backend, server]) => backend?.startsWith('nodes-') && server !== 'BACKEND')
      .map((row) => ({ node: row[1], healthy: row[17].startsWith('UP') }));
  }

  private control(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      let answer = '';
      const socket = createConnection(path.join(this.options.folder, 'haproxy.sock'), () =>
        socket.write(`${command}\n`),
      );
      socket.on('data', (chunk) => (answer += chunk));
      socket.on('end', () => resolve(answer));
      socket.on('error', reject);
    });
  }

  private configuration(): string {
    const { plan, folder } = this.options;
    const sections = plan.listeners.flatMap((listener) => [
      this.frontend(listener),
      this.backend(listener),
      ...(this.options.personPorts ? [this.personListener(listener)] : []),
    ]);
    return [
      'global',
      '  maxconn 4000',
      `  stats socket ${folder}/haproxy.sock mode 600 level admin`,
      'defaults',
      '  mode tcp',
      '  timeout connect 5s',
      '  retries 0',
      ...sections,
      '',
    ].join('\n');
  }

  private frontend(listener: PlannedListener): string {
    const tls = listener.protocol === 'TLS' ? ` ssl crt ${this.options.certificate} ssl-min-ver TLSv1.2` : '';
    const binds = this.options.plan.balancerAddresses.map((address) => `  bind ${address}:${listener.port}${tls}`);
    return [
      `frontend port-${listener.port}`,
      ...binds,
      `  timeout client ${listener.idleTimeout}s`,
      `  default_backend nodes-${listener.port}`,
    ].join('\n');
  }

  private backend(listener: PlannedListener): string {
    const { health } = listener;
    const tls = listener.targetProtocol === 'TLS' ? ' ssl verify none' : ''; // an NLB does not verify targets either
    const servers = this.options.plan.places.map(
      (node) =>
        `  server ${node.name} ${node.address}:${listener.targetPort} check port ${health.port}${tls} no-check-ssl`,
    );
    // An NLB checks once an interval, so a target that vanished is unhealthy after `unhealthyAfter` intervals and a
    // timeout at most. HAProxy also waits for the connection so long each time.
    const interval = (health.unhealthyAfter * health.interval + health.timeout) / (2 * health.unhealthyAfter);
    return [
      `backend nodes-${listener.port}`,
      '  balance roundrobin',
      '  source 0.0.0.0 usesrc clientip',
      `  timeout server ${listener.idleTimeout}s`,
      `  timeout check ${health.timeout}s`,
      `  option httpchk GET ${health.path}`,
      `  default-server inter ${interval}s rise ${health.healthyAfter} fall ${health.unhealthyAfter} on-marked-down shutdown-sessions`,
      ...servers,
    ].join('\n');
  }

  private personListener(listener: PlannedListener): string {
    return [
      `listen person-${listener.port}`,
      `  bind 127.0.0.1:${listener.port + PERSON_PORT_OFFSET} namespace caller`,
      `  timeout client ${listener.idleTimeout}s`,
      `  timeout server ${listener.idleTimeout}s`,
      `  server balancer ${this.options.plan.balancerAddresses[0]}:${listener.port}`,
    ].join('\n');
  }
}
