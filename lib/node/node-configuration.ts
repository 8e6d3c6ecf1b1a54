import { PolicyStatement } from 'aws-cdk-lib/aws-iam';

/**
 * What a part of the mail system (store, directory, certificate) asks of the nodes that use it.
 *
 * The fleet writes `environment` to `/etc/mail-platform/env` on each node and grants `statements` to the nodes' role.
 */
export interface NodeConfiguration {
  /** Keys (`MAIL_…`) and values for the node's environment file. Values may hold tokens, but no line breaks. */
  readonly environment: { [key: string]: string };

  /**
   * Permissions that the nodes need.
   * @default - none
   */
  readonly statements?: PolicyStatement[];
}
