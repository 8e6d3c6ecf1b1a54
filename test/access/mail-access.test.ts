import { Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { AccessSource, MailAccess, MailAccessProps, MailAllowlist, MailService } from '../../lib/access';
import { MailNetwork } from '../../lib/network';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';
import { importedVpc } from '../support/networks';

const BOTH = [MailService.IMAPS, MailService.SUBMISSION];

function access(props: Partial<MailAccessProps> = {}, stack = testStack()): { stack: Stack; access: MailAccess } {
  const vpc = importedVpc(stack);
  return { stack, access: new MailAccess(stack, 'Access', { vpc, services: BOTH, ...props }) };
}

interface Rule {
  readonly FromPort: number;
  readonly IpProtocol: string;
  readonly CidrIp?: string;
}

function inlineRules(stack: Stack, group: string, direction: 'Ingress' | 'Egress'): Rule[] {
  const groups = Template.fromStack(stack).findResources('AWS::EC2::SecurityGroup', {
    Properties: { GroupDescription: group },
  });
  return Object.values(groups)[0].Properties[`SecurityGroup${direction}`] ?? [];
}

function pairs(stack: Stack, type: 'Ingress' | 'Egress'): string[] {
  const rules = Template.fromStack(stack).findResources(`AWS::EC2::SecurityGroup${type}`);
  const name = (group: { 'Fn::GetAtt': string[] }) => /Access(Edge|Node|Storage)/.exec(group['Fn::GetAtt'][0])?.[1];
  return Object.values(rules)
    .map(({ Properties: rule }) =>
      type === 'Ingress'
        ? `${name(rule.SourceSecurityGroupId)}→${name(rule.GroupId)}:${rule.FromPort}`
        : `${name(rule.GroupId)}→${name(rule.DestinationSecurityGroupId)}:${rule.FromPort}`,
    )
    .sort();
}

describe.each(flagSets)('with $flags', ({ context }) => {
  test('clients reach the ports of the offered services and nothing else', () => {
    const { stack } = access({ services: MailService.all() }, testStack(context));
    expect(inlineRules(stack, 'Mail balancer', 'Ingress').map((rule) => [rule.FromPort, rule.CidrIp])).toEqual([
      [993, '0.0.0.0/0'],
      [587, '0.0.0.0/0'],
      [465, '0.0.0.0/0'],
      [995, '0.0.0.0/0'],
      [25, '0.0.0.0/0'],
      [4190, '0.0.0.0/0'],
    ]);
  });

  test('the balancer reaches service and health ports of nodes, nodes each other and the store, nobody SSH', () => {
    const { stack } = access({}, testStack(context));
    const expected = [
      'Edge→Node:587',
      'Edge→Node:8080',
      'Edge→Node:993',
      'Node→Node:10024',
      'Node→Node:10993',
      'Node→Storage:2049',
    ];
    expect(pairs(stack, 'Ingress')).toEqual(expected);
    expect(pairs(stack, 'Egress')).toEqual(expected);
    expect(inlineRules(stack, 'Mail nodes', 'Ingress')).toEqual([]);
    expect(inlineRules(stack, 'Mail store', 'Ingress')).toEqual([]);
  });

  test('there are no open findings', () => {
    const stack = testStack(context);
    const { vpc } = new MailNetwork(stack, 'Network');
    new MailAccess(stack, 'Access', { vpc, services: MailService.all() });
    expect(openFindings(stack)).toEqual([]);
  });
});

test('nodes reach outside what they need and no more', () => {
  const { stack } = access();
  const rules = inlineRules(stack, 'Mail nodes', 'Egress');
  expect(rules.map((rule) => `${rule.IpProtocol} ${rule.FromPort}`).sort()).toEqual(
    ['tcp 443', 'tcp 80', 'udp 53', 'tcp 53', 'udp 123', 'tcp 25', 'tcp 465', 'tcp 587'].sort(),
  );
});

test('nodes hand over sessions of exactly the services that open mailboxes', () => {
  const { stack } = access({ services: MailService.all() });
  const between = pairs(stack, 'Ingress').filter((pair) => pair.startsWith('Node→Node'));
  expect(between).toEqual(['Node→Node:10024', 'Node→Node:10993', 'Node→Node:10995', 'Node→Node:14190']);
});

test('the store reaches nothing', () => {
  const { stack } = access();
  expect(inlineRules(stack, 'Mail store', 'Egress')).toEqual([
    expect.objectContaining({ CidrIp: '255.255.255.255/32' }),
  ]);
});

test('a service is open to its ranges, lists and prefix lists only', () => {
  const stack = testStack();
  const offices = new MailAllowlist(stack, 'Offices', { cidrs: ['192.0.2.0/24', '198.51.100.0/24'] });
  access(
    {
      services: MailService.all(),
      allow: {
        submission: AccessSource.cidrs(['203.0.113.0/24']),
        managesieve: AccessSource.allowlist(offices),
        mx: AccessSource.prefixList('pl-0123456789abcdef0'),
        pop3s: AccessSource.nowhere(),
        submissions: AccessSource.anyOf(AccessSource.cidrs(['203.0.113.0/24']), AccessSource.allowlist(offices)),
      },
    },
    stack,
  );
  const list = { 'Fn::GetAtt': [Match.stringLikeRegexp('Offices'), 'PrefixListId'] };
  const rules = inlineRules(stack, 'Mail balancer', 'Ingress');
  const of = (port: number) => rules.filter((rule) => rule.FromPort === port);
  expect(of(993)).toEqual([expect.objectContaining({ CidrIp: '0.0.0.0/0' })]);
  expect(of(587)).toEqual([expect.objectContaining({ CidrIp: '203.0.113.0/24' })]);
  expect(of(995)).toEqual([]);
  expect(of(465)).toEqual([expect.objectContaining({ CidrIp: '203.0.113.0/24' })]);
  Template.fromStack(stack).hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
    FromPort: 25,
    SourcePrefixListId: 'pl-0123456789abcdef0',
  });
  for (const port of [465, 4190]) {
    Template.fromStack(stack).hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
      FromPort: port,
      SourcePrefixListId: list,
    });
  }
});

