import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { MailStack, MailStackProps } from '../lib';
import { openFindings } from './support/nag';

function mailStack(props: Partial<MailStackProps> = {}): MailStack {
  return new MailStack(new App(), 'MailStack', { domain: 'example.com', ...props });
}

describe('sized for its users', () => {
  const sized = (props: Partial<MailStackProps>) => {
    const stack = mailStack(props);
    const template = Template.fromStack(stack);
    const [{ Properties: group }] = Object.values(template.findResources('AWS::AutoScaling::AutoScalingGroup'));
    const [{ Properties: launch }] = Object.values(template.findResources('AWS::EC2::LaunchTemplate'));
    const [, connections] = /MAIL_CONNECTIONS_MAX=(\d+)/.exec(JSON.stringify(launch))!;
    return {
      stack,
      template,
      nodes: `${group.MinSize}-${group.MaxSize} ${launch.LaunchTemplateData.InstanceType} of ${connections}`,
    };
  };

  test('takes nodes and alarms from it', () => {
    const { stack, template, nodes } = sized({ demand: { users: 10_000 } });
    expect(nodes).toBe('9-18 m7g.xlarge of 4000');
    template.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'QueueLength', Threshold: 2000 });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'StorageBytes',
      Threshold: 25_000 * 2 ** 30,
    });
    expect(stack.sizing!.monthlyCost!.total).toBeGreaterThan(0);
    expect(openFindings(stack)).toEqual([]);
  });

  test.each<[string, Partial<MailStackProps>, string]>([
    ['the type', { instanceType: new InstanceType('m7g.2xlarge') }, '6-12 m7g.2xlarge of 8000'],
    ['the connections', { connectionsPerNode: 5000 }, '6-12 m7g.large of 5000'],
    ['the fewest nodes', { minNodes: 20 }, '20-40 m7g.xlarge of 4000'],
    ['the most nodes', { maxNodes: 10 }, '9-10 m7g.xlarge of 4000'],
    ['the zones', { zones: 4 }, '8-16 m7g.xlarge of 4000'],
  ])('the owner chooses %s', (_name, props, expected) => {
    expect(sized({ demand: { users: 10_000 }, ...props }).nodes).toBe(expected);
  });

  test('the owner chooses thresholds', () => {
    const { template } = sized({ demand: { users: 10_000 }, alarmThresholds: { queueLengthMax: 77 } });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'QueueLength', Threshold: 77 });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'StorageBytes' });
  });

  test('fails when the users are too many for one', () => {
    expect(() => mailStack({ demand: { users: 250_000 } })).toThrow(
      'demand.users must be <= 100000 for one MailStack, got 250000; make 3 stacks, each with domains of its own',
    );
  });
});
