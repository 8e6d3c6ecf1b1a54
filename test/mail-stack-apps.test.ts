import { App, CfnParameter, Environment, Stack, Stage } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { Key } from 'aws-cdk-lib/aws-kms';
import { PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { Topic } from 'aws-cdk-lib/aws-sns';
import {
  InboundMail,
  MailDirectory,
  MailNetwork,
  MailService,
  MailStack,
  MailStackProps,
  OutboundRelay,
  SingleSignOn,
} from '../lib';
import { environments } from './support/apps';

jest.setTimeout(120_000);

const env = { account: '111122223333', region: 'eu-central-1' };

/** Whatever takes the stack's key, and says of it in a policy who may use it. */
const MUCH: Partial<MailStackProps> = {
  services: MailService.all(),
  dns: {},
  journal: {},
  filtering: {},
  blockLists: {},
  backup: {},
  relay: OutboundRelay.ses(),
  senderRewriting: true,
  singleSignOn: SingleSignOn.cognito(),
  directory: MailDirectory.aurora(),
  restoreAccess: { sources: ['192.0.2.7/32'] },
};

test('two mail systems of an account share no name that AWS wants to be unique', () => {
  const app = new App();
  const stacks = ['A', 'B'].map((id) => new MailStack(app, id, { env, domain: `${id.toLowerCase()}.com`, ...MUCH }));
  const [a, b] = stacks.map((stack) => names(Template.fromStack(stack)));
  expect(a.length).toBeGreaterThan(0);
  expect(a.filter((name) => b.includes(name))).toEqual([]);
});

/** Names that the template gives, by type; but for titles, and those of parts of a resource that has an id. */
function names(template: Template): string[] {
  const resources = Object.values(template.toJSON().Resources) as { Type: string; Properties?: object }[];
  return resources.flatMap(({ Type, Properties = {} }) =>
    Object.entries(Properties)
      .filter(([key, value]) => typeof value === 'string' && /Name$/.test(key))
      .filter(([key]) => !PARTS.has(`${Type} ${key}`))
      .map(([key, value]) => `${Type} ${key} ${value}`),
  );
}

const PARTS = new Set([
  'AWS::ApiGatewayV2::Api Name',
  'AWS::ApiGatewayV2::Stage StageName',
  'AWS::SNS::Topic DisplayName',
  'AWS::CloudWatch::Alarm MetricName',
  'AWS::AutoScaling::LifecycleHook LifecycleHookName',
  'AWS::Backup::RestoreTestingSelection RestoreTestingSelectionName',
  'AWS::RDS::DBCluster DatabaseName',
]);

test.each(environments)('is part of a stage in $where', ({ env: place }: { env?: Environment }) => {
  const app = new App();
  const stage = new Stage(app, 'Production', { env: place });
  const stack = new MailStack(stage, 'MailStack', { domain: 'example.com', dns: {} });
  expect(stack.stackName).toBe('Production-MailStack');
  expect(() => app.synth()).not.toThrow();
});

describe('what another stack of the app has', () => {
  const bring: [string, (base: Stack) => Partial<MailStackProps>][] = [
    ['a key', (base) => ({ encryptionKey: new Key(base, 'Key') })],
    ['a key, with mail from SES', (base) => ({ encryptionKey: new Key(base, 'Key'), inbound: InboundMail.ses() })],
    ['a network of ours', (base) => ({ vpc: new MailNetwork(base, 'Network').vpc, dns: undefined })],
    ['a network', (base) => ({ vpc: new Vpc(base, 'Vpc', { availabilityZones: ['a', 'b', 'c'] }), dns: undefined })],
    ['a zone', (base) => ({ hostedZone: new PublicHostedZone(base, 'Zone', { zoneName: 'example.com' }) })],
    ['a topic with its key', (base) => ({ alarmTopic: new Topic(base, 'Topic', { masterKey: new Key(base, 'Key') }) })],
  ];

  test.each(bring)('is taken, and waits for nothing of the mail system: %s', (_what, props) => {
    const app = new App();
    const base = new Stack(app, 'Base', { env });
    const stack = new MailStack(app, 'MailStack', { env, domain: 'example.com', ...MUCH, ...props(base) });
    app.synth(); // throws when the stacks would wait for each other
    expect(stack.dependencies).toContain(base);
    expect(base.dependencies).toEqual([]);
  });
});

describe('what is known at the deployment only', () => {
  const parameters = () => {
    const app = new App();
    const stack = new Stack(app, 'Parameters');
    return {
      app,
      text: new CfnParameter(stack, 'Text').valueAsString,
      number: new CfnParameter(stack, 'Number', { type: 'Number' }).valueAsNumber,
    };
  };

  test('may be the domain, the address of alarms, numbers of nodes', () => {
    const { app, text, number } = parameters();
    const props = { domain: text, alarmEmail: text, minNodes: number, maxNodes: 9, connectionsPerNode: number };
    expect(() => {
      new MailStack(app, 'MailStack', props);
      app.synth();
    }).not.toThrow();
  });

  test('fails when dns is to publish a domain that nobody knows yet', () => {
    const { app, text } = parameters();
    expect(() => new MailStack(app, 'MailStack', { domain: text, dns: {} })).toThrow(
      'dns needs domains and a host name that are known when the stack is synthesised, got a token',
    );
  });
});
