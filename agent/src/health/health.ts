import { CheckResult, HealthCheck } from './health-check';

/** The health body. */
export interface HealthReport {
  /** `draining` wins over `failing`. Only `ok` makes the balancer send clients. */
  readonly status: 'ok' | 'failing' | 'draining';
  readonly checks: { readonly [name: string]: CheckResult };
}

/** The node's health: every check is ok and nothing drains the node. */
export class Health {
  private draining = false;

  public constructor(private readonly checks: HealthCheck[]) {}

  /** From now on the node wants no new clients, whatever the checks say. There is no way back: a drained node ends. */
  public drain(): void {
    this.draining = true;
  }

  public report(): HealthReport {
    const checks = Object.fromEntries(this.checks.map((check) => [check.name, check.result()]));
    const ok = Object.values(checks).every((result) => result.ok);
    return { status: this.draining ? 'draining' : ok ? 'ok' : 'failing', checks };
  }

  public start(): void {
    this.checks.forEach((check) => check.start());
  }

  public stop(): void {
    this.checks.forEach((check) => check.stop());
  }
}
