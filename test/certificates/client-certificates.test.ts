import { App, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { AccountRootPrincipal, Role } from 'aws-cdk-lib/aws-iam';
import { ClientCertificates, EdgeTls, MailStack, MailStackProps } from '../../lib';
import { testStack } from '../support/apps';
import { Authority } from '../support/authority';
import { openFindings } from '../support/nag';

const company = new Authority('Company mail clients');

const base64 = (pem: string) => pem.replace(/-----[A-Z ]+-----|\s/g, '');

function mailStack(props: Partial<MailStackProps>): MailStack {
  return new MailStack(new App(), 'MailStack', { domain: 'example.com', ...props });
}

function environment(authorities: string): { [key: string]: string } {
  return new ClientCertificates(testStack(), 'ClientCertificates', { authorities }).configuration.environment;
}

test('nodes get the authorities, in a value that an environment file may hold', () => {
  expect(environment(company.pem)).toEqual({ MAIL_CLIENT_CA: base64(company.pem) });
});

test('takes several authorities, so that one can follow the other, and what openssl writes between them', () => {
  const successor = new Authority('Successor');
  const bundle = `subject=CN = Company\n${company.pem}\n\nsubject=CN = Successor\n${successor.pem}`;
  expect(environment(bundle)).toEqual({ MAIL_CLIENT_CA: `${base64(company.pem)} ${base64(successor.pem)}` });
});

describe('revocation lists', () => {
  const authorities = company.pem;

  test('are an object that nodes read, in a bucket that keeps versions, and nobody else', () => {
    const stack = testStack();
    const { configuration, revocationsLocation } = new ClientCertificates(stack, 'ClientCertificates', {
      authorities,
      revocationLists: true,
    });
    expect(configuration.environment.MAIL_CLIENT_REVOCATIONS_OBJECT).toBe(revocationsLocation);
    const statements = configuration.statements!.map((statement) => stack.resolve(statement.toStatementJson()));
    expect(statements.map(({ Action }) => Action)).toEqual(['s3:GetObject', 's3:ListBucket', 'kms:Decrypt']);
    expect(JSON.stringify(statements[0].Resource)).toContain('/client-revocations"');
    Template.fromStack(stack).hasResource('AWS::S3::Bucket', {
      DeletionPolicy: 'Retain',
      Properties: { VersioningConfiguration: { Status: 'Enabled' } },
    });
  });

  test('are for whom it is granted to replace', () => {
    const stack = testStack();
    const role = new Role(stack, 'Authority', { assumedBy: new AccountRootPrincipal() });
    new ClientCertificates(stack, 'ClientCertificates', { authorities, revocationLists: true }).grantRevoke(role);
    Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          Match.objectLike({ Action: 's3:PutObject' }),
          Match.objectLike({ Action: 'kms:GenerateDataKey', Condition: Match.anyValue() }),
        ],
      },
    });
  });

  test('are not there unless they are asked for', () => {
    const stack = testStack();
    const certificates = new ClientCertificates(stack, 'ClientCertificates', { authorities });
    expect(certificates.configuration.statements).toBeUndefined();
    Template.fromStack(stack).resourceCountIs('AWS::S3::Bucket', 0);
    expect(() => certificates.grantRevoke(new AccountRootPrincipal())).toThrow(
      'grantRevoke needs revocationLists: true',
    );
  });
});

test.each<[string, () => string, string]>([
  [
    'there is no certificate',
    () => '/etc/ssl/company.pem',
    'must be certificates in PEM and nothing else, got "/etc/ssl',
  ],
  [
    'there is a private key, too',
    () => company.identity.cert + company.identity.key,
    'nothing else, got a private key',
  ],
  ['a certificate is cut', () => company.pem.replace(/\n.{64}\n/, '\n'), "certificate 1 can't be read: "],
  ['one is of a user', () => company.issue({ subject: '/CN=alice' }).cert, '(CA:TRUE), got CN=alice; give the'],
  ['one has expired', () => new Authority('Old', 0).pem, 'must be valid now, got CN=Old, from '],
  ['there are too many for user data', () => company.pem.repeat(20), 'must be 4500 bytes or fewer together, got '],
  [
    'they are not known yet',
    () => Token.asString({ Ref: 'Ca' }),
    'must be known when the stack is synthesised, got a token',
  ],
])('fails when %s', async (_name, authorities, message) => {
  const text = authorities();
  // One that lives for no day has expired a second later.
  await new Promise((resolve) => setTimeout(resolve, 1100));
  expect(() => environment(text)).toThrow(message);
});

test.each([
  [89, 1],
  [92, 0],
])('an authority with %d days left is worth %d warnings', (days, count) => {
  const stack = testStack();
  new ClientCertificates(stack, 'ClientCertificates', { authorities: new Authority('Company', days).pem });
  const found = Annotations.fromStack(stack).findWarning(
    '*',
    Match.stringLikeRegexp('CN=Company expires in \\d+ days'),
  );
  expect(found).toHaveLength(count);
});

describe('in a MailStack', () => {
  const clientCertificates = { authorities: company.pem };

  test('nodes ask for certificates when they are told to', () => {
    const userData = (stack: MailStack) =>
      JSON.stringify(Template.fromStack(stack).findResources('AWS::EC2::LaunchTemplate'));
    const implicitTls = EdgeTls.atNode();
    expect(userData(mailStack({ implicitTls }))).not.toContain('MAIL_CLIENT_CA');
    expect(userData(mailStack({ implicitTls, clientCertificates }))).toContain(`MAIL_CLIENT_CA=${base64(company.pem)}`);
  });

  test('somebody is told 90 days before an authority expires', () => {
    const stack = mailStack({ implicitTls: EdgeTls.atNode(), clientCertificates });
    Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', {
      Namespace: 'MailPlatform',
      MetricName: 'ClientAuthorityDaysLeft',
      Dimensions: [{ Name: 'Cluster', Value: stack.fleet.clusterName }],
      Statistic: 'Minimum',
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 90,
      AlarmActions: [stack.resolve(stack.alarmTopic.topicArn)],
    });
  });

  test('somebody is told a day before a revocation list ends', () => {
    const lists = { ...clientCertificates, revocationLists: true };
    const stack = mailStack({ implicitTls: EdgeTls.atNode(), clientCertificates: lists });
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'ClientRevocationHoursLeft',
      Dimensions: [{ Name: 'Cluster', Value: stack.fleet.clusterName }],
      Statistic: 'Minimum',
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 24,
      AlarmActions: [stack.resolve(stack.alarmTopic.topicArn)],
    });
    template.hasOutput('ClientRevocationsObject', {});
    expect(openFindings(stack)).toEqual([]);
  });

  test.each<[string, EdgeTls | undefined]>([
    ['by default', undefined],
    ['by choice', EdgeTls.atBalancer()],
  ])('fails when TLS ends at the balancer %s', (_name, implicitTls) => {
    expect(() => mailStack({ implicitTls, clientCertificates })).toThrow(
      'clientCertificates needs implicitTls EdgeTls.atNode(), as a balancer passes no certificates on',
    );
  });
});
