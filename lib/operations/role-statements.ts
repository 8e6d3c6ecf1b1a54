import { Stack } from 'aws-cdk-lib';
import { Effect, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { ILogGroup } from 'aws-cdk-lib/aws-logs';
import { JournalKeys, MailArchive } from '../archive';

/** Tending the nodes of these Auto Scaling groups, by their ARNs, and seeing all nodes. */
export function tendNodes(groupArns: string[]): PolicyStatement[] {
  return [
    new PolicyStatement({
      sid: 'TendNodes',
      // A number of nodes out of the group's bounds is refused; the bounds are changed by a deployment only.
      actions: [
        'autoscaling:CancelInstanceRefresh',
        'autoscaling:CompleteLifecycleAction',
        'autoscaling:SetDesiredCapacity',
        'autoscaling:StartInstanceRefresh',
      ],
      resources: groupArns,
    }),
    new PolicyStatement({
      sid: 'SeeNodes',
      actions: [
        'autoscaling:DescribeAutoScalingGroups',
        'autoscaling:DescribeAutoScalingInstances',
        'autoscaling:DescribeInstanceRefreshes',
        'autoscaling:DescribeLifecycleHooks',
        'autoscaling:DescribeScalingActivities',
        'ec2:DescribeInstances',
        'ssm:DescribeInstanceInformation',
        'ssm:GetConnectionStatus',
      ],
      resources: ['*'],
    }),
  ];
}

/** Reading what CloudTrail, AWS Config and CloudFormation recorded, and how the key is set. */
export function readRecords(stack: Stack, encryptionKey: IKey): PolicyStatement[] {
  return [
    new PolicyStatement({
      sid: 'ReadRecords',
      actions: [
        'cloudtrail:DescribeTrails',
        'cloudtrail:GetTrailStatus',
        'cloudtrail:LookupEvents',
        'config:DescribeComplianceByResource',
        'config:DescribeConfigRules',
        'config:GetComplianceDetailsByConfigRule',
        'config:GetResourceConfigHistory',
        'ssm:DescribeSessions',
      ],
      resources: ['*'],
    }),
    new PolicyStatement({
      sid: 'ReadStack',
      actions: [
        'cloudformation:DescribeStackEvents',
        'cloudformation:DescribeStackResources',
        'cloudformation:DescribeStacks',
        'cloudformation:GetTemplate',
      ],
      resources: [stack.stackId],
    }),
    new PolicyStatement({
      sid: 'SeeKey',
      actions: ['kms:DescribeKey', 'kms:GetKeyPolicy', 'kms:GetKeyRotationStatus'],
      resources: [encryptionKey.keyArn],
    }),
  ];
}

/** No mail, no secrets, no shells; also when somebody gives the role more, such as AWS' ReadOnlyAccess. */
export function noMailNorSecrets({ bucket }: MailArchive, keys?: JournalKeys): PolicyStatement[] {
  return [
    new PolicyStatement({
      sid: 'NoMail',
      effect: Effect.DENY,
      actions: ['s3:GetObject', 's3:GetObjectVersion'],
      resources: [
        ...['journal/*', 'packs/*'].map((folder) => bucket.arnForObjects(folder)),
        ...(keys ? [keys.bucket.arnForObjects('private/*')] : []),
      ],
    }),
    new PolicyStatement({
      sid: 'NoSecrets',
      effect: Effect.DENY,
      actions: ['secretsmanager:GetSecretValue', 'ssm:StartSession'],
      resources: ['*'],
    }),
  ];
}

/** Reading alarms, metrics, and these logs. */
export function readAlarmsAndLogs(logGroups: ILogGroup[]): PolicyStatement[] {
  const alarms = new PolicyStatement({
    sid: 'ReadAlarms',
    actions: [
      'cloudwatch:DescribeAlarmHistory',
      'cloudwatch:DescribeAlarms',
      'cloudwatch:GetMetricData',
      'cloudwatch:ListMetrics',
      'logs:DescribeLogGroups',
      'logs:GetQueryResults',
    ],
    resources: ['*'],
  });
  if (logGroups.length === 0) {
    return [alarms];
  }
  const logs = new PolicyStatement({
    sid: 'ReadLogs',
    actions: ['logs:DescribeLogStreams', 'logs:FilterLogEvents', 'logs:GetLogEvents', 'logs:StartQuery'],
    resources: logGroups.map((group) => group.logGroupArn),
  });
  return [alarms, logs];
}
