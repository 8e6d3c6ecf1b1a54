import { type ChildProcess } from 'node:child_process';
import { openSync } from 'node:fs';
import * as path from 'node:path';
import { storeAddress } from './network';
import type { Plan } from './plan';
import { start } from './run';

/** Answers for the cluster's own names and denies all others, as nothing else can be reached. */
export class NameServer {
  private process?: ChildProcess;

  constructor(
    private readonly plan: Plan,
    private readonly folder: string,
  ) {}

  public start(): void {
    const {
      MAIL_HOSTNAME: hostname,
      MAIL_STORE_SERVER: store,
      MAIL_TOKEN_ISSUER: issuer,
      MAIL_DIRECTORY_HOST: database,
    } = this.plan.environment;
    const domains = this.plan.environment.MAIL_DOMAINS.split(' ');
    this.process = start(
      'dnsmasq',
      [
        ...['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--local=/#/', '--user=root'],
        ...[`--listen-address=${this.plan.gateway}`, '--bind-interfaces', '--pid-file='],
        ...this.plan.balancerAddresses.map((address) => `--host-record=${hostname},${address}`),
        `--host-record=${store},${storeAddress(this.plan)}`,
        // An identity provider would be this machine.
        ...(issuer ? [`--host-record=${new URL(issuer).hostname},${this.plan.gateway}`] : []),
        // So would a database.
        ...(database ? [`--host-record=${database},${this.plan.gateway}`] : []),
        ...domains.map((domain) => `--mx-host=${domain},${hostname},10`),
        ...this.plan.places.map(({ name, address }) => `--host-record=${name},${address}`),
      ],
      openSync(path.join(this.folder, 'dnsmasq.log'), 'a'),
    );
  }

  public stop(): void {
    this.process?.kill('SIGKILL');
  }
}
