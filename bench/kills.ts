/**
 * Breaks a cluster of three nodes under load, again and again, and counts what is lost (E1, E3). Ends with one line of JSON.
 *
 *     npm run bench:kills -- --count N --seed S [--faults NAME,NAME…] [--roll] [--format FORMAT] [--keep FOLDER]
 *
 * `--format` is that of the mailboxes, maildir or sdbox. `--roll` replaces all nodes in good order at the end, `--keep` copies logs, journals and the store to a new folder when
 * something was lost. The seed decides which fault comes when and to which node; what the clients do meanwhile is their own.
 */
import { parseArgs } from 'node:util';
import { MailboxFormat } from '../lib/storage';
import { Progress } from '../local/progress';
import { FAULTS, type FaultName } from '../test/failures/faults';
import { KillRun } from '../test/failures/kill-run';
import { Random } from '../test/failures/random';

const FORMATS = Object.values(MailboxFormat);
const isFormat = (word: string): word is MailboxFormat => FORMATS.some((format) => format === word);

interface Arguments {
  readonly count: number;
  readonly seed: number;
  readonly faults: FaultName[];
  readonly roll: boolean;
  readonly format: MailboxFormat;
  readonly keep?: string;
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      count: { type: 'string' },
      seed: { type: 'string' },
      faults: { type: 'string' },
      format: { type: 'string' },
      keep: { type: 'string' },
      roll: { type: 'boolean' },
    },
  });
  const wholeNumber = (name: 'count' | 'seed', fallback: number) => {
    const value = Number(values[name] ?? fallback);
    if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} must be a whole number, got ${values[name]}`);
    return value;
  };
  const known = Object.keys(FAULTS);
  const faults = values.faults?.split(',') ?? known;
  for (const name of faults) {
    if (!known.includes(name)) throw new Error(`--faults must be of ${known.join(', ')}, got ${name}`);
  }
  const format = values.format ?? MailboxFormat.MAILDIR;
  if (!isFormat(format)) throw new Error(`--format must be of ${FORMATS.join(', ')}, got ${format}`);
  return {
    count: wholeNumber('count', 12),
    seed: wholeNumber('seed', 1),
    faults: faults as FaultName[],
    roll: values.roll ?? false,
    format,
    keep: values.keep,
  };
}

/** Each fault once, in an order of the seed's, then again in another order, as often as it takes. */
function plan({ count, seed, faults }: Arguments): FaultName[] {
  const random = new Random(seed);
  const names: FaultName[] = [];
  while (names.length < count) names.push(...random.shuffled(faults));
  return names.slice(0, count);
}

async function main(): Promise<void> {
  const args = readArguments();
  const { seed, format } = args;
  const run = await KillRun.start({ progress: new Progress(), seed, format });
  try {
    for (const name of plan(args)) await run.suffer(name);
    if (args.roll) await run.roll(run.cluster.nodes.length);
    const report = await run.report(args.count);
    const { lost, flagsLost, unreadable, doubleWriters } = report;
    if (lost + flagsLost + unreadable + doubleWriters > 0) {
      if (args.keep) await run.keep(args.keep);
      process.exitCode = 1;
    }
    console.log(JSON.stringify(report));
  } catch (error) {
    console.error((error as Error).message);
    if (args.keep) await run.keep(args.keep);
    throw error;
  } finally {
    await run.stop();
  }
}

main().then(
  () => process.exit(), // a client may still wait for an answer
  () => process.exit(1),
);
