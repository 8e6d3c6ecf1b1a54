import { CloudWatchClient, PutMetricDataCommand, StandardUnit } from '@aws-sdk/client-cloudwatch';
import { Transitions } from '../log';
import { Loop } from '../loop';
import { SingleFlight } from '../single-flight';

/** CloudWatch namespace of every metric; the node's role may put metrics there only. */
export const NAMESPACE = 'MailPlatform';

export interface Measurement {
  readonly name: string;
  readonly unit: StandardUnit;
  readonly value: number;
}

/** Something that is measured at once; when it fails, its measurements are left out. */
export interface Collector {
  /** For the log. */
  readonly name: string;
  collect(): Promise<Measurement[]>;
}

export interface PublisherOptions {
  readonly client: CloudWatchClient;
  /** Value of the dimension `Cluster`. */
  readonly cluster: string;
  readonly collectors: Collector[];
  readonly transitions: Transitions;
  /** Milliseconds between publications. @default 60000 */
  readonly interval?: number;
}

// Above the queue's own limit, so that this one only ever catches a read that hangs.
const COLLECT_LIMIT = 20_000;

/** Measures and puts the metrics to CloudWatch, all in one call (at most 1000 fit). */
export class Publisher {
  private readonly loop: Loop;
  private readonly collectors: { readonly name: string; readonly flight: SingleFlight<Measurement[]> }[];

  public constructor(private readonly options: PublisherOptions) {
    this.loop = new Loop(options.interval ?? 60_000, () => this.publish());
    this.collectors = options.collectors.map((collector) => ({
      name: collector.name,
      flight: new SingleFlight(() => collector.collect(), COLLECT_LIMIT),
    }));
  }

  public start(): void {
    this.loop.start();
  }

  public stop(): void {
    this.loop.stop();
  }

  /** Publishes once. What fails is logged when it begins and when it ends, and never thrown. */
  public async publish(): Promise<void> {
    const measurements = await this.measure();
    if (measurements.length === 0) return;
    const { client, cluster, transitions } = this.options;
    const timestamp = new Date();
    const command = new PutMetricDataCommand({
      Namespace: NAMESPACE,
      MetricData: measurements.map(({ name, unit, value }) => ({
        MetricName: name,
        Dimensions: [{ Name: 'Cluster', Value: cluster }],
        Timestamp: timestamp,
        Unit: unit,
        Value: value,
      })),
    });
    await transitions.watch('CloudWatch PutMetricData', () => client.send(command));
  }

  private async measure(): Promise<Measurement[]> {
    const results = await Promise.all(
      this.collectors.map(({ name, flight }) =>
        this.options.transitions.watch(`metric ${name}`, async () => {
          const measurements = await flight.run();
          const bad = measurements.find(({ value }) => !Number.isFinite(value));
          // CloudWatch would refuse the whole call.
          if (bad) throw new Error(`${bad.name} is ${bad.value}`);
          return measurements;
        }),
      ),
    );
    return results.flatMap((measurements) => measurements ?? []);
  }
}
