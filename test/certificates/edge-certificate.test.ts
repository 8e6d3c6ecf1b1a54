import { Template } from 'aws-cdk-lib/assertions';
import { KeyAlgorithm } from 'aws-cdk-lib/aws-certificatemanager';
import { HostedZone, PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { EdgeCertificate } from '../../lib/certificates';
import { testStack } from '../support/apps';

test.each(['own', 'imported'])('is proven in the %s zone', (kind) => {
  const stack = testStack();
  const hostedZone =
    kind === 'own'
      ? new PublicHostedZone(stack, 'Zone', { zoneName: 'example.com' })
      : HostedZone.fromHostedZoneAttributes(stack, 'Zone', { hostedZoneId: 'Z1', zoneName: 'example.com' });
  new EdgeCertificate(stack, 'Certificate', { hostname: 'mail.example.com', hostedZone });
  Template.fromStack(stack).hasResourceProperties('AWS::CertificateManager::Certificate', {
    DomainName: 'mail.example.com',
    ValidationMethod: 'DNS',
    KeyAlgorithm: 'EC_prime256v1',
    CertificateTransparencyLoggingPreference: 'ENABLED',
    DomainValidationOptions: [{ DomainName: 'mail.example.com', HostedZoneId: stack.resolve(hostedZone.hostedZoneId) }],
  });
});

test('has more names and another kind of key when asked', () => {
  const stack = testStack();
  new EdgeCertificate(stack, 'Certificate', {
    hostname: 'mail.example.com',
    hostedZone: HostedZone.fromHostedZoneAttributes(stack, 'Zone', { hostedZoneId: 'Z1', zoneName: 'example.com' }),
    alternativeNames: ['imap.example.com'],
    keyAlgorithm: KeyAlgorithm.RSA_2048,
  });
  Template.fromStack(stack).hasResourceProperties('AWS::CertificateManager::Certificate', {
    SubjectAlternativeNames: ['imap.example.com'],
    KeyAlgorithm: 'RSA_2048',
  });
});

test('fails when the name is longer than a certificate can say', () => {
  const hostname = `mail.${'a'.repeat(60)}`;
  const stack = testStack();
  const hostedZone = HostedZone.fromHostedZoneAttributes(stack, 'Zone', { hostedZoneId: 'Z1', zoneName: hostname });
  expect(() => new EdgeCertificate(stack, 'Certificate', { hostname, hostedZone })).toThrow(
    'hostname must have 64 characters or fewer for a certificate of ACM, got 65',
  );
});
