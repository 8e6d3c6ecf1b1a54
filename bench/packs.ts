/**
 * `npm run bench:packs`: memory that packing a day of a million messages takes (README.md).
 *
 *     npm run bench:packs -- [--objects 1000000] [--bytes 2048]
 */
import { parseArgs } from 'node:util';
import type { S3Client } from '@aws-sdk/client-s3';
import { PackBucket } from '../handlers/packs/pack-bucket';
import { packDay } from '../handlers/packs/pack-day';
import { SimulatedDay } from './servers/simulated-day';
import { significant } from './statistics';

/** How much more than its first tenth all of the day may take. */
const FLAT = 1.25;

const { values } = parseArgs({
  options: {
    objects: { type: 'string', default: '1000000' },
    bytes: { type: 'string', default: '2048' },
  },
});

async function main(): Promise<void> {
  const objects = Number(values.objects);
  const day = new SimulatedDay(objects, Number(values.bytes));
  let peak = 0;
  let firstTenth = 0;
  let next = objects / 10;
  day.onPacked = (packed) => {
    peak = Math.max(peak, process.memoryUsage().rss);
    if (packed < next) return;
    if (firstTenth === 0) firstTenth = peak;
    console.log(`${packed} of ${objects} messages packed, at most ${mebibytes(peak)} MiB until now`);
    next += objects / 10;
  };
  const begin = performance.now();
  const bucket = new PackBucket(day as unknown as S3Client, 'journal');
  const { packs, messages, complete } = await packDay(bucket, day.name, { onlyAttested: false, closing: () => false });
  const seconds = (performance.now() - begin) / 1000;
  const left = objects - messages;
  if (!complete || day.left !== left || left * Number(values.bytes) >= 128 << 10) {
    throw new Error(`${messages} messages are in packs and ${day.left} are left of ${objects}`);
  }
  console.log(
    JSON.stringify({
      objects,
      packs,
      left,
      peakMiB: mebibytes(peak),
      peakOfFirstTenthMiB: mebibytes(firstTenth),
      growth: significant(peak / firstTenth),
      perSecond: Math.round(objects / seconds),
    }),
  );
  if (peak > FLAT * firstTenth) throw new Error('memory grows with the number of messages');
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}

main().catch((error: Error) => {
  console.error(error);
  process.exitCode = 1;
});
