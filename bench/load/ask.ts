import type { ChildProcess } from 'node:child_process';

/** Gives a process of clients an order and resolves to its answer. @throws Error when it ends instead. */
export function ask<Answer>(worker: ChildProcess, order: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const gone = (code: number | null) => reject(new Error(`a client process ended with ${code}`));
    worker.once('exit', gone);
    worker.once('message', (answer: Answer) => {
      worker.off('exit', gone);
      resolve(answer);
    });
    worker.send(order);
  });
}
