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

/** Medians of all rounds, to three digits. */
export class Results {
  constructor(private readonly samples: Sample[]) {}

  public get kinds(): JobKind[] {
    return JOB_KINDS.filter((kind) => this.samples.some((sample) => sample.kind === kind));
  }

  public get variants(): string[] {
    return [...new Set(this.samples.map(({ variant }) => variant))];
  }

  /** Operations a second. */
  public rate(kind: JobKind, variant: Sample['variant']): number {
    return this.middle(kind, variant, ({ rate }) => rate);
  }

  /** Processor time of the servers for one operation, milliseconds. */
  public cpuMs(kind: JobKind, variant: Sample['variant']): number {
    return this.middle(kind, variant, ({ serverCpu }) => 1000 * serverCpu);
  }

  /** Prints a table for people. */
  public print(): void {
    const width = Math.max(10, ...this.variants.map(({ length }) => length));
    console.log(`\n             ${'variant'.padEnd(width)}    a second   lowest  highest   CPU ms each   clients busy`);
    for (const kind of this.kinds) {
      for (const variant of this.variants) {
        const rates = this.of(kind, variant).map((one) => one.rate);
        const columns = [
          kind.padEnd(12),
          variant.padEnd(width),
          ...[this.rate(kind, variant), Math.min(...rates), Math.max(...rates)].map((value) =>
            value.toFixed(1).padStart(8),
          ),
          this.cpuMs(kind, variant).toFixed(2).padStart(13),
          `${(100 * this.middle(kind, variant, ({ clientShare }) => clientShare)).toFixed(0)} %`.padStart(14),
        ];
        console.log(columns.join(' '));
      }
    }
  }

  private middle(kind: JobKind, variant: Sample['variant'], value: (sample: Sample) => number): number {
    return significant(median(this.of(kind, variant).map(value)));
  }

  private of(kind: JobKind, variant: Sample['variant']): Sample[] {
    return this.samples.filter((sample) => sample.kind === kind && sample.variant === variant);
  }
}

/** Of `bench:node`: prints the table, then one JSON line of medians and their ratios. */
export function report(samples: Sample[]): void {
  const results = new Results(samples);
  results.print();
  const { kinds } = results;
  const compared = kinds.map((kind) => {
    const [ours, debian, dms] = (['ours', 'default', 'dms'] as const).map((variant) => results.rate(kind, variant));
    const ratios = { ratioDefault: significant(ours / debian), ratioDms: significant(ours / dms) };
    return [kind, { ours, default: debian, dms, ...ratios }];
  });
  const against = results.variants
    .filter((variant) => !['ours', 'default', 'dms'].includes(variant))
    .map((variant) => [
      variant,
      Object.fromEntries(
        kinds.map((kind) => [kind, significant(results.rate(kind, variant) / results.rate(kind, 'ours'))]),
      ),
    ]);
  console.log(`\n${JSON.stringify(Object.fromEntries([...compared, ...against]))}`);
}
