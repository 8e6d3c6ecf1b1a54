import { Duration } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { Metric } from 'aws-cdk-lib/aws-cloudwatch';
import { SslPolicy } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { HostedZone, IHostedZone, PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { MailAccess, MailService } from '../../lib/access';
import { EdgeTls, MailEdge, MailEdgeProps } from '../../lib/edge';
import { MailNetwork } from '../../lib/network';
import { environments, flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';
import { importedVpc } from '../support/networks';

const BOTH = [MailService.IMAPS, MailService.SUBMISSION];
const POST_QUANTUM = 'ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09';

function importedZone(scope: Construct, zoneName = 'example.com'): IHostedZone {
  return HostedZone.fromHostedZoneAttributes(scope, 'Zone', { hostedZoneId: 'Z0123456789ABCDEFGHIJ', zoneName });
}

function edge(props: Partial<MailEdgeProps> = {}, stack = testStack(), ownNetwork = false) {
  const network = new MailNetwork(stack, 'Network', ownNetwork ? {} : { vpc: importedVpc(stack) });
  const services = props.services ?? BOTH;
  const securityGroup = new MailAccess(stack, 'Access', { vpc: network.vpc, services: MailService.all() })
    .edgeSecurityGroup;
  const hostedZone = 'hostedZone' in props ? props.hostedZone : importedZone(stack);
  const created = new MailEdge(stack, 'Edge', {
    network,
    securityGroup,
    hostname: 'mail.example.com',
    ...props,
    services,
    hostedZone,
  });
  return { stack, edge: created, template: Template.fromStack(stack) };
}

function listeners(template: Template): Record<string, unknown>[] {
  return Object.values(template.findResources('AWS::ElasticLoadBalancingV2::Listener')).map((one) => one.Properties);
}

function attributes(properties: { ListenerAttributes?: { Key: string; Value: string }[] }): Record<string, string> {
  return Object.fromEntries((properties.ListenerAttributes ?? []).map(({ Key, Value }) => [Key, Value]));
}

describe.each(flagSets)('with $flags', ({ context }) => {
  describe.each(environments)('in $where', ({ env }) => {
    test.each([
      ['an own network and zone', true],
      ['an imported network and zone', false],
    ])('there are no open findings with %s', (_what, own) => {
      const stack = testStack(context, env);
      const hostedZone = own ? new PublicHostedZone(stack, 'OwnZone', { zoneName: 'mail.example.com' }) : undefined;
      edge({ services: MailService.all(), ...(hostedZone && { hostedZone }) }, stack, own);
      const findings = openFindings(stack).filter((line) => !line.includes('Test/OwnZone'));
      expect(findings).toEqual([]);
    });

    test('there are no open findings with TLS at the nodes', () => {
      const stack = testStack(context, env);
      edge({ services: MailService.all(), implicitTls: EdgeTls.atNode() }, stack);
      expect(openFindings(stack)).toEqual([]);
    });
  });

  test('the balancer has a fixed address in each zone, a security group, and the attributes it needs', () => {
    const { template } = edge({}, testStack(context));
    template.resourceCountIs('AWS::EC2::EIP', 3);
    const address = { AllocationId: { 'Fn::GetAtt': [Match.stringLikeRegexp('EdgeAddress\\d'), 'AllocationId'] } };
    template.hasResourceProperties('AWS::ElasticLoadBalancingV2::LoadBalancer', {
      Type: 'network',
      Scheme: 'internet-facing',
      IpAddressType: 'ipv4',
      SecurityGroups: [{ 'Fn::GetAtt': [Match.stringLikeRegexp('AccessEdgeSecurityGroup'), 'GroupId'] }],
      SubnetMappings: [
        Match.objectLike({ SubnetId: 'subnet-public1', ...address }),
        Match.objectLike({ SubnetId: 'subnet-public2', ...address }),
        Match.objectLike({ SubnetId: 'subnet-public3', ...address }),
      ],
      LoadBalancerAttributes: Match.arrayWith([
        { Key: 'deletion_protection.enabled', Value: 'true' },
        { Key: 'load_balancing.cross_zone.enabled', Value: 'true' },
        { Key: 'zonal_shift.config.enabled', Value: 'true' },
        { Key: 'access_logs.s3.enabled', Value: 'true' },
      ]),
    });
  });

  test('implicit TLS ends at the balancer with a post-quantum policy and goes on to the node as TLS', () => {
    const { template } = edge({ services: MailService.all() }, testStack(context));
    for (const port of [993, 465, 995]) {
      template.hasResourceProperties('AWS::ElasticLoadBalancingV2::Listener', {
        Port: port,
        Protocol: 'TLS',
        SslPolicy: POST_QUANTUM,
        Certificates: [{ CertificateArn: Match.anyValue() }],
      });
      template.hasResourceProperties('AWS::ElasticLoadBalancingV2::TargetGroup', { Port: port, Protocol: 'TLS' });
    }
  });
});

test('STARTTLS ports pass through', () => {
  const { template } = edge({ services: MailService.all() });
  for (const port of [587, 25, 4190]) {
    template.hasResourceProperties('AWS::ElasticLoadBalancingV2::Listener', {
      Port: port,
      Protocol: 'TCP',
      SslPolicy: Match.absent(),
      Certificates: Match.absent(),
    });
    template.hasResourceProperties('AWS::ElasticLoadBalancingV2::TargetGroup', { Port: port, Protocol: 'TCP' });
  }
});

test('TLS at the nodes makes every listener pass through, without certificate and log bucket', () => {
  const { template, edge: created } = edge({ services: MailService.all(), implicitTls: EdgeTls.atNode() });
  expect(listeners(template).map((listener) => listener.Protocol)).toEqual(Array(6).fill('TCP'));
  template.resourceCountIs('AWS::CertificateManager::Certificate', 0);
  template.resourceCountIs('AWS::S3::Bucket', 0);
  expect(created.certificate).toBeUndefined();
});

test.each([
  ['by default', {}, { 993: '1860', 587: '660', 4190: '1860', 995: '660' }],
  [
    'as chosen',
    { implicitTls: EdgeTls.atNode({ idleTimeout: Duration.hours(1) }), starttlsIdleTimeout: Duration.minutes(20) },
    { 993: '3600', 587: '1200', 4190: '1200', 995: '3600' },
  ],
])('TCP listeners let connections be silent longer than the protocol does, %s', (_what, props, expected) => {
  const { template } = edge({ services: MailService.all(), implicitTls: EdgeTls.atNode(), ...props });
  const timeouts = Object.fromEntries(
    listeners(template).map((listener) => [listener.Port, attributes(listener)['tcp.idle_timeout.seconds']]),
  );
  expect(timeouts).toMatchObject(expected);
});

test('TLS listeners have no idle timeout, which AWS refuses', () => {
  const { template } = edge();
  const tls = listeners(template).filter((listener) => listener.Protocol === 'TLS');
  expect(tls.map(attributes)).toEqual([{}]);
});

test('nodes are asked on their health port, keep client addresses and are drained', () => {
  const { template, edge: created } = edge({ services: MailService.all() });
  expect(created.targetGroups).toHaveLength(6);
  template.allResourcesProperties('AWS::ElasticLoadBalancingV2::TargetGroup', {
    TargetType: 'instance',
    HealthCheckProtocol: 'HTTP',
    HealthCheckPort: '8080',
    HealthCheckPath: '/health',
    HealthCheckIntervalSeconds: 5,
    HealthCheckTimeoutSeconds: 2,
    HealthyThresholdCount: 2,
    UnhealthyThresholdCount: 2,
    Matcher: { HttpCode: '200' },
    TargetGroupAttributes: Match.arrayWith([
      { Key: 'deregistration_delay.timeout_seconds', Value: '30' },
      { Key: 'proxy_protocol_v2.enabled', Value: 'false' },
      { Key: 'preserve_client_ip.enabled', Value: 'true' },
      { Key: 'deregistration_delay.connection_termination.enabled', Value: 'true' },
    ]),
  });
});

test('addresses stay when the stack is deleted', () => {
  edge().template.allResources('AWS::EC2::EIP', { DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' });
});

test.each([
  ['of a known zone', 'example.com'],
  ['of the name itself', 'mail.example.com'],
])('the host name %s leads to the balancer', (_what, zoneName) => {
  const stack = testStack();
  const { template } = edge({ hostedZone: importedZone(stack, zoneName) }, stack);
  template.hasResourceProperties('AWS::Route53::RecordSet', {
    Name: 'mail.example.com.',
    Type: 'A',
    AliasTarget: Match.objectLike({ EvaluateTargetHealth: true }),
  });
});

test('access logs are let in from this account only', () => {
  const { template } = edge();
  template.hasResourceProperties('AWS::S3::BucketPolicy', {
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({
          Sid: 'BalancerLogsWrite',
          Action: 's3:PutObject',
          Principal: { Service: 'delivery.logs.amazonaws.com' },
          Condition: Match.objectLike({
            StringEquals: {
              'aws:SourceAccount': { Ref: 'AWS::AccountId' },
              's3:x-amz-acl': 'bucket-owner-full-control',
            },
          }),
        }),
        Match.objectLike({ Sid: 'BalancerLogsCheck', Action: 's3:GetBucketAcl' }),
      ]),
    },
  });
});

describe('imported', () => {
  test('addresses, certificate and policy are used, and no zone is needed', () => {
    const stack = testStack();
    const certificate = Certificate.fromCertificateArn(
      stack,
      'Mine',
      'arn:aws:acm:eu-central-1:111122223333:certificate/00000000-0000-0000-0000-000000000000',
    );
    const allocationIds = ['eipalloc-1', 'eipalloc-2', 'eipalloc-3'];
    const sslPolicy = SslPolicy.TLS13_13_PQ;
    const implicitTls = EdgeTls.atBalancer({ certificate, sslPolicy });
    const { template, edge: created } = edge({ hostedZone: undefined, allocationIds, implicitTls }, stack);
    template.resourceCountIs('AWS::EC2::EIP', 0);
    template.resourceCountIs('AWS::CertificateManager::Certificate', 0);
    template.resourceCountIs('AWS::Route53::RecordSet', 0);
    template.hasResourceProperties('AWS::ElasticLoadBalancingV2::Listener', { SslPolicy: sslPolicy });
    expect(created.certificate).toBe(certificate);
    expect(created.allocationIds).toEqual(allocationIds);
  });

  test('bucket that this app owns gets the policy', () => {
    const stack = testStack();
    const accessLogsBucket = new Bucket(stack, 'Logs');
    const { template } = edge({ accessLogsBucket, accessLogsPrefix: 'balancer' }, stack);
    template.resourceCountIs('AWS::S3::Bucket', 1);
    template.hasResourceProperties('AWS::ElasticLoadBalancingV2::LoadBalancer', {
      LoadBalancerAttributes: Match.arrayWith([{ Key: 'access_logs.s3.prefix', Value: 'balancer' }]),
    });
    template.hasResource('AWS::ElasticLoadBalancingV2::LoadBalancer', {
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('LogsPolicy')]),
    });
  });

  test('bucket of somebody else is used with a warning about its policy', () => {
    const stack = testStack();
    edge({ accessLogsBucket: Bucket.fromBucketName(stack, 'Logs', 'logs-of-the-company') }, stack);
    Annotations.fromStack(stack).hasWarning('*', Match.stringLikeRegexp('let delivery.logs.amazonaws.com'));
  });
});

