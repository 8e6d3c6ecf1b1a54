/** A process of clients: takes a `Job` from its parent, answers an `Outcome`. */
import type { Job, Outcome } from './job';
import { CLIENTS } from './work';

async function perform(job: Job): Promise<Outcome> {
  const errors: string[] = [];
  const failed = (error: Error) => void errors.push(error.message);
  const clients = await Promise.all(
    Array.from({ length: job.clients }, (_unused, index) => CLIENTS[job.kind](job, index).catch(failed)),
  );
  const cpu = process.cpuUsage();
  const begin = performance.now();
  const end = begin + job.seconds * 1000;
  const more = () => performance.now() < end && errors.length === 0;
  const done = await Promise.all(clients.map(async (work) => (work ? ((await work(more).catch(failed)) ?? 0) : 0)));
  const { user, system } = process.cpuUsage(cpu);
  return {
    operations: done.reduce((sum, one) => sum + one, 0),
    seconds: (performance.now() - begin) / 1000,
    clientCpu: (user + system) / 1e6,
    errors: errors.slice(0, 3),
  };
}

process.on('message', (job: Job) => void perform(job).then((outcome) => process.send?.(outcome)));
