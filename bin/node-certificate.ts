import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { NodeCertificate, NodeCertificateBindOptions, NodeConfiguration } from '../lib';
import { ConfigError, MailConfig } from './mail-config';

/**
 * The certificate source that a configuration names.
 *
 * @throws ConfigError when the source needs a field that is missing
 */
export function nodeCertificate(config: MailConfig): NodeCertificate {
  const { nodeCertificate: source = 'acm-acme', certificateEmail } = config;
  switch (source) {
    case 'acm-acme':
      return NodeCertificate.acmAcme({ email: certificateEmail });
    case 'dns-01':
      if (certificateEmail === undefined) {
        throw new ConfigError(`certificateEmail must be given with nodeCertificate: 'dns-01'; add it`);
      }
      return NodeCertificate.dns01({ email: certificateEmail });
    case 'local-ca':
      return NodeCertificate.localCa();
    default:
      return new SecretByArn(source.secretArn);
  }
}

/** A secret is imported in the scope of a stack, which is not there yet when the configuration is read. */
class SecretByArn extends NodeCertificate {
  constructor(private readonly arn: string) {
    super();
  }

  public bind(scope: Construct, options: NodeCertificateBindOptions): NodeConfiguration {
    const secret = Secret.fromSecretCompleteArn(scope, 'Imported', this.arn);
    return NodeCertificate.secret(secret).bind(scope, options);
  }
}