test.each<[keyof MailEdge, string, string]>([
  ['metricUnhealthyHosts', 'UnHealthyHostCount', 'Maximum'],
  ['metricHealthyHosts', 'HealthyHostCount', 'Minimum'],
  ['metricClientTlsErrors', 'ClientTLSNegotiationErrorCount', 'Sum'],
  ['metricTargetTlsErrors', 'TargetTLSNegotiationErrorCount', 'Sum'],
  ['metricNewFlows', 'NewFlowCount', 'Sum'],
  ['metricActiveFlows', 'ActiveFlowCount', 'Average'],
  ['metricRejectedFlows', 'RejectedFlowCount', 'Sum'],
  ['metricPortAllocationErrors', 'PortAllocationErrorCount', 'Sum'],
  ['metricBlockedFlows', 'SecurityGroupBlockedFlowCount_Inbound_TCP', 'Sum'],
  ['metricUnhealthyRoutingFlows', 'UnhealthyRoutingFlowCount', 'Sum'],
  ['metricNodeResets', 'TCP_Target_Reset_Count', 'Sum'],
  ['metricBalancerResets', 'TCP_ELB_Reset_Count', 'Sum'],
  ['metricProcessedBytes', 'ProcessedBytes', 'Sum'],
])('%s is %s of the balancer', (method, metricName, statistic) => {
  const { edge: created } = edge();
  const read = created[method] as (this: MailEdge, options?: object) => Metric;
  const metric = read.call(created);
  expect(metric).toMatchObject({ namespace: 'AWS/NetworkELB', metricName, statistic });
  expect(Object.keys(metric.dimensions ?? {})).toContain('LoadBalancer');
  expect(read.call(created, { period: Duration.minutes(1) }).period.toSeconds()).toBe(60);
});

