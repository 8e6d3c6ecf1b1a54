import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { InterfaceVpcEndpointAwsService, SubnetType, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Key } from 'aws-cdk-lib/aws-kms';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { MailNetwork, MailNetworkProps } from '../../lib/network';
import { environments, flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';
import { importedVpc } from '../support/networks';

function network(props?: MailNetworkProps): { template: Template; stack: Stack; network: MailNetwork } {
  const stack = testStack();
  const created = new MailNetwork(stack, 'Network', props);
  return { template: Template.fromStack(stack), stack, network: created };
}

function subnetCidrs(template: Template): Record<string, string> {
  const subnets = template.findResources('AWS::EC2::Subnet');
  return Object.fromEntries(Object.entries(subnets).map(([id, subnet]) => [id, subnet.Properties.CidrBlock]));
}

describe.each(flagSets)('a new network with $flags', ({ context }) => {
  test.each(environments)('spans three zones in $where, with public, private and isolated subnets', ({ env }) => {
    const stack = testStack(context, env);
    const created = new MailNetwork(stack, 'Network');
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::EC2::Subnet', 9);
    template.resourceCountIs('AWS::EC2::NatGateway', 3);
    expect(created.availabilityZones).toHaveLength(3);
    expect(created.edgeSubnets.subnets).toHaveLength(3);
    expect(created.nodeSubnets.subnets).toHaveLength(3);
    expect(created.storageSubnets.subnets).toHaveLength(3);
    template.hasResourceProperties('AWS::EC2::Subnet', {
      AvailabilityZone: { 'Fn::Select': [2, { 'Fn::GetAZs': '' }] },
    });
  });

  test.each(environments)('has no open findings in $where', ({ env }) => {
    const stack = testStack(context, env);
    new MailNetwork(stack, 'Network', { interfaceEndpoints: [InterfaceVpcEndpointAwsService.SECRETS_MANAGER] });
    expect(openFindings(stack)).toEqual([]);
  });
});

test('nothing in a public subnet gets a public address by itself', () => {
  network().template.allResourcesProperties('AWS::EC2::Subnet', { MapPublicIpOnLaunch: false });
});

test('isolated subnets have no route out', () => {
  const { template, network: created } = network();
  const routed = Object.values(template.findResources('AWS::EC2::Route')).map(
    (route) => route.Properties.RouteTableId.Ref,
  );
  expect(routed).toHaveLength(6);
  for (const subnet of created.storageSubnets.subnets ?? []) {
    expect(routed).not.toContain(Stack.of(created).resolve(subnet.routeTable.routeTableId).Ref);
  }
});

test('each zone has its own way out', () => {
  const { template } = network();
  const gateways = Object.values(template.findResources('AWS::EC2::Route'))
    .map((route) => route.Properties.NatGatewayId?.Ref)
    .filter(Boolean);
  expect(new Set(gateways).size).toBe(3);
});

test('tells the addresses that mail leaves from', () => {
  const { template, network: created } = network({ natGateways: 2 });
  const addresses = Stack.of(created).resolve(created.outboundAddresses) as { Ref: string }[];
  expect(addresses.map(({ Ref }) => Ref)).toEqual(Object.keys(template.findResources('AWS::EC2::EIP')));
  expect(addresses).toHaveLength(2);
});

test('a zone added later moves no subnet', () => {
  const before = subnetCidrs(network().template);
  const after = subnetCidrs(network({ availabilityZones: 4 }).template);
  expect(Object.keys(after)).toHaveLength(12);
  expect(after).toMatchObject(before);
});

test('S3 and DynamoDB are reached without the NAT gateways from nodes and storage', () => {
  const { template } = network();
  template.resourceCountIs('AWS::EC2::VPCEndpoint', 2);
  template.allResourcesProperties('AWS::EC2::VPCEndpoint', { VpcEndpointType: 'Gateway' });
  for (const endpoint of Object.values(template.findResources('AWS::EC2::VPCEndpoint'))) {
    expect(endpoint.Properties.RouteTableIds).toHaveLength(6);
  }
});

test('all traffic is logged under a customer key by a role of least privilege', () => {
  const { template } = network();
  template.hasResourceProperties('AWS::EC2::FlowLog', { ResourceType: 'VPC', TrafficType: 'ALL' });
  template.hasResourceProperties('AWS::Logs::LogGroup', {
    KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('Key'), 'Arn'] },
    RetentionInDays: 365,
  });
  template.resourceCountIs('AWS::IAM::Policy', 0);
  template.hasResourceProperties('AWS::IAM::ManagedPolicy', {
    PolicyDocument: { Statement: [Match.objectLike({ Resource: { 'Fn::GetAtt': [Match.anyValue(), 'Arn'] } })] },
  });
});

