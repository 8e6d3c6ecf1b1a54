import { Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { AccessSource, BlockList, MailBlockLists, MailBlockListsProps, MailService } from '../../lib/access';
import { AccessLogBucket } from '../../lib/archive';
import { MailStack } from '../../lib/mail-stack';
import { AlarmTopic } from '../../lib/observability';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

const OFFERED = [MailService.IMAPS, MailService.SUBMISSION, MailService.MX];

function blockLists(stack: Stack, props: Partial<MailBlockListsProps> = {}): MailBlockLists {
  const { key } = new MailKey(stack, 'Key');
  const made = new MailBlockLists(stack, 'BlockLists', {
    offered: OFFERED,
    encryptionKey: key,
    accessLogsBucket: new AccessLogBucket(stack, 'Logs').bucket,
    ...props,
  });
  made.addAlarms(new AlarmTopic(stack, 'Alerts', { encryptionKey: key }).topic);
  return made;
}

/** Environment of the function that fetches. */
function environment(template: Template): { [name: string]: string } {
  const functions = Object.values(template.findResources('AWS::Lambda::Function'));
  return functions.map(({ Properties }) => Properties.Environment?.Variables).find((found) => found?.LISTS);
}

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = testStack(context);
  const { configuration } = blockLists(stack);
  const template = Template.fromStack(stack);

  test('the bucket keeps versions under a customer key, and stays; its logical id does too', () => {
    template.hasResource('AWS::S3::Bucket', {
      DeletionPolicy: 'Retain',
      Properties: {
        VersioningConfiguration: { Status: 'Enabled' },
        BucketEncryption: {
          ServerSideEncryptionConfiguration: [
            { ServerSideEncryptionByDefault: Match.objectLike({ SSEAlgorithm: 'aws:kms' }), BucketKeyEnabled: true },
          ],
        },
        LoggingConfiguration: Match.objectLike({ LogFilePrefix: 'block-lists/' }),
      },
    });
    expect(Object.keys(template.findResources('AWS::S3::Bucket'))).toContain('BlockListsBucketC05F862C');
  });

  test('nobody but the function can sign', () => {
    template.hasResourceProperties('AWS::KMS::Key', {
      KeySpec: 'ECC_NIST_P256',
      KeyUsage: 'SIGN_VERIFY',
      KeyPolicy: {
        Statement: Match.arrayWith([
          Match.objectLike({
            Sid: 'OnlyTheFunctionSigns',
            Effect: 'Deny',
            Action: 'kms:Sign',
            Condition: {
              ArnNotEquals: {
                'aws:PrincipalArn': { 'Fn::GetAtt': [Match.stringLikeRegexp('^BlockListsHandlerRole'), 'Arn'] },
              },
            },
          }),
        ]),
      },
    });
  });

  test('nodes get the public key of just that key with the deployment, and may read one object', () => {
    const [[id, resource]] = Object.entries(template.findResources('Custom::PublicKey'));
    expect(resource.Properties.KeyArn).toEqual({
      'Fn::GetAtt': [
        Object.keys(template.findResources('AWS::KMS::Key', { Properties: { KeyUsage: 'SIGN_VERIFY' } }))[0],
        'Arn',
      ],
    });
    expect(stack.resolve(configuration)).toMatchObject({
      environment: {
        MAIL_BLOCK_LISTS_OBJECT: { 'Fn::Join': ['', ['s3://', { Ref: 'BlockListsBucketC05F862C' }, '/block-lists']] },
        MAIL_BLOCK_LISTS_KEY: { 'Fn::GetAtt': [id, 'PublicKey'] },
        MAIL_BLOCK_LISTS_SERVICES: 'imaps submission',
      },
    });
    expect(configuration.statements!.flatMap(({ actions }) => actions)).toEqual([
      's3:GetObject',
      's3:ListBucket',
      'kms:Decrypt',
    ]);
  });

  test('fetches Tor exits and DROP every three hours, https only', () => {
    template.hasResourceProperties('AWS::Events::Rule', { ScheduleExpression: 'rate(3 hours)' });
    expect(JSON.parse(environment(template).LISTS)).toEqual([
      { name: 'tor-exits', url: 'https://check.torproject.org/torbulkexitlist', format: 'lines', least: 200 },
      { name: 'spamhaus-drop', url: 'https://www.spamhaus.org/drop/drop_v4.json', format: 'spamhaus', least: 200 },
      { name: 'spamhaus-drop-v6', url: 'https://www.spamhaus.org/drop/drop_v6.json', format: 'spamhaus', least: 10 },
    ]);
    expect(environment(template)).toMatchObject({ GROWTH_MAX: '50', OBJECT_KEY: 'block-lists', BLOCK_LISTS: 'Test' });
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });
});

