import { Size } from 'aws-cdk-lib';
import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { connectionsPerNode, machineOf } from '../../lib/node';
import { checkMemory } from '../../lib/node/sizing';

test.each([
  ['t4g.medium', 2, 4, 1000],
  ['t3a.large', 2, 8, 2000],
  ['c7g.medium', 1, 2, 500],
  ['c7g.large', 2, 4, 1000],
  ['m7g.large', 2, 8, 2000],
  ['m7gd.xlarge', 4, 16, 4000],
  ['r7i.large', 2, 16, 2000],
  ['m7i-flex.2xlarge', 8, 32, 8000],
  ['m8g.4xlarge', 16, 64, 10_000],
  ['m7g.16xlarge', 64, 256, 10_000],
])('%s has %d vCPU and %d GiB and is sized for %d connections', (name, vcpus, memory, connections) => {
  const type = new InstanceType(name);
  expect(machineOf(type)).toEqual({ vcpus, memory });
  expect(connectionsPerNode(type)).toBe(connections);
});

test('memory that other parts take is not there for connections', () => {
  expect(connectionsPerNode(new InstanceType('t4g.medium'), Size.gibibytes(2))).toBe(500);
  // The processors are what it is sized by.
  expect(connectionsPerNode(new InstanceType('r7i.large'), Size.gibibytes(2))).toBe(2000);
});

test('fails when other parts leave less than 2 GiB', () => {
  expect(() => connectionsPerNode(new InstanceType('c7g.large'), Size.gibibytes(2.5))).toThrow(
    'instanceType must have 4.5 GiB of memory or more for what runs on a node, got c7g.large with 4',
  );
  expect(() => checkMemory(new InstanceType('x2gd.large'), Size.gibibytes(2.5))).not.toThrow();
});

test.each(['p4d.24xlarge', 'm7g.metal', 'x2gd.large', 't4g.huge'])(
  'fails when the capacity of %s is not known',
  (name) => {
    expect(() => connectionsPerNode(new InstanceType(name))).toThrow(
      `capacity of instance type ${name} is not known, expected a c, m, r or t type; set connectionsPerNode`,
    );
  },
);