test('the default security group is closed', () => {
  network().template.resourceCountIs('Custom::VpcRestrictDefaultSG', 1);
});

test.each([
  ['zones by name', { zoneNames: ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'] }, 'eu-central-1b'],
  ['zones by number', { availabilityZones: 5 }, { 'Fn::Select': [4, { 'Fn::GetAZs': '' }] }],
])('%s are used', (_what, props, zone) => {
  network(props).template.hasResourceProperties('AWS::EC2::Subnet', { AvailabilityZone: zone });
});

test('a smaller range, fewer NAT gateways, a key and a retention are used', () => {
  const stack = testStack();
  const encryptionKey = new Key(stack, 'MyKey');
  new MailNetwork(stack, 'Network', {
    cidr: '10.1.0.0/20',
    natGateways: 1,
    encryptionKey,
    logRetention: RetentionDays.TWO_YEARS,
  });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::EC2::NatGateway', 1);
  template.resourceCountIs('AWS::KMS::Key', 1);
  template.hasResourceProperties('AWS::EC2::VPC', { CidrBlock: '10.1.0.0/20' });
  template.hasResourceProperties('AWS::Logs::LogGroup', { RetentionInDays: 731 });
});

describe('an imported network', () => {
  test('is used as it is', () => {
    const stack = testStack();
    const imported = new MailNetwork(stack, 'Network', { vpc: importedVpc(stack) });
    expect(Template.fromStack(stack).toJSON().Resources).toBeUndefined();
    expect(imported.availabilityZones).toEqual(['eu-central-1a', 'eu-central-1b', 'eu-central-1c']);
    expect(imported.cidr).toBe('10.20.0.0/16');
  });

  test.each([
    ['isolated subnets if it has them', true, 'subnet-isolated1'],
    ['private subnets if not', false, 'subnet-private1'],
  ])('holds the mail store in its %s', (_where, isolated, first) => {
    const stack = testStack();
    const imported = new MailNetwork(stack, 'Network', { vpc: importedVpc(stack, { isolated }) });
    expect(imported.storageSubnets.subnets?.map((subnet) => subnet.subnetId)).toContain(first);
  });

  test('holds the mail store with the nodes when the isolated subnets miss a zone of theirs', () => {
    const stack = testStack();
    const vpc = new Vpc(stack, 'Vpc', {
      availabilityZones: ['a', 'b', 'c'].map((zone) => `eu-central-1${zone}`),
      subnetConfiguration: [
        { name: 'Public', subnetType: SubnetType.PUBLIC },
        { name: 'Private', subnetType: SubnetType.PRIVATE_WITH_EGRESS },
      ],
    });
    const imported = new MailNetwork(stack, 'Network', { vpc });
    expect(imported.storageSubnets).toEqual(imported.nodeSubnets);
  });

  test('gives the balancer one subnet of a zone', () => {
    const stack = testStack();
    const vpc = Vpc.fromVpcAttributes(stack, 'Vpc', {
      vpcId: 'vpc-1',
      vpcCidrBlock: '10.20.0.0/16',
      availabilityZones: ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'],
      privateSubnetIds: ['p1', 'p2', 'p3'],
      publicSubnetIds: ['e1', 'e2', 'e3', 'f1', 'f2', 'f3'],
    });
    const imported = new MailNetwork(stack, 'Network', { vpc });
    expect(imported.edgeSubnets.subnets).toHaveLength(3);
  });

  test('gets the interface endpoints that are asked for, open to its range', () => {
    const stack = testStack();
    new MailNetwork(stack, 'Network', {
      vpc: importedVpc(stack),
      interfaceEndpoints: [InterfaceVpcEndpointAwsService.SECRETS_MANAGER, InterfaceVpcEndpointAwsService.SSM],
    });
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::EC2::VPCEndpoint', 2);
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      SecurityGroupIngress: [Match.objectLike({ CidrIp: '10.20.0.0/16', FromPort: 443 })],
    });
  });

  test('that is still to be looked up passes', () => {
    const stack = new Stack(new App(), 'Test', { env: { account: '111122223333', region: 'eu-central-1' } });
    const vpc = Vpc.fromLookup(stack, 'Vpc', { vpcId: 'vpc-0123456789abcdef0' });
    expect(() => new MailNetwork(stack, 'Network', { vpc })).not.toThrow();
    Annotations.fromStack(stack).hasNoError('*', Match.anyValue());
  });

  test.each([
    [{ public: false }, /^vpc must have public subnets in 3 or more zones, got 0; add subnets, .* edgeSubnets$/],
    [{ private: false, isolated: true }, /^vpc must have private subnets in 3 or more zones, got 0.* nodeSubnets$/],
    [{ zones: ['eu-west-1a', 'eu-west-1b'] }, /^vpc must have public subnets .* got 2 \(eu-west-1a, eu-west-1b\)/],
  ])('fails when it has %j', (options, message) => {
    const stack = testStack();
    expect(() => new MailNetwork(stack, 'Network', { vpc: importedVpc(stack, options) })).toThrow(message);
  });

  test('fails when its range is not known', () => {
    const stack = testStack();
    const vpc = Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['a', 'b', 'c'] });
    expect(() => new MailNetwork(stack, 'Network', { vpc })).toThrow(/^vpc must be imported with its IPv4 range/);
  });

  test('fails when chosen subnets span too few zones', () => {
    const stack = testStack();
    const vpc = importedVpc(stack);
    const nodeSubnets = { subnets: vpc.privateSubnets.slice(0, 2) };
    expect(() => new MailNetwork(stack, 'Network', { vpc, nodeSubnets })).toThrow(/private subnets .* got 2/);
  });

  test('fails when props of a new network are set with it', () => {
    const stack = testStack();
    const props = { vpc: importedVpc(stack), cidr: '10.0.0.0/16', natGateways: 1 };
    expect(() => new MailNetwork(stack, 'Network', props)).toThrow(/^cidr, natGateways can not be set with vpc/);
  });
});

