import { CustomResource, Duration, RemovalPolicy } from 'aws-cdk-lib';
import {
  CfnAcmeDomainValidation,
  CfnAcmeEndpoint,
  CfnAcmeExternalAccountBinding,
} from 'aws-cdk-lib/aws-certificatemanager';
import { ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IHostedZone } from 'aws-cdk-lib/aws-route53';
import { ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { HandlerFunction } from '../private/handler-function';
import { checkZoneHolds } from '../private/hosted-zone';
import { inRegulatoryPacks } from '../private/rule-packs';
import { writeSecret } from '../private/secret-access';

/** Properties of `AcmeAccountBinding`. */
export interface AcmeAccountBindingProps {
  /** The one name that certificates may be issued for. */
  readonly hostname: string;

  /** Public zone that holds the name; ACM proves control there once, so that nodes need no rights on DNS. */
  readonly hostedZone: IHostedZone;

  /** Key of the secret and of the function's logs. */
  readonly encryptionKey: IKey;

  /**
   * Whether ACME accounts must name an address.
   * @default false
   */
  readonly contactRequired?: boolean;

  /**
   * Raise it by one to have a new key issued for new nodes, as after a leak. Nodes that run keep their accounts.
   * @default 1
   */
  readonly generation?: number;

  /**
   * How long new nodes can register with the key.
   * @default - as ACM sets it
   */
  readonly expiration?: Duration;
}

/**
 * An ACME endpoint of ACM for one host name, and the credentials by which ACME clients (certbot) register there.
 *
 * Private keys never leave the machine that asks. Certificates last 45 days. The credentials allow certificates for the
 * one host name and nothing else.
 *
 * @see https://docs.aws.amazon.com/acm/latest/userguide/acm-acme-eab.html
 */
export class AcmeAccountBinding extends Construct {
  /** URL of the ACME directory. */
  public readonly directoryUrl: string;

  /** Credentials as JSON: `{"keyId": …, "macKey": …}`; `macKey` is base64url without padding, as certbot takes it. */
  public readonly secret: ISecret;

  /** ARN of the secret, known only when it is filled: what uses it waits for the credentials. */
  public readonly filledSecretArn: string;

  constructor(scope: Construct, id: string, props: AcmeAccountBindingProps) {
    super(scope, id);
    const generation = props.generation ?? 1;
    if (!Number.isInteger(generation) || generation < 1) {
      throw new Error(`generation must be 1 or a greater whole number, got ${generation}`);
    }
    checkZoneHolds(props.hostedZone, props.hostname);

    const endpoint = new CfnAcmeEndpoint(this, 'Endpoint', {
      authorizationBehavior: 'PRE_APPROVED',
      contact: props.contactRequired ? 'REQUIRED' : 'NOT_REQUIRED',
      certificateAuthority: { publicCertificateAuthority: { allowedKeyAlgorithms: ['EC_prime256v1'] } },
    });
    this.directoryUrl = endpoint.attrEndpointUrl;
    const validation = new CfnAcmeDomainValidation(this, 'DomainValidation', {
      acmeEndpointArn: endpoint.attrAcmeEndpointArn,
      domainName: props.hostname,
      prevalidationOptions: {
        dnsPrevalidation: {
          hostedZoneId: props.hostedZone.hostedZoneId,
          domainScope: { exactDomain: 'ENABLED', subdomains: 'DISABLED', wildcards: 'DISABLED' },
        },
      },
    });
    const binding = this.createBinding(endpoint, generation, props);
    this.secret = this.createSecret(props.encryptionKey);
    const filled = this.fillSecret(binding, props.encryptionKey);
    filled.node.addDependency(validation);
    this.filledSecretArn = filled.ref;
  }

  private createBinding(
    endpoint: CfnAcmeEndpoint,
    generation: number,
    props: AcmeAccountBindingProps,
  ): CfnAcmeExternalAccountBinding {
    const role = new Role(this, 'IssuanceRole', {
      description: 'Issues certificates for ACME clients of the mail system',
      // Trust as in https://docs.aws.amazon.com/acm/latest/userguide/security-iam-acme.html
      assumedBy: new ServicePrincipal('acm-acme.amazonaws.com', {
        conditions: { StringLikeIfExists: { 'sts:SourceIdentity': 'acm-acme-*' } },
      }).withSessionTags(),
    });
    role.assumeRolePolicy?.addStatements(
      new PolicyStatement({
        principals: [new ServicePrincipal('acm-acme.amazonaws.com')],
        actions: ['sts:SetSourceIdentity'],
        conditions: { StringLikeIfExists: { 'sts:SourceIdentity': 'acm-acme-*' } },
      }),
    );
    const policy = new ManagedPolicy(this, 'IssuancePolicy', {
      description: 'Issues certificates for one host name',
      roles: [role],
      statements: [
        new PolicyStatement({
          actions: ['acm:RequestCertificate'],
          resources: ['*'],
          conditions: {
            'ForAllValues:StringEquals': { 'acm:DomainNames': [props.hostname] },
            // ForAllValues is true of a request without names.
            Null: { 'acm:DomainNames': 'false' },
          },
        }),
      ],
    });
    acknowledge(policy, {
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason:
        'A certificate has no ARN before it is requested. The condition on acm:DomainNames allows the one host name ' +
        '(test/certificates/node-certificate.test.ts).',
    });
    const binding = new CfnAcmeExternalAccountBinding(this, `Binding${generation}`, {
      acmeEndpointArn: endpoint.attrAcmeEndpointArn,
      roleArn: role.roleArn,
      expiration: props.expiration && { type: 'HOURS', value: props.expiration.toHours() },
    });
    binding.node.addDependency(policy);
    return binding;
  }

  private createSecret(encryptionKey: IKey): Secret {
    const secret = new Secret(this, 'Secret', {
      description: 'External account binding of the ACME endpoint: {"keyId", "macKey"}',
      encryptionKey,
      // Empty until the custom resource fills it; nothing in it that could not be issued again.
      removalPolicy: RemovalPolicy.DESTROY,
    });
    acknowledge(
      secret,
      ...['AwsSolutions-SMG4', ...inRegulatoryPacks('SecretsManagerRotationEnabled')].map((id) => ({
        id,
        reason:
          'ACM issues these credentials and they can not be changed in place. A new generation replaces them ' +
          '(prop generation); they only register ACME accounts for one host name (test/certificates).',
      })),
    );
    return secret;
  }

  private fillSecret(binding: CfnAcmeExternalAccountBinding, encryptionKey: IKey): CustomResource {
    const handler = new HandlerFunction(this, 'Handler', {
      handler: 'acme-credentials',
      description: 'Copies ACME credentials of the mail system to a secret',
      encryptionKey,
      statements: [
        new PolicyStatement({
          actions: ['acm:GetAcmeExternalAccountBindingCredentials'],
          resources: [binding.attrAcmeExternalAccountBindingArn],
        }),
        ...writeSecret(this, this.secret),
      ],
    });
    return new CustomResource(this, 'Credentials', {
      resourceType: 'Custom::AcmeCredentials',
      serviceToken: handler.function.functionArn,
      serviceTimeout: Duration.minutes(2),
      properties: {
        BindingArn: binding.attrAcmeExternalAccountBindingArn,
        SecretArn: this.secret.secretArn,
      },
    });
  }
}
