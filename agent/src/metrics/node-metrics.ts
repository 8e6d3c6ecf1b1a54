import { StandardUnit } from '@aws-sdk/client-cloudwatch';
import { HealthCheck } from '../health/health-check';
import { ClientConnections } from '../node/client-connections';
import { MailQueue } from '../node/mail-queue';
import { blockListAge } from './block-lists';
import { certificateDaysLeft, soonestDaysLeft } from './certificate';
import { revocationHoursLeft } from './client-revocations';
import { directoryAge } from './directory';
import { deafSockets } from './filter';
import { diskUtilization, inodeUtilization, memoryUtilization } from './machine';
import { Collector } from './publisher';
import { tokenKeysAge } from './token-keys';

export interface NodeMetricsOptions {
  readonly connections: ClientConnections;
  /** Connections that are 100 %. */
  readonly connectionsMax: number;
  readonly queue: MailQueue;
  readonly store: HealthCheck;
  /** PEM file with the node's certificate chain. */
  readonly certificate: string;
  /** File that says when the directory last answered. */
  readonly directorySeen: string;
  /** PEM file with the authorities of client certificates. @default - clients need none */
  readonly clientAuthorities?: string;
  /** File that says when their revocation lists end. @default - there are none */
  readonly clientRevocations?: string;
  /** Mount point of the shard's volume. @default - a store that grows by itself */
  readonly volume?: string;
  /** Sockets of what filters mail. @default - nothing does */
  readonly filter?: string[];
  /** File that says which block lists are in use. @default - there are none */
  readonly blockLists?: string;
  /** File that is as old as the keys of tokens. @default - there are no tokens */
  readonly tokenKeys?: string;
}

/** The metrics of a mail node. Names and units are public: alarms and scaling lean on them. */
export const nodeMetrics = (options: NodeMetricsOptions): Collector[] => [
  {
    name: 'connections',
    collect: async () => {
      const count = await options.connections.count();
      return [
        { name: 'Connections', unit: StandardUnit.Count, value: count },
        { name: 'ConnectionUtilization', unit: StandardUnit.Percent, value: (100 * count) / options.connectionsMax },
      ];
    },
  },
  {
    name: 'queue',
    collect: async () => {
      const { length, oldestArrival } = await options.queue.state();
      const age = oldestArrival === undefined ? 0 : Math.max(0, Date.now() / 1000 - oldestArrival);
      return [
        { name: 'QueueLength', unit: StandardUnit.Count, value: length },
        { name: 'QueueAge', unit: StandardUnit.Seconds, value: age },
      ];
    },
  },
  {
    name: 'certificate',
    collect: async () => [
      { name: 'CertificateDaysLeft', unit: StandardUnit.Count, value: await certificateDaysLeft(options.certificate) },
    ],
  },
  {
    name: 'memory',
    collect: async () => [{ name: 'MemoryUtilization', unit: StandardUnit.Percent, value: await memoryUtilization() }],
  },
  {
    name: 'disk',
    collect: async () => [{ name: 'DiskUtilization', unit: StandardUnit.Percent, value: await diskUtilization() }],
  },
  ...fileMetric('directory', 'DirectoryAge', StandardUnit.Seconds, directoryAge, options.directorySeen),
  ...fileMetric(
    'client authorities',
    'ClientAuthorityDaysLeft',
    StandardUnit.Count,
    soonestDaysLeft,
    options.clientAuthorities,
  ),
  ...fileMetric(
    'client revocations',
    'ClientRevocationHoursLeft',
    StandardUnit.Count,
    revocationHoursLeft,
    options.clientRevocations,
  ),
  ...volumeMetrics(options.volume),
  ...filterMetrics(options.filter),
  ...fileMetric('block lists', 'BlockListAge', StandardUnit.Seconds, blockListAge, options.blockLists),
  ...fileMetric('token keys', 'TokenKeysAge', StandardUnit.Seconds, tokenKeysAge, options.tokenKeys),
  {
    name: 'store latency',
    collect: async () => {
      const { ok, milliseconds } = options.store.result();
      // The time to a refusal is no latency: an unmounted store would look fast. The check itself logs the fault.
      if (!ok) return [];
      return [{ name: 'StoreLatency', unit: StandardUnit.Milliseconds, value: milliseconds }];
    },
  },
];

/** A volume is full when either runs out: blocks or inodes. */
const volumeMetrics = (volume?: string): Collector[] =>
  volume === undefined
    ? []
    : [
        {
          name: 'volume',
          collect: async () => {
            const value = Math.max(await diskUtilization(volume), await inodeUtilization(volume));
            return [{ name: 'StoreUtilization', unit: StandardUnit.Percent, value }];
          },
        },
      ];

const filterMetrics = (sockets?: string[]): Collector[] =>
  sockets === undefined
    ? []
    : [
        {
          name: 'filter',
          collect: async () => {
            const { length } = await deafSockets(sockets);
            return [{ name: 'FilterDaemonsDown', unit: StandardUnit.Count, value: length }];
          },
        },
      ];

/** What a file tells; no metric where there is no such file to be. */
const fileMetric = (
  collector: string,
  name: string,
  unit: StandardUnit,
  read: (path: string) => Promise<number>,
  path?: string,
): Collector[] =>
  path === undefined ? [] : [{ name: collector, collect: async () => [{ name, unit, value: await read(path) }] }];
