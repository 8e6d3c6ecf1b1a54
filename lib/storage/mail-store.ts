import { IMetric, MetricOptions } from 'aws-cdk-lib/aws-cloudwatch';
import { NodeConfiguration } from '../node/node-configuration';

/** Where mail, indexes and the nodes' queues live, once it is part of a stack. */
export interface IMailStore {
  /** What nodes need to mount the store: `MAIL_STORE` and its companions. */
  readonly configuration: NodeConfiguration;

  /** Id that an operator finds the store by, such as `fs-0123456789abcdef0`. */
  readonly storeId: string;

  /** ARN of the store, as AWS Backup takes it. */
  readonly storeArn: string;

  /** Operations in use, percent of the limit. */
  metricOperationsUtilization(options?: MetricOptions): IMetric;

  /** Throughput in use, percent of what is permitted at that moment. */
  metricThroughputUtilization(options?: MetricOptions): IMetric;

  /**
   * Burst credits left, bytes.
   *
   * @returns nothing when the store does not live on burst credits
   */
  metricBurstCreditBalance(options?: MetricOptions): IMetric | undefined;

  /** Stored bytes, all storage classes. */
  metricStoredBytes(options?: MetricOptions): IMetric;
}
