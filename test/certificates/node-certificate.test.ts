import { Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { ManagedPolicy, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { HostedZone, IHostedZone } from 'aws-cdk-lib/aws-route53';
import { ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { AcmAcmeOptions, NodeCertificate, NodeCertificateBindOptions } from '../../lib/certificates';
import { acknowledge } from '../../lib/compliance';
import { NodeConfiguration } from '../../lib/node/node-configuration';
import { MailKey } from '../../lib/security';
import { environments, flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

const SECRET_ARN = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:mail-tls-AbCdEf';

function zone(stack: Stack, zoneName = 'example.com'): IHostedZone {
  return HostedZone.fromHostedZoneAttributes(stack, 'Zone', { hostedZoneId: 'Z0123456789ABCDEFGHIJ', zoneName });
}

function bind(certificate: NodeCertificate, stack = testStack(), options: Partial<NodeCertificateBindOptions> = {}) {
  const configuration = certificate.bind(stack, {
    hostname: 'mail.example.com',
    hostedZone: zone(stack),
    encryptionKey: new MailKey(stack, 'Key').key,
    ...options,
  });
  return { stack, configuration };
}

/** What a fleet does with a configuration. */
function grant(stack: Stack, configuration: NodeConfiguration): void {
  const policy = new ManagedPolicy(stack, 'NodePolicy', {
    statements: configuration.statements,
    roles: [new Role(stack, 'NodeRole', { assumedBy: new ServicePrincipal('ec2.amazonaws.com') })],
  });
  acknowledge(policy, ...(configuration.acknowledgements ?? []));
}

const SOURCES: [string, (stack: Stack) => NodeCertificate][] = [
  ['acm-acme', () => NodeCertificate.acmAcme()],
  ['dns-01', () => NodeCertificate.dns01({ email: 'postmaster@example.com' })],
  ['secret', (stack) => NodeCertificate.secret(Secret.fromSecretCompleteArn(stack, 'Mine', SECRET_ARN))],
  ['local-ca', () => NodeCertificate.localCa()],
];

describe.each(flagSets)('with $flags', ({ context }) => {
  describe.each(environments)('in $where', ({ env }) => {
    test.each(SOURCES)('%s names itself and has no open findings, nodes included', (name, source) => {
      const stack = testStack(context, env);
      const { configuration } = bind(source(stack), stack);
      grant(stack, configuration);
      expect(configuration.environment.MAIL_CERTIFICATE).toBe(name);
      expect(openFindings(stack)).toEqual([]);
    });
  });
});

describe('acm-acme', () => {
  function acmAcme(options?: AcmAcmeOptions) {
    const { stack, configuration } = bind(NodeCertificate.acmAcme(options));
    return { stack, configuration, template: Template.fromStack(stack) };
  }

  test('may issue for the one host name only', () => {
    const { template } = acmAcme();
    template.hasResourceProperties('AWS::CertificateManager::AcmeDomainValidation', {
      DomainName: 'mail.example.com',
      PrevalidationOptions: {
        DnsPrevalidation: {
          HostedZoneId: 'Z0123456789ABCDEFGHIJ',
          DomainScope: { ExactDomain: 'ENABLED', Subdomains: 'DISABLED', Wildcards: 'DISABLED' },
        },
      },
    });
    template.hasResourceProperties('AWS::IAM::ManagedPolicy', {
      PolicyDocument: {
        Statement: [
          {
            Action: 'acm:RequestCertificate',
            Effect: 'Allow',
            Resource: '*',
            Condition: {
              'ForAllValues:StringEquals': { 'acm:DomainNames': ['mail.example.com'] },
              Null: { 'acm:DomainNames': 'false' },
            },
          },
        ],
      },
    });
  });

  test('lets ACM, for ACME only, take the issuing role', () => {
    const { template } = acmAcme();
    const roles = Object.values(template.findResources('AWS::IAM::Role'));
    const trust = roles
      .flatMap((role) => role.Properties.AssumeRolePolicyDocument.Statement)
      .filter((statement) => statement.Principal.Service === 'acm-acme.amazonaws.com');
    expect(trust.flatMap((statement) => statement.Action).sort()).toEqual([
      'sts:AssumeRole',
      'sts:SetSourceIdentity',
      'sts:TagSession',
    ]);
    for (const statement of trust) {
      expect(statement.Condition).toEqual({ StringLikeIfExists: { 'sts:SourceIdentity': 'acm-acme-*' } });
    }
  });

  test('nodes wait until the credentials are in the secret, and may read that secret and nothing else', () => {
    const { stack, configuration, template } = acmAcme();
    const [credentials] = Object.keys(template.findResources('Custom::AcmeCredentials'));
    const secret = { Ref: Object.keys(template.findResources('AWS::SecretsManager::Secret'))[0] };
    expect(stack.resolve(configuration.environment)).toEqual({
      MAIL_CERTIFICATE: 'acm-acme',
      MAIL_CERTIFICATE_SECRET: { Ref: credentials },
      MAIL_ACME_DIRECTORY: { 'Fn::GetAtt': [expect.any(String), 'EndpointUrl'] },
      MAIL_ACME_EMAIL: '',
    });
    expect(configuration.statements?.map((statement) => stack.resolve(statement.toStatementJson()))).toEqual([
      { Effect: 'Allow', Action: 'secretsmanager:GetSecretValue', Resource: secret },
      expect.objectContaining({
        Action: 'kms:Decrypt',
        Condition: expect.objectContaining({ StringLike: { 'kms:EncryptionContext:SecretARN': secret } }),
      }),
    ]);
  });

  test('the credentials wait for the proof of control', () => {
    const { template } = acmAcme();
    template.hasResource('Custom::AcmeCredentials', {
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('DomainValidation')]),
    });
  });

  test('the function may read this binding and write this secret', () => {
    const { template } = acmAcme();
    template.hasResourceProperties('AWS::IAM::ManagedPolicy', {
      PolicyDocument: {
        Statement: [
          Match.objectLike({
            Action: 'acm:GetAcmeExternalAccountBindingCredentials',
            Resource: { 'Fn::GetAtt': [Match.stringLikeRegexp('Binding1'), 'AcmeExternalAccountBindingArn'] },
          }),
          Match.objectLike({
            Action: 'secretsmanager:PutSecretValue',
            Resource: { Ref: Match.stringLikeRegexp('Secret') },
          }),
          Match.objectLike({ Action: ['kms:Decrypt', 'kms:GenerateDataKey'] }),
          Match.objectLike({ Action: ['logs:CreateLogStream', 'logs:PutLogEvents'] }),
        ],
      },
    });
    template.resourceCountIs('AWS::IAM::Policy', 0);
  });

  test('a new generation is a new binding, which replaces the key in the secret', () => {
    const ids = (generation: number) =>
      Object.keys(
        acmAcme({ generation }).template.findResources('AWS::CertificateManager::AcmeExternalAccountBinding'),
      );
    expect(ids(2)).not.toEqual(ids(1));
  });

  test('an address and an expiration are passed on', () => {
    const { template, configuration } = acmAcme({ email: 'postmaster@example.com', expiration: Duration.days(90) });
    expect(configuration.environment.MAIL_ACME_EMAIL).toBe('postmaster@example.com');
    template.hasResourceProperties('AWS::CertificateManager::AcmeEndpoint', { Contact: 'REQUIRED' });
    template.hasResourceProperties('AWS::CertificateManager::AcmeExternalAccountBinding', {
      Expiration: { Type: 'HOURS', Value: 2160 },
    });
  });

  test.each([0, 1.5])('fails when the generation is %d', (generation) => {
    expect(() => acmAcme({ generation })).toThrow(`generation must be 1 or a greater whole number, got ${generation}`);
  });

  test('fails when there is no zone', () => {
    expect(() => bind(NodeCertificate.acmAcme(), testStack(), { hostedZone: undefined })).toThrow(
      /^hostedZone must be given for NodeCertificate.acmAcme\(\)/,
    );
  });

  test('fails when the zone does not hold the name', () => {
    expect(() => bind(NodeCertificate.acmAcme(), testStack(), { hostname: 'mail.example.org' })).toThrow(
      /^hostedZone must hold the host name mail.example.org, got example.com/,
    );
  });
});

describe('dns-01', () => {
  const email = 'postmaster@example.com';

  test.each([
    ['of the mail system', undefined, 'Z0123456789ABCDEFGHIJ'],
    ['that the challenge is delegated to', 'acme.example.net', 'ZDELEGATED'],
  ])('lets nodes write one TXT record of the zone %s', (_what, zoneName, id) => {
    const stack = testStack();
    const hostedZone =
      zoneName && HostedZone.fromHostedZoneAttributes(stack, 'Other', { hostedZoneId: 'ZDELEGATED', zoneName });
    const { configuration } = bind(NodeCertificate.dns01({ email, ...(hostedZone && { hostedZone }) }), stack);
    const statements = (configuration.statements ?? []).map((statement) => stack.resolve(statement.toStatementJson()));
    expect(statements.find(({ Action }) => Action === 'route53:ChangeResourceRecordSets')).toEqual({
      Effect: 'Allow',
      Action: 'route53:ChangeResourceRecordSets',
      Resource: { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, `:route53:::hostedzone/${id}`]] },
      Condition: {
        'ForAllValues:StringEquals': {
          'route53:ChangeResourceRecordSetsNormalizedRecordNames': ['_acme-challenge.mail.example.com'],
          'route53:ChangeResourceRecordSetsRecordTypes': ['TXT'],
        },
      },
    });
    expect(statements).toHaveLength(3);
  });

  test.each([
    ["Let's Encrypt by default", undefined, 'https://acme-v02.api.letsencrypt.org/directory'],
    ['another authority when asked', 'https://acme.example.net/directory', 'https://acme.example.net/directory'],
  ])('asks %s', (_what, directoryUrl, expected) => {
    expect(bind(NodeCertificate.dns01({ email, directoryUrl })).configuration.environment).toEqual({
      MAIL_CERTIFICATE: 'dns-01',
      MAIL_ACME_DIRECTORY: expected,
      MAIL_ACME_EMAIL: email,
    });
  });

  test.each(['postmaster', 'a b@example.com', ''])('fails when the address is %j', (bad) => {
    expect(() => NodeCertificate.dns01({ email: bad })).toThrow(/^email must be an address such as/);
  });

  test('fails when the directory is not an https URL', () => {
    expect(() => NodeCertificate.dns01({ email, directoryUrl: 'acme.example.net' })).toThrow(/must be an https URL/);
  });

  test('fails when there is no zone', () => {
    expect(() => bind(NodeCertificate.dns01({ email }), testStack(), { hostedZone: undefined })).toThrow(
      /^hostedZone must be given for NodeCertificate.dns01\(\)/,
    );
  });
});

