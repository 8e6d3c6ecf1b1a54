import { App } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { EdgeTls, MailStack, MailStackProps } from '../../lib';
import { flagSets } from '../support/apps';
import { openFindings } from '../support/nag';

function mailStack(props: Partial<MailStackProps> = {}, context = {}) {
  return new MailStack(new App({ context }), 'MailStack', {
    domain: 'example.com',
    implicitTls: EdgeTls.atNode(),
    globalAccelerator: true,
    ...props,
  });
}

describe.each(flagSets)('with $flags', ({ context }) => {
  test('has no open findings', () => {
    expect(openFindings(mailStack({ shieldAdvanced: true }, context))).toEqual([]);
  });
});

test('takes each service to the balancer, with the addresses of clients, and has the host name', () => {
  const template = Template.fromStack(mailStack());
  template.hasResourceProperties('AWS::GlobalAccelerator::Listener', {
    Protocol: 'TCP',
    PortRanges: [
      { FromPort: 993, ToPort: 993 },
      { FromPort: 587, ToPort: 587 },
    ],
  });
  template.hasResourceProperties('AWS::GlobalAccelerator::EndpointGroup', {
    EndpointConfigurations: [
      { EndpointId: { Ref: Match.stringLikeRegexp('^EdgeLoadBalancer') }, ClientIPPreservationEnabled: true },
    ],
  });
  const [accelerator] = Object.keys(template.findResources('AWS::GlobalAccelerator::Accelerator'));
  template.hasResourceProperties('AWS::Route53::RecordSet', {
    Name: 'mail.example.com.',
    Type: 'A',
    AliasTarget: { DNSName: { 'Fn::GetAtt': [accelerator, 'DnsName'] }, EvaluateTargetHealth: true },
  });
});

test('flows are logged to a bucket that lets them in for this account only', () => {
  const template = Template.fromStack(mailStack());
  const [bucket] = Object.keys(template.findResources('AWS::S3::Bucket')).filter((id) => id.startsWith('AccessLogs'));
  template.hasResourceProperties('AWS::GlobalAccelerator::Accelerator', {
    FlowLogsEnabled: true,
    FlowLogsS3Bucket: { Ref: bucket },
    FlowLogsS3Prefix: 'accelerator',
  });
  template.hasResourceProperties('AWS::S3::BucketPolicy', {
    Bucket: { Ref: bucket },
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({
          Sid: 'FlowLogsWrite',
          Principal: { Service: 'delivery.logs.amazonaws.com' },
          Condition: {
            StringEquals: {
              'aws:SourceAccount': { Ref: 'AWS::AccountId' },
              's3:x-amz-acl': 'bucket-owner-full-control',
            },
          },
        }),
      ]),
    },
  });
});

test('Shield protects it beside the addresses', () => {
  const template = Template.fromStack(mailStack({ shieldAdvanced: true }));
  template.resourceCountIs('AWS::Shield::Protection', 4);
  const [accelerator] = Object.keys(template.findResources('AWS::GlobalAccelerator::Accelerator'));
  template.hasResourceProperties('AWS::Shield::Protection', {
    ResourceArn: { 'Fn::GetAtt': [accelerator, 'AcceleratorArn'] },
  });
});

test('is not there unless asked for', () => {
  const template = Template.fromStack(mailStack({ globalAccelerator: undefined }));
  template.resourceCountIs('AWS::GlobalAccelerator::Accelerator', 0);
});

test.each<[string, Partial<MailStackProps>, RegExp]>([
  ['TLS ends at the balancer', { implicitTls: undefined }, /^globalAccelerator needs TLS at the nodes/],
  ['there is a firewall', { networkFirewall: {} }, /^networkFirewall can't inspect what comes by globalAccelerator/],
])('fails when %s', (_what, props, message) => {
  expect(() => mailStack(props)).toThrow(message);
});
