import { Size } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Acknowledgement } from '../compliance';

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

  /**
   * Memory that the part takes on each node, which is not there for sessions then.
   * @default - little
   */
  readonly memory?: Size;

  /**
   * Findings of rule packs that `statements` cause and why they stay; they are put on the policy that holds them.
   * @default - none
   */
  readonly acknowledgements?: Acknowledgement[];
}
