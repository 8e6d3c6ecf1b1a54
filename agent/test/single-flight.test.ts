import { SingleFlight } from '../src/single-flight';
import { eventually } from './support/wait';

test('starts no second attempt while one hangs, however often it is asked', async () => {
  let attempts = 0;
  let release = () => {};
  const flight = new SingleFlight(() => {
    attempts += 1;
    return new Promise<string>((resolve) => (release = () => resolve('late')));
  }, 20);

  const together = [flight.run(), flight.run()];
  await expect(together[0]).rejects.toThrow('no answer within 20 ms');
  await expect(together[1]).rejects.toThrow('no answer within 20 ms');
  await expect(flight.run()).rejects.toThrow(/no answer within 20 ms, waiting for \d+ ms/);
  expect(attempts).toBe(1);

  release();
  await eventually(async () => {
    void flight.run().catch(() => {});
    return attempts === 2;
  });
});

test('aborts an attempt that is over its time', async () => {
  let aborted = false;
  const flight = new SingleFlight((signal) => {
    signal.addEventListener('abort', () => (aborted = true));
    return new Promise(() => {});
  }, 10);
  await expect(flight.run()).rejects.toThrow('no answer');
  expect(aborted).toBe(true);
});

test('gives results and errors, also of a task that throws at once', async () => {
  const results = [() => 'one', () => { throw new Error('two'); }]; // prettier-ignore
  const flight = new SingleFlight(() => results.shift()!() as unknown as Promise<string>, 1000);
  await expect(flight.run()).resolves.toBe('one');
  await expect(flight.run()).rejects.toThrow('two');
});
