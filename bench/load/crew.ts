import { type ChildProcess, fork } from 'node:child_process';
import * as path from 'node:path';
import { ask } from './ask';
import type { Job, Outcome } from './job';

/** Processes of clients that share each job. */
export class Crew {
  private readonly workers: ChildProcess[];

  constructor(size: number) {
    const file = path.join(__dirname, 'worker.ts');
    this.workers = Array.from({ length: size }, () => fork(file, { execArgv: ['--import', 'tsx'] }));
  }

  /** Does the job. @throws Error with what failed first when anything did: a bench of refusals means nothing. */
  public async perform(job: Job): Promise<Outcome> {
    const outcomes = await Promise.all(
      this.workers.map((worker, index) => ask<Outcome>(worker, this.share(job, index))),
    );
    const errors = outcomes.flatMap((outcome) => outcome.errors);
    if (errors.length > 0) throw new Error(`${job.kind} at ${job.endpoint.address}: ${errors.join('; ')}`);
    return {
      operations: sum(outcomes.map(({ operations }) => operations)),
      seconds: Math.max(...outcomes.map(({ seconds }) => seconds)),
      clientCpu: sum(outcomes.map(({ clientCpu }) => clientCpu)),
      errors,
    };
  }

  public dismiss(): void {
    for (const worker of this.workers) worker.kill();
  }

  /** Each process has accounts of its own. */
  private share(job: Job, index: number): Job {
    const { length } = this.workers;
    return {
      ...job,
      clients: Math.ceil(job.clients / length),
      accounts: job.accounts.filter((_account, place) => place % length === index),
    };
  }
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
