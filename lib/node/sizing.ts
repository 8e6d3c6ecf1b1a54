import { Size } from 'aws-cdk-lib';
import { InstanceType, InstanceSize } from 'aws-cdk-lib/aws-ec2';

/** What a machine has. */
export interface Machine {
  readonly vcpus: number;
  /** Memory, GiB. */
  readonly memory: number;
}

/** No node serves more, whatever its size: losing it would move too many users at once. */
export const CONNECTIONS_PER_NODE_MAX = 10_000;

/** Connections that one vCPU serves. */
export const CONNECTIONS_PER_VCPU = 1_000;

/** Connections that one GiB of memory serves. */
export const CONNECTIONS_PER_GIB = 250;

/** GiB that a node keeps for itself and its sessions, whatever else is to run on it. */
const MEMORY_MIN = 2;

/** GiB per vCPU of the families whose sizes all have the same ratio. */
const MEMORY_PER_VCPU: { [family: string]: number } = { c: 2, m: 4, r: 8 };

/** Burstable sizes follow no ratio: https://aws.amazon.com/ec2/instance-types/t4/ (the same for t3 and t3a). */
const BURSTABLE: { [size: string]: Machine } = {
  [InstanceSize.NANO]: { vcpus: 2, memory: 0.5 },
  [InstanceSize.MICRO]: { vcpus: 2, memory: 1 },
  [InstanceSize.SMALL]: { vcpus: 2, memory: 2 },
  [InstanceSize.MEDIUM]: { vcpus: 2, memory: 4 },
  [InstanceSize.LARGE]: { vcpus: 2, memory: 8 },
  [InstanceSize.XLARGE]: { vcpus: 4, memory: 16 },
  [InstanceSize.XLARGE2]: { vcpus: 8, memory: 32 },
};

/**
 * Client connections that a node of this type is sized for:
 *
 *     min(10 000, 1 000 × vCPU, 250 × GiB)
 *
 * 250 to a GiB is 4 MiB a connection: about 3 MiB for an IMAP session with its login process, the rest is the share of
 * Postfix, full-text search, the agent and the page cache. 1 000 to a vCPU is what idle sessions cost in keep-alives
 * and new mail, with room for the logins after a node was lost. Both are starting figures: measure your users, then
 * set `connectionsPerNode`. An m7g.large (2 vCPU, 8 GiB) gets 2 000.
 *
 * @param taken memory that other parts take on the node, such as virus scanning; none unless given
 * @throws when the type is not of the c, m, r or t families, or its size is not known; set the number yourself then. And
 *   as `checkMemory`
 */
export function connectionsPerNode(instanceType: InstanceType, taken: Size = Size.bytes(0)): number {
  const { vcpus, memory } = machineOf(instanceType);
  checkMemory(instanceType, taken);
  const left = memory - gibibytes(taken);
  return Math.floor(Math.min(CONNECTIONS_PER_NODE_MAX, CONNECTIONS_PER_VCPU * vcpus, CONNECTIONS_PER_GIB * left));
}

/**
 * Refuses an instance type on which other parts leave less than 2 GiB. One whose memory is not known is its owner's
 * business.
 *
 * @throws then
 */
export function checkMemory(instanceType: InstanceType, taken: Size): void {
  const memory = knownMachine(instanceType)?.memory ?? Infinity;
  const wanted = MEMORY_MIN + gibibytes(taken);
  if (taken.toBytes() > 0 && memory < wanted) {
    throw new Error(
      `instanceType must have ${wanted} GiB of memory or more for what runs on a node, got ${instanceType.toString()} ` +
        `with ${memory}; choose a larger type, or leave virus scanning out (filtering.virusScan: false)`,
    );
  }
}

function gibibytes(size: Size): number {
  return size.toMebibytes() / 1024;
}

/**
 * vCPUs and memory of an instance type, from its name.
 *
 * @throws as `connectionsPerNode`
 */
export function machineOf(instanceType: InstanceType): Machine {
  const machine = knownMachine(instanceType);
  if (!machine) {
    throw new Error(
      `capacity of instance type ${instanceType.toString()} is not known, expected a c, m, r or t type; ` +
        'set connectionsPerNode',
    );
  }
  return machine;
}

function knownMachine(instanceType: InstanceType): Machine | undefined {
  const [, family, size] = /^([a-z]+)\d+[a-z-]*\.([0-9a-z]+)$/.exec(instanceType.toString()) ?? [];
  if (family === 't' && BURSTABLE[size]) {
    return BURSTABLE[size];
  }
  const ratio = MEMORY_PER_VCPU[family];
  const vcpus = vcpusOf(size);
  return ratio === undefined || vcpus === undefined ? undefined : { vcpus, memory: ratio * vcpus };
}

function vcpusOf(size = ''): number | undefined {
  if (size === 'medium') {
    return 1;
  }
  if (size === 'large') {
    return 2;
  }
  const times = /^(\d*)xlarge$/.exec(size);
  return times ? 4 * Number(times[1] || 1) : undefined;
}
