import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { AutoScalingGroup, InstanceRefreshStrategy, UpdatePolicy } from 'aws-cdk-lib/aws-autoscaling';
import { Alarm, IMetric, MathExpression, Metric } from 'aws-cdk-lib/aws-cloudwatch';
import { InstanceType, LaunchTemplate, MachineImage, Vpc } from 'aws-cdk-lib/aws-ec2';
import { rollBackOnAlarms } from '../../lib/node/rollback-alarms';

const env = { account: '111122223333', region: 'eu-central-1' };

function newStack(app = new App(), id = 'Test'): Stack {
  return new Stack(app, id, { env });
}

function newGroup(stack: Stack): AutoScalingGroup {
  return new AutoScalingGroup(stack, 'Group', {
    vpc: new Vpc(stack, 'Vpc', { availabilityZones: ['eu-central-1a'] }),
    launchTemplate: new LaunchTemplate(stack, 'Template', {
      instanceType: new InstanceType('m7g.large'),
      machineImage: MachineImage.genericLinux({ 'eu-central-1': 'ami-1' }),
    }),
    updatePolicy: UpdatePolicy.instanceRefresh({ strategy: InstanceRefreshStrategy.ROLLING, skipMatching: true }),
  });
}

function newAlarm(
  stack: Stack,
  id: string,
  metric: IMetric = new Metric({ namespace: 'Mail', metricName: id }),
): Alarm {
  return new Alarm(stack, id, { metric, threshold: 1, evaluationPeriods: 1 });
}

function preferences(stack: Stack): { AlarmSpecification?: { Alarms: { Ref: string }[] | string[] } } {
  const [group] = Object.values(Template.fromStack(stack).findResources('AWS::AutoScaling::AutoScalingGroup'));
  return group.UpdatePolicy.AutoScalingInstanceRefresh.Preferences;
}

/** What the group itself reports. */
function cpu(group: AutoScalingGroup): Metric {
  return new Metric({
    namespace: 'AWS/EC2',
    metricName: 'CPUUtilization',
    dimensionsMap: { AutoScalingGroupName: group.autoScalingGroupName },
  });
}

test('names alarms of the stack and imported ones, and leaves the other preferences', () => {
  const stack = newStack();
  const imported = Alarm.fromAlarmArn(stack, 'Imported', 'arn:aws:cloudwatch:eu-central-1:111122223333:alarm:orders');
  rollBackOnAlarms(newGroup(stack), [newAlarm(stack, 'Bad'), imported]);
  expect(preferences(stack)).toEqual({
    SkipMatching: true,
    AlarmSpecification: { Alarms: [{ Ref: expect.stringMatching(/^Bad/) }, 'orders'] },
  });
});

test('an empty list takes alarms away', () => {
  const stack = newStack();
  const group = newGroup(stack);
  rollBackOnAlarms(group, [newAlarm(stack, 'Bad')]);
  rollBackOnAlarms(group, []);
  expect(preferences(stack)).toEqual({ SkipMatching: true });
});

test('fails when there are more alarms than an instance refresh takes', () => {
  const stack = newStack();
  const alarms = Array.from({ length: 11 }, (_, index) => newAlarm(stack, `Alarm${index}`));
  expect(() => rollBackOnAlarms(newGroup(stack), alarms)).toThrow('rollback alarms must be 10 at most, got 11');
});

test.each<[string, (group: AutoScalingGroup) => IMetric]>([
  ['a dimension', cpu],
  ['an expression', (group) => new MathExpression({ expression: '2 * cpu', usingMetrics: { cpu: cpu(group) } })],
])('fails when an alarm watches the group itself by %s', (_name, metric) => {
  const stack = newStack();
  const group = newGroup(stack);
  const alarm = newAlarm(stack, 'Cpu', metric(group));
  expect(() => rollBackOnAlarms(group, [alarm])).toThrow(
    'rollback alarm Test/Cpu must not watch the group by its name, which is there only after the alarm; choose',
  );
});

test('fails when an alarm is of another stack', () => {
  const app = new App();
  const other = newAlarm(newStack(app, 'Other'), 'Bad');
  expect(() => rollBackOnAlarms(newGroup(newStack(app)), [other])).toThrow(
    'rollback alarm Other/Bad must be in the stack of the nodes, or imported; use Alarm.fromAlarmName',
  );
});