test('ids of what outlives the stack do not change', () => {
  const { template } = edge();
  expect(Object.keys(template.findResources('AWS::EC2::EIP'))).toMatchInlineSnapshot(`
   [
     "EdgeAddress11A6D1280",
     "EdgeAddress299E7A027",
     "EdgeAddress3D381F0C3",
   ]
  `);
  expect(Object.keys(template.findResources('AWS::S3::Bucket'))).toMatchInlineSnapshot(`
   [
     "EdgeAccessLogsBucketDEE11E76",
   ]
  `);
});

test.each<[string, Partial<MailEdgeProps>, RegExp]>([
  ['IMAPS is missing', { services: [MailService.SUBMISSION] }, /^services must have imaps \(port 993\)/],
  ['submission is missing', { services: [MailService.IMAPS] }, /^services must have submission \(port 587\)/],
  ['a service is there twice', { services: [...BOTH, MailService.IMAPS] }, /got imaps twice/],
  [
    'there is neither a certificate nor a zone',
    { hostedZone: undefined },
    /^hostedZone must be given when TLS ends at/,
  ],
  ['the zone does not hold the name', { hostname: 'mail.example.org' }, /host name mail.example.org, got example.com/],
  ['the addresses are too few', { allocationIds: ['eipalloc-1'] }, /^allocationIds must have one .* 3 zones, got 1$/],
  ['a STARTTLS idle timeout is short', { starttlsIdleTimeout: Duration.seconds(59) }, /60 to 6000 .* got 59 s/],
  ['a drain is long', { drainTimeout: Duration.hours(2) }, /^drainTimeout must be 0 to 3600 s, got 7200 s/],
  ['the log folder has a reserved name', { accessLogsPrefix: 'AWSLogs' }, /^accessLogsPrefix must not have AWSLogs/],
])('fails when %s', (_what, props, message) => {
  expect(() => edge(props)).toThrow(message);
});

test.each([59, 6001, 0.5])('fails when the idle timeout of TLS at the node is %d s', (seconds) => {
  expect(() => EdgeTls.atNode({ idleTimeout: Duration.millis(seconds * 1000) })).toThrow(
    `idleTimeout must be 60 to 6000 whole seconds, got ${seconds} s`,
  );
});

test('fails when TLS at the balancer has an idle timeout', () => {
  expect(() => EdgeTls.atBalancer({ idleTimeout: Duration.minutes(30) })).toThrow(
    'idleTimeout can not be set with TLS at the balancer, where it is fixed at 350 s, got 1800 s',
  );
});

test('two syntheses are the same', () => {
  expect(JSON.stringify(edge().template.toJSON())).toBe(JSON.stringify(edge().template.toJSON()));
});
