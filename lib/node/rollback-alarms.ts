import { Stack } from 'aws-cdk-lib';
import { AutoScalingGroup, CfnAutoScalingGroup } from 'aws-cdk-lib/aws-autoscaling';
import { CfnAlarm, IAlarm } from 'aws-cdk-lib/aws-cloudwatch';

/** Alarms that an instance refresh takes (EC2 Auto Scaling API, `AlarmSpecification`). */
const ALARMS_MAX = 10;

/**
 * Writes into a group's update policy which alarms end an instance refresh. CloudFormation then rolls the stack back, and
 * with it the nodes (docs/adr/0007-rollback-on-alarm.md).
 *
 * @param alarms all of them; what was there before is replaced
 * @throws when there are more than 10, when one is of another stack, or when one watches the group itself
 */
export function rollBackOnAlarms(group: AutoScalingGroup, alarms: IAlarm[]): void {
  if (alarms.length > ALARMS_MAX) {
    throw new Error(`rollback alarms must be ${ALARMS_MAX} at most, got ${alarms.length}; combine some of them`);
  }
  const resource = group.node.defaultChild as CfnAutoScalingGroup;
  for (const alarm of alarms) {
    checkAlarm(resource, alarm);
  }
  const refresh = resource.cfnOptions.updatePolicy!.autoScalingInstanceRefresh!;
  const alarmSpecification = alarms.length > 0 ? { alarms: alarms.map(({ alarmName }) => alarmName) } : undefined;
  resource.cfnOptions.updatePolicy = {
    autoScalingInstanceRefresh: { ...refresh, preferences: { ...refresh.preferences, alarmSpecification } },
  };
}

/** What CloudFormation would find only at the deployment, and name no cause of. */
function checkAlarm(group: CfnAutoScalingGroup, alarm: IAlarm): void {
  const resource = alarm.node.defaultChild;
  if (!(resource instanceof CfnAlarm)) {
    return; // Known by its name: it is there already.
  }
  const stack = Stack.of(group);
  if (Stack.of(resource) !== stack) {
    throw new Error(
      `rollback alarm ${alarm.node.path} must be in the stack of the nodes, or imported; use Alarm.fromAlarmName`,
    );
  }
  const watched = JSON.stringify(stack.resolve([resource.dimensions, resource.metrics]));
  if (watched.includes(`"Ref":"${stack.getLogicalId(group)}"`)) {
    throw new Error(
      `rollback alarm ${alarm.node.path} must not watch the group by its name, which is there only after the alarm; ` +
        'choose a metric by cluster or target group',
    );
  }
}
