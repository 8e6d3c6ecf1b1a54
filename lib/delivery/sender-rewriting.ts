import { IKey } from 'aws-cdk-lib/aws-kms';
import { ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { NodeConfiguration } from '../node/node-configuration';
import { createMachinePassword } from '../private/machine-password';
import { readSecret } from '../private/secret-access';

/** Properties of `SenderRewriting`. */
export interface SenderRewritingProps {
  /**
   * A secret to use: JSON `{"password": …}`, 32 or more letters and digits, and after a change `"former": […]` with those before,
   * which are accepted and no longer used.
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
 * Sender Rewriting Scheme for what users forward: the envelope gets a sender at the primary domain, so that SPF passes, with the original
 * one in it, to whom bounces go back. A digest by a secret that all nodes share keeps others from making such addresses
 * (docs/outbound.md).
 */
export class SenderRewriting extends Construct {
  /** What addresses of ours are signed with: `{"password", "former"}`. */
  public readonly secret: ISecret;

  /** What nodes need to rewrite. */
  public readonly configuration: NodeConfiguration;

  constructor(scope: Construct, id: string, props: SenderRewritingProps = {}) {
    super(scope, id);
    this.secret =
      props.secret ??
      createMachinePassword(this, {
        description: 'By which mail nodes sign rewritten senders: {"password", "former"}',
        encryptionKey: props.encryptionKey,
        staysBecause:
          'It opens nothing: whoever has it can send mail to strangers through the nodes, at addresses that are good for three weeks. A ' +
          'rotation would have bounces of these weeks refused, unless it kept the former (test/system/rewriting.suite.ts).',
      });
    this.configuration = {
      environment: { MAIL_REWRITING_SECRET: this.secret.secretArn },
      statements: readSecret(this, this.secret),
    };
  }
}