test.each<[string, MailNetworkProps, RegExp]>([
  ['too few zones', { availabilityZones: 2 }, /^availabilityZones must be 3 to 6 zones, got 2$/],
  ['too many zones', { availabilityZones: 7 }, /^availabilityZones must be 3 to 6 zones, got 7$/],
  ['too few zone names', { zoneNames: ['a', 'b'] }, /^zoneNames must be 3 to 6 zones, got 2$/],
  [
    'two numbers of zones',
    { zoneNames: ['a', 'b', 'c'], availabilityZones: 4 },
    /^availabilityZones must be the number/,
  ],
  ['no NAT gateway', { natGateways: 0 }, /^natGateways must be 1 to 3/],
  ['more NAT gateways than zones', { natGateways: 4 }, /^natGateways must be 1 to 3/],
  ['no range', { cidr: '10.0.0.0' }, /^cidr must be an IPv4 range/],
  ['a small range', { cidr: '10.0.0.0/24' }, /^cidr must be \/16 to \/20, got 10.0.0.0\/24/],
  ['a range that AWS refuses', { cidr: '10.0.0.0/8' }, /^cidr must be \/16 to \/20/],
  ['subnets chosen in a new network', { nodeSubnets: {} }, /^nodeSubnets can not be set without vpc/],
  [
    'an API asked for twice',
    { interfaceEndpoints: [InterfaceVpcEndpointAwsService.SSM, InterfaceVpcEndpointAwsService.SSM] },
    /^interfaceEndpoints must name each API once, got ssm twice/,
  ],
])('fails when there is %s', (_what, props, message) => {
  expect(() => network(props)).toThrow(message);
});
