import { Alarm, AlarmProps } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';

/** What an alarm of one period needs. */
export type TopicAlarmProps = Omit<AlarmProps, 'evaluationPeriods'> & Partial<Pick<AlarmProps, 'evaluationPeriods'>>;

/**
 * Adds an alarm that tells a topic when it goes off and when it is over; after one period unless
 * `evaluationPeriods` says otherwise.
 */
export function addTopicAlarm(scope: Construct, id: string, topic: ITopic, props: TopicAlarmProps): Alarm {
  const alarm = new Alarm(scope, id, { evaluationPeriods: 1, ...props });
  const action = new SnsAction(topic);
  alarm.addAlarmAction(action);
  alarm.addOkAction(action);
  return alarm;
}
