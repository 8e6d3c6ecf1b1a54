/** One line of JSON. Not by console: Lambda would put a time and a level in front, and the line were no JSON. */
export function log(entry: object): void {
  process.stdout.write(`${JSON.stringify(entry)}\n`);
}

/** A metric of a handler. */
export interface HandlerMetric {
  readonly unit: 'Count' | 'Seconds';
  readonly value: number;
}

/**
 * Metrics in CloudWatch's embedded format: a line of the log, so they need no permission and no call.
 *
 * @param more what else the line shall say
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
export function logMetrics(
  dimension: { readonly name: string; readonly value: string },
  metrics: { readonly [name: string]: HandlerMetric },
  more: object,
): void {
  log({
    _aws: {
      Timestamp: Date.now(),
      CloudWatchMetrics: [
        {
          Namespace: 'MailPlatform',
          Dimensions: [[dimension.name]],
          Metrics: Object.entries(metrics).map(([Name, { unit }]) => ({ Name, Unit: unit })),
        },
      ],
    },
    [dimension.name]: dimension.value,
    ...Object.fromEntries(Object.entries(metrics).map(([name, { value }]) => [name, value])),
    ...more,
  });
}