describe('secret and local-ca', () => {
  test.each<[string, (stack: Stack) => ISecret, string]>([
    ['whole ARN', (stack) => Secret.fromSecretCompleteArn(stack, 'Mine', SECRET_ARN), SECRET_ARN],
    [
      'name',
      (stack) => Secret.fromSecretNameV2(stack, 'Mine', 'mail-tls'),
      'arn:aws:secretsmanager:eu-central-1:111122223333:secret:mail-tls-??????',
    ],
  ])('an imported secret by its %s is read by its ARN', (_how, secretOf, arn) => {
    const stack = testStack({}, { account: '111122223333', region: 'eu-central-1' });
    const secret = secretOf(stack);
    for (const certificate of [NodeCertificate.secret(secret), NodeCertificate.localCa({ secret })]) {
      const { statements, environment } = certificate.bind(stack, {
        hostname: 'mail.example.com',
        encryptionKey: Key.fromKeyArn(stack, environmentId(certificate), 'arn:aws:kms:eu-central-1:111122223333:key/k'),
      });
      expect(environment.MAIL_CERTIFICATE_SECRET).toBe(secret.secretArn);
      expect(statements).toHaveLength(1);
      const statement = JSON.stringify(stack.resolve(statements?.[0].toStatementJson()));
      expect(statement).toContain(arn.slice(arn.indexOf(':secretsmanager')));
    }
  });

  test('a customer key of the secret may be used for that secret', () => {
    const stack = testStack();
    const secret = new Secret(stack, 'Mine', { encryptionKey: new Key(stack, 'MyKey') });
    const { configuration } = bind(NodeCertificate.secret(secret), stack);
    expect(configuration.statements).toHaveLength(2);
  });

  test('a local authority gets a secret under the customer key', () => {
    const { stack } = bind(NodeCertificate.localCa());
    Template.fromStack(stack).hasResourceProperties('AWS::SecretsManager::Secret', {
      KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] },
    });
  });
});

function environmentId(certificate: NodeCertificate): string {
  return certificate.constructor.name;
}
