import { offset, readPlan, standInValue } from '../plan';
import { Template } from '../template';

test.each([
  ['10.0.0.0', 10, '10.0.0.10'],
  ['10.0.0.250', 10, '10.0.1.4'],
  ['10.0.0.0', 65534, '10.0.255.254'],
  ['192.168.128.0', 32766, '192.168.255.254'],
])('the address %s + %d is %s', (address, distance, expected) => {
  expect(offset(address, distance)).toBe(expected);
});

test('a template with a group for each shard has one place for each, in its zone and with its own user data', () => {
  const resource = (Type: string, Properties: Record<string, unknown>) => ({ Type, Properties });
  const shard = (number: number) => ({
    [`Subnet${number}`]: resource('AWS::EC2::Subnet', {
      CidrBlock: `10.0.${16 * number}.0/20`,
      AvailabilityZone: `us-east-1${'abc'[number - 1]}`,
    }),
    [`Template${number}`]: resource('AWS::EC2::LaunchTemplate', {
      LaunchTemplateData: { UserData: { 'Fn::Base64': `MAIL_SHARD=shard-${number}` } },
    }),
    [`Group${number}`]: resource('AWS::AutoScaling::AutoScalingGroup', {
      MinSize: '1',
      VPCZoneIdentifier: [{ Ref: `Subnet${number}` }],
      LaunchTemplate: { LaunchTemplateId: { Ref: `Template${number}` } },
    }),
  });
  const Resources = {
    Vpc: resource('AWS::EC2::VPC', { CidrBlock: '10.0.0.0/16' }),
    Balancer: resource('AWS::ElasticLoadBalancingV2::LoadBalancer', { SubnetMappings: [] }),
    ...shard(1),
    ...shard(2),
  };
  const plan = readPlan(new Template({ Resources }, standInValue), { nodes: 5 });
  expect(plan.nodes.map(({ name, zone, address, userData }) => [name, zone, address, userData])).toEqual([
    ['node1', 'us-east-1a', '10.0.16.10', 'MAIL_SHARD=shard-1'],
    ['node2', 'us-east-1b', '10.0.32.10', 'MAIL_SHARD=shard-2'],
  ]);
});