test('the function may replace one object, and sign', () => {
  const stack = testStack();
  blockLists(stack);
  const policies = Object.entries(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy'));
  const [, policy] = policies.find(([id]) => id.startsWith('BlockListsHandler'))!;
  const statements = policy.Properties.PolicyDocument.Statement as { [name: string]: unknown }[];
  expect(statements.flatMap(({ Action }) => Action)).toEqual([
    's3:GetObject',
    's3:PutObject',
    's3:ListBucket',
    'kms:Decrypt',
    'kms:GenerateDataKey',
    'kms:Sign',
    'logs:CreateLogStream',
    'logs:PutLogEvents',
  ]);
  expect(statements[0].Resource).toEqual({
    'Fn::Join': ['', [{ 'Fn::GetAtt': ['BlockListsBucketC05F862C', 'Arn'] }, '/block-lists']],
  });
});

test('alarms when a list is refused, and when one is stale at the function or on nodes', () => {
  const stack = testStack();
  blockLists(stack, { refreshEvery: Duration.hours(6), staleAfter: Duration.days(2) });
  const template = Template.fromStack(stack);
  const alarm = (properties: object) =>
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      Namespace: 'MailPlatform',
      ComparisonOperator: 'GreaterThanThreshold',
      AlarmActions: [{ Ref: 'AlertsTopicCF7C81C9' }],
      ...properties,
    });
  const byFunction = [{ Name: 'BlockLists', Value: 'Test' }];
  alarm({ MetricName: 'BlockListsRefused', Threshold: 0, Period: 21_600, Dimensions: byFunction });
  alarm({ MetricName: 'BlockListAge', Threshold: 172_800, Period: 21_600, Dimensions: byFunction });
  // Also where the function does not run.
  alarm({
    ...{ MetricName: 'BlockListAge', Threshold: 172_800, Statistic: 'Maximum' },
    Dimensions: [{ Name: 'Cluster', Value: 'Test' }],
  });
});

test('takes lists and services of the owner', () => {
  const stack = testStack();
  const { configuration } = blockLists(stack, {
    lists: [
      BlockList.networks('ours', ['198.51.100.0/24']),
      BlockList.fromUrl({ name: 'theirs', url: 'https://lists.example.net/bad.txt', networksMin: 50 }),
    ],
    services: [MailService.SUBMISSION, MailService.MX],
    growthMax: 200,
  });
  expect(configuration.environment.MAIL_BLOCK_LISTS_SERVICES).toBe('submission mx');
  const { LISTS, GROWTH_MAX } = environment(Template.fromStack(stack));
  expect(JSON.parse(LISTS)).toEqual([
    { name: 'ours', networks: ['198.51.100.0/24'] },
    { name: 'theirs', url: 'https://lists.example.net/bad.txt', format: 'lines', least: 50 },
  ]);
  expect(GROWTH_MAX).toBe('200');
});

