import {
  AttributeValue,
  ConditionalCheckFailedException,
  DynamoDBClient,
  PutItemCommand,
  PutItemCommandInput,
  QueryCommand,
  UpdateItemCommand,
  UpdateItemCommandInput,
} from '@aws-sdk/client-dynamodb';
import { LeaseOf, TableAction } from './actions';
import { NodeItem, NodeState, RingItem, RingNode, TableView } from './items';

/** DynamoDB removes what an adopted node left behind after this. Nothing else depends on the time of day. */
const KEEP_DAYS = 30;

const ACTIVE = '#state IN (:live, :draining)';
const DOWN = '#state IN (:fenced, :gone)';
const STATE_NAMES = { '#state': 'state' };
const text = (value: string): AttributeValue => ({ S: value });
const number = (value: number): AttributeValue => ({ N: String(value) });
const IS_ACTIVE = { ':live': text('live'), ':draining': text('draining') };
const IS_DOWN = { ':fenced': text('fenced'), ':gone': text('gone') };

export interface LeaseTableOptions {
  /** With a time limit and without attempts of its own: a repeated renewal must count from its own sending. */
  readonly client: DynamoDBClient;
  readonly table: string;
  readonly cluster: string;
  readonly id: string;
  readonly address: string;
  readonly zone: string;
}

/**
 * The cluster's items in DynamoDB: one for each node (`node#<instance id>`) and one for the ring (`ring`), all under
 * the cluster's name. Every write has a condition on what it replaces, every read is strongly consistent.
 */
export class LeaseTable {
  public constructor(private readonly options: LeaseTableOptions) {}

  /** All items. @throws on items that this version can't read, rather than to act on half of them. */
  public async read(): Promise<TableView> {
    const nodes: NodeItem[] = [];
    let ring: RingItem | undefined;
    let start: { [key: string]: AttributeValue } | undefined;
    do {
      const page = await this.options.client.send(
        new QueryCommand({
          TableName: this.options.table,
          KeyConditionExpression: 'pk = :cluster',
          ExpressionAttributeValues: { ':cluster': text(this.options.cluster) },
          ConsistentRead: true,
          ExclusiveStartKey: start,
        }),
      );
      for (const item of page.Items ?? []) {
        const [, id] = /^node#(.+)$/.exec(item.sk?.S ?? '') ?? [];
        if (id) nodes.push(readNode(id, item));
        else if (item.sk?.S === 'ring') ring = readRing(item);
      }
      start = page.LastEvaluatedKey;
    } while (start);
    return { nodes, ring };
  }

  /**
   * Writes what membership decided.
   *
   * @returns false when a condition didn't hold: the table is not as membership saw it
   * @throws when it may have happened or not
   */
  public async write(action: Exclude<TableAction, { do: 'read' }>): Promise<boolean> {
    try {
      await this.send(action);
      return true;
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return false;
      throw error;
    }
  }

  private send(action: Exclude<TableAction, { do: 'read' }>): Promise<void> {
    const me = { id: this.options.id };
    switch (action.do) {
      case 'register':
        return this.register(action);
      case 'renew':
        return this.update(
          { ...me, epoch: action.epoch },
          ACTIVE,
          'SET #state = :state, ready = :ready, ring = :ring ADD #counter :one',
          {
            names: { '#counter': 'counter' },
            values: {
              ...IS_ACTIVE,
              ':state': text(action.state),
              ':ready': number(action.ready),
              ':ring': number(action.ring),
              ':one': number(1),
            },
          },
        );
      case 'go':
        return this.update({ ...me, epoch: action.epoch }, ACTIVE, 'SET #state = :gone', {
          values: { ...IS_ACTIVE, ':gone': text('gone') },
        });
      case 'fence-peer':
        return this.update(action.peer, `${ACTIVE} AND #counter = :counter`, 'SET #state = :fenced, fencedBy = :me', {
          names: { '#counter': 'counter' },
          values: {
            ...IS_ACTIVE,
            ':counter': number(action.peer.counter),
            ':fenced': text('fenced'),
            ':me': text(this.options.id),
          },
        });
      case 'write-ring':
        return this.writeRing(action.ring);
      case 'claim':
        return this.update(
          action.peer,
          `${DOWN} AND attribute_not_exists(adopted) AND ${
            action.replaced === undefined ? 'attribute_not_exists(adoptedBy)' : 'adoptedBy = :replaced'
          }`,
          'SET adoptedBy = :claim',
          {
            values: {
              ...IS_DOWN,
              ':claim': text(action.claim),
              ...(action.replaced !== undefined && { ':replaced': text(action.replaced) }),
            },
          },
        );
      case 'finish-adoption':
        return this.update(
          action.peer,
          `${DOWN} AND adoptedBy = :claim AND attribute_not_exists(adopted)`,
          'SET adopted = :yes, expires = :expires',
          {
            values: {
              ...IS_DOWN,
              ':claim': text(action.claim),
              ':yes': { BOOL: true },
              ':expires': number(Math.round(Date.now() / 1000) + KEEP_DAYS * 86_400),
            },
          },
        );
    }
  }

