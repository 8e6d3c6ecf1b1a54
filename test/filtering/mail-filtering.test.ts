import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { App } from 'aws-cdk-lib';
import { FilterOutage, MailFiltering, MailFilteringOptions, MailStack, MailStackProps, OutboundRelay } from '../../lib';
import { testStack } from '../support/apps';

/** What nodes read at their start, of a whole stack. */
function userData(props: Partial<MailStackProps>): string {
  const stack = new MailStack(new App(), 'MailStack', { domain: 'example.com', ...props });
  const [template] = Object.values(Template.fromStack(stack).findResources('AWS::EC2::LaunchTemplate'));
  return JSON.stringify(template.Properties.LaunchTemplateData.UserData);
}

test('by default mail is accepted when nobody can look at it, put off when it is doubtful, and scanned for viruses', () => {
  expect(new MailFiltering(testStack(), 'Filtering').configuration.environment).toEqual({
    MAIL_FILTERING: 'yes',
    MAIL_FILTER_OUTAGE: 'accept',
    MAIL_GREYLISTING: 'yes',
    MAIL_VIRUS_SCAN: 'yes',
    MAIL_JUNK_SCORE: '6',
    MAIL_REJECT_SCORE: '15',
  });
});

test('each choice reaches the nodes', () => {
  const props: MailFilteringOptions = {
    duringOutage: FilterOutage.DEFER,
    greylisting: false,
    virusScan: false,
    junkScore: 5.5,
    rejectScore: 12,
  };
  const { configuration } = new MailFiltering(testStack(), 'Filtering', props);
  expect(configuration.environment).toEqual({
    MAIL_FILTERING: 'yes',
    MAIL_FILTER_OUTAGE: 'defer',
    MAIL_GREYLISTING: 'no',
    MAIL_VIRUS_SCAN: 'no',
    MAIL_JUNK_SCORE: '5.5',
    MAIL_REJECT_SCORE: '12',
  });
  expect(configuration.statements ?? []).toEqual([]);
});

test('virus scanning takes 1.5 GiB of a node, the rest half of one', () => {
  const memory = (virusScan: boolean) =>
    new MailFiltering(testStack(), 'Filtering', { virusScan }).configuration.memory!.toMebibytes();
  expect([memory(true), memory(false)]).toEqual([2048, 512]);
});

test.each<[string, MailFilteringOptions, string]>([
  ['mail goes to Junk before it is put off', { junkScore: 4 }, 'junkScore must be above 4 and <= 100, got 4'],
  ['mail is refused before it goes to Junk', { rejectScore: 6 }, 'rejectScore must be above 6 and <= 100, got 6'],
  ['nothing is ever refused', { rejectScore: 1000 }, 'rejectScore must be above 6 and <= 100, got 1000'],
  ['a score is none', { rejectScore: NaN }, 'rejectScore must be above 6 and <= 100, got NaN'],
])('fails when %s', (_name, props, message) => {
  expect(() => new MailFiltering(testStack(), 'Filtering', props)).toThrow(message);
});

describe('in a MailStack', () => {
  test('someone is told when mail has not been examined for 15 minutes', () => {
    const stack = new MailStack(new App(), 'MailStack', { domain: 'example.com', filtering: {} });
    Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', {
      Namespace: 'MailPlatform',
      MetricName: 'FilterDaemonsDown',
      Dimensions: [{ Name: 'Cluster', Value: stack.fleet.clusterName }],
      Statistic: 'Maximum',
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: 0,
      Period: 300,
      EvaluationPeriods: 3,
      AlarmActions: [stack.resolve(stack.alarmTopic.topicArn)],
      AlarmDescription: Match.stringLikeRegexp('taken unseen'),
    });
  });

  test('nodes filter only when asked to', () => {
    expect(userData({})).not.toContain('MAIL_FILTERING');
    expect(userData({ filtering: {} })).toContain('MAIL_FILTERING=yes');
  });

  test.each<[string, Partial<MailStackProps>, boolean]>([
    ['there is no key', { filtering: {} }, false],
    ['there is a key and no relay', { dns: {} }, true],
    ['SES signs', { dns: {}, relay: OutboundRelay.ses() }, false],
    ['SES signs, and there is a filter anyway', { dns: {}, relay: OutboundRelay.ses(), filtering: {} }, true],
  ])('where %s, nodes sign: %#', (_name, props, signs) => {
    expect(userData(props).includes('MAIL_DKIM_SECRET=')).toBe(signs);
  });

  test('nodes may read the key, and nothing else of it', () => {
    const stack = new MailStack(new App(), 'MailStack', { domain: 'example.com', dns: {} });
    const secret = stack.resolve(stack.dns!.dkimKey.secret.secretArn);
    const policies = Object.values(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy'));
    const statements = policies
      .filter(({ Properties }) => String(Properties.Description).startsWith('Mail nodes'))
      .flatMap(({ Properties }) => Properties.PolicyDocument.Statement as { Action: unknown; Resource: unknown }[])
      .filter(({ Resource }) => JSON.stringify(Resource) === JSON.stringify(secret));
    expect(statements.map(({ Action }) => Action)).toEqual(['secretsmanager:GetSecretValue']);
  });

  test('fails when the nodes have too little memory for signatures of viruses', () => {
    const props = (type: string): Partial<MailStackProps> => ({
      filtering: {},
      instanceType: new InstanceType(type),
    });
    const message = /instanceType must have 4 GiB of memory or more .*, got t4g\.small with 2; .*virusScan: false/;
    expect(() => userData(props('t4g.small'))).toThrow(message);
    expect(() => userData({ ...props('t4g.small'), connectionsPerNode: 100 })).toThrow(message);
    expect(() => userData(props('t4g.medium'))).not.toThrow();
  });

  test('what the filter takes is not there for connections, and is sized for', () => {
    const connections = (props: Partial<MailStackProps>) =>
      /MAIL_CONNECTIONS_MAX=(\d+)/.exec(userData({ instanceType: new InstanceType('t4g.medium'), ...props }))![1];
    expect(connections({})).toBe('1000');
    expect(connections({ filtering: {} })).toBe('500');
    expect(connections({ filtering: {}, demand: { users: 100 } })).toBe('500');
  });
});
