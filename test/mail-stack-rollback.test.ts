import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { CfnAutoScalingGroup } from 'aws-cdk-lib/aws-autoscaling';
import { Alarm } from 'aws-cdk-lib/aws-cloudwatch';
import { MailStack, MailStackProps } from '../lib';

function mailStack(props: Partial<MailStackProps> = {}): MailStack {
  return new MailStack(new App(), 'MailStack', { domain: 'example.com', ...props });
}

test('rolls a deployment back when an alarm says that new nodes are bad', () => {
  expect(rollbackAlarms(Template.fromStack(mailStack()))).toEqual([
    'AlarmsNodesNotReady',
    'AlarmsMembersLow',
    'AlarmsLeaseLost',
    'AlarmsQueueLong',
    'AlarmsTargetTlsErrors',
  ]);
});

/** Alarms that end an instance refresh, by logical id without its hash, or by name. */
function rollbackAlarms(template: Template): string[] | undefined {
  const [group] = Object.values(template.findResources('AWS::AutoScaling::AutoScalingGroup'));
  const alarms: ({ Ref: string } | string)[] | undefined =
    group.UpdatePolicy.AutoScalingInstanceRefresh.Preferences.AlarmSpecification?.Alarms;
  return alarms?.map((alarm) => (typeof alarm === 'string' ? alarm : alarm.Ref.replace(/[0-9A-F]{8}$/, '')));
}

test("rolls back on the owner's alarms instead, or on none", () => {
  const owner = new Stack(new App(), 'Owner');
  const alarm = Alarm.fromAlarmArn(owner, 'Orders', 'arn:aws:cloudwatch:eu-central-1:111122223333:alarm:orders');
  expect(rollbackAlarms(Template.fromStack(mailStack({ rollbackAlarms: [alarm] })))).toEqual(['orders']);
  expect(rollbackAlarms(Template.fromStack(mailStack({ rollbackAlarms: [] })))).toBeUndefined();
});

// CloudFormation refuses a template whose resources wait for each other. Template.fromStack sees no update policies.
test('no resource waits for itself', () => {
  expect(circle(mailStack())).toEqual([]);
  const stack = mailStack();
  // What the alarm on CPU would do if it rolled deployments back: it has the group's name.
  const group = stack.fleet.autoScalingGroup.node.defaultChild as CfnAutoScalingGroup;
  group.addOverride('UpdatePolicy.AutoScalingInstanceRefresh.Preferences.AlarmSpecification.Alarms', [
    stack.alarms.alarms.CpuHigh.alarmName,
  ]);
  expect(circle(stack)).toContain(stack.getLogicalId(group));
});

/** Logical ids of resources that wait for each other, and of those that wait for these. */
function circle(stack: Stack): string[] {
  const resources: { [id: string]: unknown } = Template.fromStack(stack).toJSON().Resources;
  const waiting = new Map(
    Object.entries(resources).map(([id, resource]) => [id, referenced(resource).filter((other) => other in resources)]),
  );
  let before: number;
  do {
    before = waiting.size;
    for (const [id, others] of waiting) {
      if (!others.some((other) => waiting.has(other))) {
        waiting.delete(id);
      }
    }
  } while (waiting.size < before);
  return [...waiting.keys()];
}

function referenced(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) {
    return [];
  }
  return Object.entries(value).flatMap(([key, content]) => {
    switch (key) {
      case 'Ref':
        return [content as string];
      case 'Fn::GetAtt':
        return [(content as string[])[0]];
      case 'DependsOn':
        return [content as string | string[]].flat();
      default:
        return referenced(content);
    }
  });
}
