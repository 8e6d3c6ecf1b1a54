import { IMetric, MetricOptions } from 'aws-cdk-lib/aws-cloudwatch';
import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { NodeConfiguration } from '../node/node-configuration';

/** What can be measured of a store, or of one shard of it. */
export interface IMeasuredStore {
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
}

/** One zonal part of a store: a volume that one node at a time has, and with it the users whose mail is there. */
export interface IMailShard extends IMeasuredStore {
  /** Name within the store, such as `shard-1`. It decides whose mail is there and never changes. */
  readonly name: string;

  /** Zone of the volume, where its node must be. */
  readonly availabilityZone: string;

  /** Id of the volume, such as `vol-0123456789abcdef0`. */
  readonly volumeId: string;

  /** What the shard's node needs beside what all nodes do: `MAIL_SHARD` and its companions. */
  readonly configuration: NodeConfiguration;

  /** Tag that instances must have to be given the volume. */
  readonly instanceTag: ShardTag;

  /**
   * What is wrong about nodes of this type with the shard's disk, as far as it is known.
   *
   * @returns nothing when they can carry it always
   * @throws when they can't carry it at any time
   */
  shortcomingOn(instanceType: InstanceType): string | undefined;
}

/** A tag on volumes, such as that on a shard's volume and on the instances that may have it. */
export interface ShardTag {
  readonly key: string;
  readonly value: string;
}

/** Where mail, indexes and the nodes' queues live, once it is part of a stack. */
export interface IMailStore extends IMeasuredStore {
  /** What nodes need to mount the store: `MAIL_STORE` and its companions. */
  readonly configuration: NodeConfiguration;

  /** Id that an operator finds the store by, such as `fs-0123456789abcdef0`; of shards, the volumes' ids with blanks. */
  readonly storeId: string;

  /** ARN of the store, as AWS Backup takes it; nothing for shards, which have snapshots of their own. */
  readonly storeArn?: string;

  /**
   * Zonal shards with exactly one node each.
   * @default - one store over all zones, which any number of nodes share
   */
  readonly shards?: IMailShard[];

  /** Stored bytes, all storage classes; nothing where only the node knows. */
  metricStoredBytes(options?: MetricOptions): IMetric | undefined;

  /** How far a copy in another region is behind, seconds; nothing where there is none. */
  metricReplicationLag(options?: MetricOptions): IMetric | undefined;
}