test('in a stack, no list may touch its network, its addresses, or whom its owner lets in by name', () => {
  const stack = new MailStack(testStack(), 'Mail', {
    domain: 'example.com',
    services: OFFERED,
    allow: {
      submission: AccessSource.cidrs(['198.51.100.0/24']),
      imaps: AccessSource.prefixList('pl-0123456789abcdef0'),
    },
    connectionLimits: { exempt: ['203.0.113.7/32', '198.51.100.0/24'] },
    blockLists: {},
  });
  const ranges = JSON.stringify(stack.resolve(stack.blockLists!.configuration.environment.MAIL_BLOCK_LISTS_PROTECTED));
  expect(ranges).toMatch(
    /"NetworkVpc\w+","CidrBlock".*"Network\w+EIP\w+"},"\/32.* 198\.51\.100\.0\/24 203\.0\.113\.7\/32"/,
  );
  expect(ranges).not.toMatch(/0\.0\.0\.0|198.*198|pl-/);
  expect(openFindings(stack)).toEqual([]);
});

test('a stack has none unless asked for', () => {
  const stack = new MailStack(testStack(), 'Mail', { domain: 'example.com' });
  expect(stack.blockLists).toBeUndefined();
  expect(JSON.stringify(Template.fromStack(stack))).not.toContain('MAIL_BLOCK_LISTS');
});

test.each<[string, () => Partial<MailBlockListsProps>, string]>([
  ['no list', () => ({ lists: [] }), 'lists must have one list or more, got none'],
  [
    'a list twice',
    () => ({ lists: [BlockList.torExits(), BlockList.torExits()] }),
    'lists must have each name once, got tor-exits twice; remove one',
  ],
  [
    'a service that is not offered',
    () => ({ services: [MailService.POP3S] }),
    'services of block lists must be some of those that are offered (imaps, submission, mx), got pop3s',
  ],
  ['no service', () => ({ services: [] }), 'that are offered (imaps, submission, mx), got none'],
  [
    'minutes',
    () => ({ refreshEvery: Duration.minutes(30) }),
    'refreshEvery of block lists must be 1 to 12 whole hours, got 0.5',
  ],
  [
    'stale too soon',
    () => ({ staleAfter: Duration.hours(5) }),
    'staleAfter of block lists must be 6 to 168 whole hours, got 5',
  ],
  ['any growth', () => ({ growthMax: 0 }), 'growthMax of block lists must be 1 to 1000 whole percent, got 0'],
  [
    'a list in clear',
    () => ({ lists: [BlockList.fromUrl({ name: 'a', url: 'http://example.net/a' })] }),
    'url of the block list a must be https:// with a path and no password, got http://example.net/a',
  ],
  [
    'a name with blanks',
    () => ({ lists: [BlockList.networks('My list', ['192.0.2.0/24'])] }),
    'name of a block list must be 1 to 40 lower-case letters, digits and hyphens, got "My list"',
  ],
  [
    'many networks',
    () => ({
      lists: [
        BlockList.networks(
          'a',
          Array.from({ length: 41 }, (_, index) => `192.0.2.${index}/32`),
        ),
      ],
    }),
    'the block list a must have 1 to 40 networks, got 41; put longer ones at an address (fromUrl)',
  ],
  [
    'no network',
    () => ({ lists: [BlockList.networks('a', ['192.0.2.1/24'])] }),
    'the block list a must begin at the first address of its range, got 192.0.2.1/24; write 192.0.2.0/24',
  ],
  [
    'the office that is let in',
    () => ({
      lists: [BlockList.networks('a', ['198.51.0.0/16'])],
      protectedRanges: ['10.0.0.0/16', '198.51.100.0/24'],
    }),
    'the block list a must not have networks of ours, or such as are let in, got 198.51.0.0/16, in which 198.51.100.0/24 is',
  ],
  [
    'more than a function can be told',
    () => ({
      lists: Array.from({ length: 20 }, (_, index) =>
        BlockList.fromUrl({ name: `list-${index}`, url: `https://example.net/${'a'.repeat(150)}` }),
      ),
    }),
    'lists must be 3000 characters or fewer as JSON, got',
  ],
])('fails when it is given %s', (_what, props, message) => {
  expect(() => blockLists(testStack(), props())).toThrow(message);
});
