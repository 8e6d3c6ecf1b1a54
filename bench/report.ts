import { JOB_KINDS, type JobKind } from './load/job';
import type { Variant } from './servers/servers';
import { median, significant } from './statistics';

/** One measurement. */
export interface Sample {
  readonly variant: Variant['name'];
  readonly kind: JobKind;
  /** Operations a second. */
  readonly rate: number;
  /** Processor time of the servers for one operation, seconds. */
  readonly serverCpu: number;
  /** Processors that the clients kept busy. */
  readonly clientShare: number;
}

/** Prints a table for people, then one JSON line: medians of all rounds, and their ratios. */
export function report(samples: Sample[]): void {
  const middle = (kind: JobKind, variant: Sample['variant'], of: (sample: Sample) => number) =>
    significant(median(samples.filter((one) => one.kind === kind && one.variant === variant).map(of)));
  const rate = (kind: JobKind, variant: Sample['variant']) => middle(kind, variant, (sample) => sample.rate);
  const kinds = JOB_KINDS.filter((kind) => samples.some((sample) => sample.kind === kind));

  console.log('\n             variant      a second   lowest  highest   CPU ms each   clients busy');
  for (const kind of kinds) {
    for (const variant of new Set(samples.map((sample) => sample.variant))) {
      const rates = samples.filter((one) => one.kind === kind && one.variant === variant).map((one) => one.rate);
      const columns = [
        kind.padEnd(12),
        variant.padEnd(10),
        ...[rate(kind, variant), Math.min(...rates), Math.max(...rates)].map((value) => value.toFixed(1).padStart(8)),
        (1000 * middle(kind, variant, (sample) => sample.serverCpu)).toFixed(2).padStart(13),
        `${(100 * middle(kind, variant, (sample) => sample.clientShare)).toFixed(0)} %`.padStart(14),
      ];
      console.log(columns.join(' '));
    }
  }

  const compared = kinds.map((kind) => {
    const [ours, debian, dms] = (['ours', 'default', 'dms'] as const).map((variant) => rate(kind, variant));
    const ratios = { ratioDefault: significant(ours / debian), ratioDms: significant(ours / dms) };
    return [kind, { ours, default: debian, dms, ...ratios }];
  });
  const against = (variant: Sample['variant']) =>
    Object.fromEntries(kinds.map((kind) => [kind, significant(rate(kind, variant) / rate(kind, 'ours'))]));
  console.log(`\n${JSON.stringify({ ...Object.fromEntries(compared), hop: against('hop'), sdbox: against('sdbox') })}`);
}
