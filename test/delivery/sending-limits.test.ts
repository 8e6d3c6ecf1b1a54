import { Match, Template } from 'aws-cdk-lib/assertions';
import { MailSendingLimits, SendingLimits } from '../../lib/delivery';
import { AlarmTopic } from '../../lib/observability';
import { testStack } from '../support/apps';

test('without options a user may send to a thousand recipients in an hour', () => {
  const { configuration } = new MailSendingLimits(testStack(), 'Limits');
  expect(configuration.environment).toEqual({ MAIL_SEND_PER_USER: '1000', MAIL_SEND_PER_DOMAIN: '20000' });
  expect(configuration.statements).toBeUndefined();
});

test('tells nodes what was chosen', () => {
  const { configuration } = new MailSendingLimits(testStack(), 'Limits', {
    recipientsPerHour: 100,
    domainRecipientsPerHour: 5000,
    exempt: ['newsletter@example.com', 'erp@example.com'],
  });
  expect(configuration.environment).toEqual({
    MAIL_SEND_PER_USER: '100',
    MAIL_SEND_PER_DOMAIN: '5000',
    MAIL_SEND_EXEMPT: 'newsletter@example.com erp@example.com',
  });
});

test('an alarm goes off as soon as somebody was put off', () => {
  const stack = testStack();
  const limits = new MailSendingLimits(stack, 'Limits', { clusterName: 'Mail' });
  limits.addAlarms(new AlarmTopic(stack, 'Alerts').topic);
  Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', {
    Namespace: 'MailPlatform',
    MetricName: 'SendingRefused',
    Dimensions: [{ Name: 'Cluster', Value: 'Mail' }],
    Statistic: 'Sum',
    Threshold: 0,
    EvaluationPeriods: 1,
    ComparisonOperator: 'GreaterThanThreshold',
    AlarmActions: [Match.anyValue()],
  });
});

test.each<[SendingLimits, string]>([
  [{ recipientsPerHour: 5 }, 'recipientsPerHour must be a whole number from 10 to 1000000, got 5'],
  [{ recipientsPerHour: 10.5 }, 'recipientsPerHour must be a whole number from 10 to 1000000, got 10.5'],
  [{ domainRecipientsPerHour: 0 }, 'domainRecipientsPerHour must be a whole number from 10 to 10000000, got 0'],
  [
    { exempt: ['newsletter'] },
    'exempt must have lower-case addresses such as newsletter@example.com, got "newsletter"',
  ],
])('fails when given %j', (limits, message) => {
  expect(() => new MailSendingLimits(testStack(), 'Limits', limits)).toThrow(message);
});
