import { IKey } from 'aws-cdk-lib/aws-kms';
import { ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { createMachinePassword } from '../private/machine-password';
import { readSecret } from '../private/secret-access';
import { NodeConfiguration } from './node-configuration';

/** Properties of `NodeSecret`. */
export interface NodeSecretProps {
  /**
   * A secret to use: JSON `{"password": …}`, 32 or more letters and digits.
   * @default - a new one with a random password
   */
  readonly secret?: ISecret;

  /**
   * Key of a new secret.
   * @default - the account's AWS managed key for Secrets Manager
   */
  readonly encryptionKey?: IKey;
}

/**
 * The password by which a node that has checked a user's login hands the session over to the user's home node. It is
 * accepted only on ports that other nodes reach, and never typed by anyone.
 */
export class NodeSecret extends Construct {
  /** `{"password": …}` */
  public readonly secret: ISecret;

  /** What nodes need to read it. */
  public readonly configuration: NodeConfiguration;

  constructor(scope: Construct, id: string, props: NodeSecretProps = {}) {
    super(scope, id);
    this.secret =
      props.secret ??
      createMachinePassword(this, {
        description: 'Password by which mail nodes hand sessions over to each other: {"password"}',
        encryptionKey: props.encryptionKey,
        staysBecause:
          'All nodes must take a new password at the same moment, or sessions between them fail. It is accepted only from ' +
          "nodes, on ports that the nodes' security group alone opens (test/access/mail-access.test.ts).",
      });
    this.configuration = {
      environment: { MAIL_PROXY_SECRET: this.secret.secretArn },
      statements: readSecret(this, this.secret),
    };
  }
}
