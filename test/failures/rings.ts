import { existsSync, readFileSync } from 'node:fs';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { LeaseTable } from '../../agent/src/lease/lease-table';
import type { TableView } from '../../agent/src/lease/items';
import type { LocalCluster } from '../../local/cluster';

/** A ring, and when it was written to the table. */
export interface WrittenRing {
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly addresses: readonly string[];
}

interface LoggedItem {
  readonly at: number;
  readonly item: {
    readonly sk?: { readonly S: string };
    readonly version?: { readonly N: string };
    readonly nodes?: { readonly L: { readonly M: { readonly address: { readonly S: string } } }[] };
  };
}

/** The lease table of a cluster, and all rings that it ever had. */
export class Rings {
  private readonly table: LeaseTable;

  constructor(private readonly cluster: LocalCluster) {
    const { MAIL_LEASE_TABLE, MAIL_CLUSTER } = cluster.plan.environment;
    const requestHandler = { requestTimeout: 5_000, throwOnRequestTimeout: true };
    this.table = new LeaseTable({
      client: new DynamoDBClient({ ...cluster.aws.client, requestHandler, maxAttempts: 1 }),
      table: MAIL_LEASE_TABLE,
      cluster: MAIL_CLUSTER,
      id: 'i-watcher',
      address: '0.0.0.0',
      zone: 'none',
    });
  }

  /** What the table says now. */
  public read(): Promise<TableView> {
    return this.table.read();
  }

  /** Every ring, oldest first. */
  public written(): WrittenRing[] {
    const log = this.cluster.aws.tableLog;
    const lines = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : [];
    return lines
      .map((line) => JSON.parse(line) as LoggedItem)
      .filter(({ item }) => item.sk?.S === 'ring')
      .map(({ at, item }) => ({
        version: Number(item.version?.N),
        at,
        addresses: item.nodes?.L.map(({ M }) => M.address.S) ?? [],
      }));
  }
}
