import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { MailStack } from '../../lib';
import { MailFirewallOptions, MailNetwork } from '../../lib/network';
import { environments, flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';
import { importedVpc } from '../support/networks';

const PORTS = [993, 587, 25];

function network(options: MailFirewallOptions = {}, stack = testStack()) {
  const created = new MailNetwork(stack, 'Network', { firewall: { ports: PORTS, ...options } });
  return { stack, network: created, template: Template.fromStack(stack) };
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
function only(template: Template, type: string): { [name: string]: any } {
  const found = Object.values(template.findResources(type));
  expect(found).toHaveLength(1);
  return found[0].Properties;
}

function rulesOf(template: Template): string {
  return only(template, 'AWS::NetworkFirewall::RuleGroup').RuleGroup.RulesSource.RulesString;
}

describe.each(flagSets)('with $flags', ({ context }) => {
  test.each(environments)('has no open findings in $where', ({ env }) => {
    expect(openFindings(network({}, testStack(context, env)).stack)).toEqual([]);
  });
});

test('each zone has a firewall of its own, and both directions of its public subnet go through it', () => {
  const { stack, network: created, template } = network();
  template.resourceCountIs('AWS::NetworkFirewall::Firewall', 3);
  const resolve = (value: unknown) => stack.resolve(value);
  const routes = Object.values(template.findResources('AWS::EC2::Route')).map(({ Properties }) => Properties);
  const firewallSubnets = created.vpc.selectSubnets({ subnetGroupName: 'Firewall' }).subnets;
  const gateway = resolve((created.vpc as unknown as { internetGatewayId: string }).internetGatewayId);
  const association = only(template, 'AWS::EC2::GatewayRouteTableAssociation');
  expect(association.GatewayId).toEqual(gateway);
  created.edgeSubnets.subnets!.forEach((subnet, index) => {
    const firewall = created.firewall!.firewalls[index];
    const endpoint = {
      'Fn::Select': [1, { 'Fn::Split': [':', { 'Fn::Select': [0, resolve(firewall.attrEndpointIds)] }] }],
    };
    expect(resolve(firewall.subnetMappings)).toEqual([{ subnetId: resolve(firewallSubnets[index].subnetId) }]);
    expect(firewallSubnets[index].availabilityZone).toEqual(subnet.availabilityZone);
    expect(routes).toContainEqual({
      RouteTableId: association.RouteTableId,
      DestinationCidrBlock: subnet.ipv4CidrBlock,
      VpcEndpointId: endpoint,
    });
    expect(routes.filter(({ RouteTableId }) => sameRef(RouteTableId, resolve(subnet.routeTable.routeTableId)))).toEqual(
      [expect.objectContaining({ DestinationCidrBlock: '0.0.0.0/0', VpcEndpointId: endpoint })],
    );
    // And on to the internet.
    const onwards = routes.filter(({ RouteTableId }) =>
      sameRef(RouteTableId, resolve(firewallSubnets[index].routeTable.routeTableId)),
    );
    expect(onwards).toEqual([expect.objectContaining({ DestinationCidrBlock: '0.0.0.0/0', GatewayId: gateway })]);
  });
  expect(routes.filter(({ GatewayId }) => GatewayId)).toHaveLength(3);
});

function sameRef(one: { Ref: string }, other: { Ref: string }): boolean {
  return one.Ref === other.Ref;
}

test('added to a network that is there, it moves no subnet, no NAT gateway and no address', () => {
  const without = testStack();
  new MailNetwork(without, 'Network');
  const before = Template.fromStack(without);
  const { template: after } = network();
  for (const type of ['AWS::EC2::Subnet', 'AWS::EC2::NatGateway', 'AWS::EC2::EIP']) {
    expect(after.findResources(type)).toMatchObject(before.findResources(type));
  }
  after.resourceCountIs('AWS::EC2::NatGateway', 3);
  after.resourceCountIs('AWS::EC2::Subnet', 12);
});

test('the smallest range has room for it', () => {
  const created = new MailNetwork(testStack(), 'Network', {
    cidr: '10.1.0.0/20',
    availabilityZones: 6,
    firewall: { ports: PORTS },
  });
  const subnets = created.vpc.selectSubnets({ subnetGroupName: 'Firewall' }).subnets;
  expect(subnets.map(({ ipv4CidrBlock }) => ipv4CidrBlock).every((cidr) => cidr.endsWith('/28'))).toBe(true);
});

test('everything is inspected in strict order; unknown connections are reset', () => {
  const { template } = network({ ruleGroupArns: ['arn:aws:network-firewall:x:aws-managed:stateful-rulegroup/A'] });
  const [rules] = Object.keys(template.findResources('AWS::NetworkFirewall::RuleGroup'));
  expect(only(template, 'AWS::NetworkFirewall::FirewallPolicy').FirewallPolicy).toEqual({
    StatelessDefaultActions: ['aws:forward_to_sfe'],
    StatelessFragmentDefaultActions: ['aws:forward_to_sfe'],
    StatefulEngineOptions: { RuleOrder: 'STRICT_ORDER', StreamExceptionPolicy: 'REJECT' },
    StatefulRuleGroupReferences: [
      { ResourceArn: { 'Fn::GetAtt': [rules, 'RuleGroupArn'] }, Priority: 1 },
      { ResourceArn: 'arn:aws:network-firewall:x:aws-managed:stateful-rulegroup/A', Priority: 2 },
    ],
  });
  template.hasResourceProperties('AWS::NetworkFirewall::RuleGroup', {
    Type: 'STATEFUL',
    RuleGroup: {
      RuleVariables: {
        PortSets: { MAIL_PORTS: { Definition: ['993', '587', '25'] }, TLS_PORTS: { Definition: ['993'] } },
      },
      StatefulRuleOptions: { RuleOrder: 'STRICT_ORDER' },
    },
  });
});

test('each firewall tells of what it drops, under the customer key', () => {
  const { template } = network();
  const alerts = Object.keys(template.findResources('AWS::Logs::LogGroup')).filter((id) => /Alerts/.test(id));
  expect(alerts).toHaveLength(1);
  template.resourceCountIs('AWS::NetworkFirewall::LoggingConfiguration', 3);
  template.allResourcesProperties('AWS::NetworkFirewall::LoggingConfiguration', {
    LoggingConfiguration: {
      LogDestinationConfigs: [
        { LogType: 'ALERT', LogDestinationType: 'CloudWatchLogs', LogDestination: { logGroup: { Ref: alerts[0] } } },
      ],
    },
  });
  template.allResourcesProperties('AWS::Logs::LogGroup', { KmsKeyId: Match.anyValue() });
  template.allResourcesProperties('AWS::NetworkFirewall::Firewall', { DeleteProtection: true });
});

test('a trial drops nothing, of ours and of others', () => {
  const { template } = network({ alertOnly: true, ruleGroupArns: ['arn:aws:network-firewall:x:y:z/A'] });
  expect(rulesOf(template)).not.toMatch(/^(drop|reject)/m);
  expect(rulesOf(template).split('\n')).toHaveLength(rulesOf(network().template).split('\n').length);
  template.hasResourceProperties('AWS::NetworkFirewall::FirewallPolicy', {
    FirewallPolicy: {
      StatefulRuleGroupReferences: Match.arrayWith([
        Match.objectLike({ Priority: 2, Override: { Action: 'DROP_TO_ALERT' } }),
      ]),
    },
  });
});

test('a stack hands its ports over, and rules of the owner come first', () => {
  const own = 'drop ip 192.0.2.0/24 any -> any any (msg:"ours"; sid:1001000; rev:1;)';
  const stack = new MailStack(new App(), 'MailStack', { domain: 'example.com', networkFirewall: { rules: own } });
  const template = Template.fromStack(stack);
  expect(rulesOf(template).split('\n')[0]).toBe(own);
  template.hasResourceProperties('AWS::NetworkFirewall::RuleGroup', {
    RuleGroup: { RuleVariables: { PortSets: { MAIL_PORTS: { Definition: ['993', '587'] } } } },
  });
  expect(openFindings(stack)).toEqual([]);
});

const rule = (options: string, action = 'drop') => `${action} tcp any any -> any any (${options} sid:1001000;)`;

test.each<[string, MailFirewallOptions & { ports?: number[] }, RegExp]>([
  ['a rule passes', { rules: rule('', 'pass') }, /^rules must be lines of alert, drop or reject with a sid/],
  ['a rule has no id', { rules: 'drop tcp any any -> any any (msg:"x";)' }, /^rules must be lines of/],
  [
    'a rule has a keyword that AWS refuses',
    { rules: rule('classtype:misc-attack;') },
    /^rules must not have classtype/,
  ],
  ['a rule has the id of another', { rules: rule('').replace('1001000', '1000001') }, /got 1000001 twice/],
  ['there is no port', { ports: [] }, /^ports must have one port or more/],
  ['there is no port of TLS', { ports: [587] }, /^tlsPorts must have one port or more/],
])('fails when %s', (_what, options, message) => {
  expect(() => network(options)).toThrow(message);
});

test('fails when the network is somebody else’s', () => {
  const stack = new Stack(new App(), 'Other');
  const vpc = importedVpc(stack);
  expect(() => new MailNetwork(stack, 'Network', { vpc, firewall: { ports: PORTS } })).toThrow(
    /^firewall can not be set with vpc/,
  );
});

// Debian: apt-get install suricata.
const suricata = spawnSync('suricata', ['-V']).status === 0;
(suricata ? describe : describe.skip)(
  `rules, as Suricata reads them${suricata ? '' : ' (it is not installed)'}`,
  () => {
    /** What `suricata -T` says of rules; nothing when it takes them. */
    function complaints(rules: string): string {
      const folder = mkdtempSync(join(tmpdir(), 'mail-suricata-'));
      try {
        writeFileSync(join(folder, 'mail.rules'), rules);
        writeFileSync(join(folder, 'empty'), '');
        writeFileSync(
          join(folder, 'suricata.yaml'),
          [
            '%YAML 1.1',
            '---',
            ...['classification-file', 'reference-config-file', 'threshold-file'].map(
              (name) => `${name}: ${join(folder, 'empty')}`,
            ),
            'vars:',
            '  address-groups: { HOME_NET: "[10.0.0.0/16]", EXTERNAL_NET: "!$HOME_NET" }',
            '  port-groups: { MAIL_PORTS: "[993,587,25]", TLS_PORTS: "[993]" }',
            'app-layer:',
            '  protocols:',
            ...['tls', 'ssh', 'smtp', 'http', 'smb'].map((name) => `    ${name}: { enabled: yes }`),
            '    imap: { enabled: detection-only }',
            '',
          ].join('\n'),
        );
        const { status, stdout, stderr } = spawnSync(
          'suricata',
          ['-T', '-c', join(folder, 'suricata.yaml'), '-S', join(folder, 'mail.rules'), '-l', folder],
          { encoding: 'utf8', timeout: 60_000 },
        );
        return status === 0 ? '' : `${stdout}${stderr}`;
      } finally {
        rmSync(folder, { recursive: true });
      }
    }

    test('takes the built-in ones', () => {
      expect(complaints(rulesOf(network().template))).toBe('');
    }, 60_000);

    test('would refuse a wrong one', () => {
      expect(complaints('drop tcp any any -> any $NO_PORTS (msg:"x"; sid:1;)\n')).toContain('NO_PORTS');
    }, 60_000);
  },
);
