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
 * @throws when the type is not of the c, m, r or t families, or its size is not known; set the number yourself then
 */
export function connectionsPerNode(instanceType: InstanceType): number {
  const { vcpus, memory } = machineOf(instanceType);
  return Math.floor(Math.min(CONNECTIONS_PER_NODE_MAX, CONNECTIONS_PER_VCPU * vcpus, CONNECTIONS_PER_GIB * memory));
}

/**
 * vCPUs and memory of an instance type, from its name.
 *
 * @throws as `connectionsPerNode`
 */
export function machineOf(instanceType: InstanceType): Machine {
  const name = instanceType.toString();
  const [, family, size] = /^([a-z]+)\d+[a-z-]*\.([0-9a-z]+)$/.exec(name) ?? [];
  if (family === 't' && BURSTABLE[size]) {
    return BURSTABLE[size];
  }
  const ratio = MEMORY_PER_VCPU[family];
  const vcpus = vcpusOf(size);
  if (ratio === undefined || vcpus === undefined) {
    throw new Error(
      `capacity of instance type ${name} is not known, expected a c, m, r or t type; set connectionsPerNode`,
    );
  }
  return { vcpus, memory: ratio * vcpus };
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
