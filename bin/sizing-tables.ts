import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { connectionsPerNode, machineOf, nodeLimits, sizeFor } from '../lib';
import { DocPage, markdownTable } from './doc-page';

/** docs/sizing.md, whose tables are made from `sizeFor` and `nodeLimits`. */
export const SIZING_PAGE = new DocPage('sizing.md', { clusters, cost, nodes });

const USERS = [10, 100, 500, 2000, 10_000, 100_000, 1_000_000];
const INSTANCE_TYPES = ['t4g.medium', 'm7g.large', 'm7g.xlarge', 'm7g.2xlarge', 'm7g.4xlarge'];

function clusters(): string {
  const rows = USERS.map((users) => {
    const size = sizeFor({ users });
    const nodes = `${size.minNodes}–${size.maxNodes} × ${size.instanceType.toString()}`;
    return [
      number(users),
      size.clusters === 1 ? nodes : `${size.clusters} clusters of ${nodes}`,
      number(size.connectionsPerNode),
      number(size.connections),
      size.deliveriesPerSecond < 10 ? size.deliveriesPerSecond.toPrecision(2) : number(size.deliveriesPerSecond),
      number(size.queueLengthMax),
      `${number(size.storeSizeMax.toGibibytes())} GiB`,
    ];
  });
  return table(
    ['users', 'nodes', 'connections a node', 'connections at once', 'messages/s', 'queue alarm', 'store alarm'],
    rows,
  );
}

function cost(): string {
  const rows = USERS.map((users) => {
    const { nodes, network, edge, storage, other, total } = sizeFor({ users }).monthlyCost!;
    const perUser = total / users;
    return [users, nodes, network, edge, storage, other, total].map(number).concat(perUser.toFixed(2));
  });
  return table(['users', 'nodes', 'network', 'edge', 'storage', 'other', 'USD a month', 'a user'], rows);
}

function nodes(): string {
  const rows = INSTANCE_TYPES.map((name) => {
    const type = new InstanceType(name);
    const machine = machineOf(type);
    const connections = connectionsPerNode(type);
    const limits = nodeLimits(connections, machine);
    return [
      name,
      `${machine.vcpus} vCPU, ${machine.memory} GiB`,
      number(connections),
      `${limits.loginProcesses} × ${number(limits.loginClients)}`,
      number(limits.smtpdProcesses),
      number(limits.authClients),
      `${Math.round(100 * limits.memoryShare)} %`,
    ];
  });
  return table(
    ['instance type', 'machine', 'connections', 'login processes × clients', 'smtpd', 'auth clients', 'memory share'],
    rows,
  );
}

function table(head: string[], rows: string[][]): string {
  return markdownTable(
    head,
    head.map((_name, index) => (index === 0 ? '---' : '--:')),
    rows,
  );
}

/** Whole, with a blank between thousands. */
function number(value: number): string {
  return `${Math.round(value)}`.replace(/\B(?=(\d{3})+$)/g, ' ');
}

if (require.main === module) {
  SIZING_PAGE.write();
}