  private register({ epoch, state, replaced }: Extract<TableAction, { do: 'register' }>): Promise<void> {
    const { id, address, zone } = this.options;
    const item = {
      address: text(address),
      zone: text(zone),
      epoch: number(epoch),
      counter: number(1),
      state: text(state),
      ready: number(0),
      ring: number(0),
    };
    if (!replaced) return this.put(`node#${id}`, item, { ConditionExpression: 'attribute_not_exists(pk)' });
    const { adoptedBy } = replaced;
    return this.put(`node#${id}`, item, {
      ConditionExpression: `epoch = :before AND #state = :state AND ${
        adoptedBy === undefined ? 'attribute_not_exists(adoptedBy)' : 'adoptedBy = :claim'
      }`,
      ExpressionAttributeNames: STATE_NAMES,
      ExpressionAttributeValues: {
        ':before': number(replaced.epoch),
        ':state': text(replaced.state),
        ...(adoptedBy !== undefined && { ':claim': text(adoptedBy) }),
      },
    });
  }

  private writeRing({ version, nodes }: RingItem): Promise<void> {
    const item = {
      version: number(version),
      nodes: {
        L: nodes.map(({ id, address, shard }) => ({
          M: { id: text(id), address: text(address), ...(shard !== undefined && { shard: text(shard) }) },
        })),
      },
    };
    if (version === 1) return this.put('ring', item, { ConditionExpression: 'attribute_not_exists(pk)' });
    return this.put('ring', item, {
      ConditionExpression: 'version = :before',
      ExpressionAttributeValues: { ':before': number(version - 1) },
    });
  }

  private async put(
    sk: string,
    item: { [name: string]: AttributeValue },
    condition: Pick<
      PutItemCommandInput,
      'ConditionExpression' | 'ExpressionAttributeNames' | 'ExpressionAttributeValues'
    >,
  ): Promise<void> {
    await this.options.client.send(
      new PutItemCommand({
        TableName: this.options.table,
        Item: { pk: text(this.options.cluster), sk: text(sk), ...item },
        ...condition,
      }),
    );
  }

  /** Changes a node's item under one lease of it. */
  private async update(
    { id, epoch }: LeaseOf,
    condition: string,
    UpdateExpression: string,
    { names, values }: { names?: { [name: string]: string }; values: { [name: string]: AttributeValue } },
  ): Promise<void> {
    const input: UpdateItemCommandInput = {
      TableName: this.options.table,
      Key: { pk: text(this.options.cluster), sk: text(`node#${id}`) },
      UpdateExpression,
      ConditionExpression: `epoch = :epoch AND ${condition}`,
      ExpressionAttributeNames: { ...STATE_NAMES, ...names },
      ExpressionAttributeValues: { ...values, ':epoch': number(epoch) },
    };
    await this.options.client.send(new UpdateItemCommand(input));
  }
}

const STATES: readonly string[] = ['live', 'draining', 'fenced', 'gone'] satisfies NodeState[];

const readNode = (id: string, item: { [name: string]: AttributeValue }): NodeItem => {
  const where = `lease table, node ${id}`;
  const state = readText(item.state, where);
  if (!STATES.includes(state)) throw new Error(`${where}: unknown state ${state}`);
  return {
    id,
    address: readText(item.address, where),
    zone: readText(item.zone, where),
    epoch: readNumber(item.epoch, where),
    counter: readNumber(item.counter, where),
    state: state as NodeState,
    ready: readNumber(item.ready ?? item.ring, where), // a node with an earlier version of the library does not say
    ring: readNumber(item.ring, where),
    ...(item.adoptedBy && { adoptedBy: readText(item.adoptedBy, where) }),
    ...(item.adopted && { adopted: true }),
  };
};

const readRing = (item: { [name: string]: AttributeValue }): RingItem => {
  const where = 'lease table, ring';
  if (!item.nodes?.L) throw new Error(`${where}: no list of nodes`);
  return {
    version: readNumber(item.version, where),
    nodes: item.nodes.L.map(({ M }): RingNode => ({
      id: readText(M?.id, where),
      address: readText(M?.address, where),
      ...(M?.shard && { shard: readText(M.shard, where) }),
    })),
  };
};

const readText = (value: AttributeValue | undefined, where: string): string => {
  if (value?.S === undefined) throw new Error(`${where}: expected text, got ${JSON.stringify(value)}`);
  return value.S;
};

const readNumber = (value: AttributeValue | undefined, where: string): number => {
  const read = Number(value?.N);
  if (value?.N === undefined || !Number.isSafeInteger(read)) {
    throw new Error(`${where}: expected a whole number, got ${JSON.stringify(value)}`);
  }
  return read;
};