test('imported security groups get the rules', () => {
  const stack = testStack();
  const group = (id: string) =>
    SecurityGroup.fromSecurityGroupId(stack, id, `sg-${id.toLowerCase()}`, { allowAllOutbound: false });
  const { access: created } = access(
    {
      edgeSecurityGroup: group('Edge'),
      nodeSecurityGroup: group('Node'),
      storageSecurityGroup: group('Storage'),
    },
    stack,
  );
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::EC2::SecurityGroup', 0);
  template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { GroupId: 'sg-edge', FromPort: 993 });
  template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { GroupId: 'sg-storage', FromPort: 2049 });
  template.hasResourceProperties('AWS::EC2::SecurityGroupEgress', { GroupId: 'sg-node', FromPort: 443 });
  expect(created.nodeSecurityGroup.securityGroupId).toBe('sg-node');
});

test('warns when the lists take more rules than an account has by default', () => {
  const cidrs = Array.from({ length: 60 }, (_, index) => `192.0.2.${index * 4}/30`);
  const { stack } = access({ allow: { imaps: AccessSource.cidrs(cidrs) } });
  Annotations.fromStack(stack).hasWarning('/Test/Access', Match.stringLikeRegexp('clients take 61 rules'));
});

test.each<[string, Partial<MailAccessProps>, RegExp]>([
  [
    'IMAPS is missing',
    { services: [MailService.SUBMISSION] },
    /^services must have imaps \(port 993\), got submission/,
  ],
  [
    'submission is missing',
    { services: [MailService.IMAPS] },
    /^services must have submission \(port 587\), got imaps/,
  ],
  ['there is no service', { services: [] }, /^services must have imaps .* got none/],
  ['a service is there twice', { services: [...BOTH, MailService.IMAPS] }, /once, got imaps twice; remove one/],
  ['allow has an unknown service', { allow: { imap: AccessSource.anywhere() } }, /unknown mail service "imap"/],
  [
    'allow has a service not offered',
    { allow: { mx: AccessSource.anywhere() } },
    /\(imaps, submission\), got mx; add it/,
  ],
])('fails when %s', (_what, props, message) => {
  expect(() => access(props)).toThrow(message);
});

test.each<[string, () => AccessSource, RegExp]>([
  ['ranges overlap', () => AccessSource.cidrs(['10.0.0.0/8', '10.1.0.0/16']), /must not overlap/],
  ['a range is none', () => AccessSource.cidrs(['office']), /must be an IPv4 range/],
  ['there are no ranges', () => AccessSource.cidrs([]), /use AccessSource.nowhere\(\)/],
  ['a range is the internet', () => AccessSource.cidrs(['0.0.0.0/0']), /use AccessSource.anywhere\(\)/],
  [
    'a prefix list id is malformed',
    () => AccessSource.prefixList('pl-123'),
    /pl- and 8 or 17 hexadecimal digits, got "pl-123"/,
  ],
])('fails when %s', (_what, source, message) => {
  expect(source).toThrow(message);
});
