import { Tokenization } from 'aws-cdk-lib';
import { ManagedPolicy } from 'aws-cdk-lib/aws-iam';
import { Endpoint } from 'aws-cdk-lib/aws-rds';
import { CfnDocument } from 'aws-cdk-lib/aws-ssm';
import { Construct } from 'constructs';
import { MailFleet } from '../node';
import { letStartSessions, sessionCommand, tagNodes } from './session-rights';

/** Port on the person's machine, unless they choose another. */
const LOCAL_PORT = 5433;

/** Properties of `DirectoryTunnel`. */
export interface DirectoryTunnelProps {
  /** Nodes, any of which the tunnel may go through. */
  readonly fleet: MailFleet;

  /** Where the database answers. */
  readonly endpoint: Endpoint;
}

/**
 * The way from a person's machine through a node to the database of users, and to nothing else: a document of Session Manager that forwards a
 * port to one host and port. It opens no shell. Who comes by it needs a login of the database besides.
 *
 * Nodes get a tag, so they are replaced once when this is added.
 */
export class DirectoryTunnel extends Construct {
  /** Name of the session document. */
  public readonly documentName: string;

  /** Opens the tunnel; with the id of a node in place of `NODE`. */
  public readonly command: string;

  private readonly clusterName: string;

  constructor(scope: Construct, id: string, props: DirectoryTunnelProps) {
    super(scope, id);
    this.clusterName = props.fleet.clusterName;
    const document = new CfnDocument(this, 'Document', {
      documentType: 'Session',
      updateMethod: 'NewVersion',
      // https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-schema.html
      content: {
        schemaVersion: '1.0',
        description: `Tunnel to the users of ${this.clusterName}`,
        sessionType: 'Port',
        parameters: {
          localPortNumber: {
            type: 'String',
            description: 'Port on your machine',
            allowedPattern: '^[1-9][0-9]{0,4}$',
            default: `${LOCAL_PORT}`,
          },
        },
        properties: {
          type: 'LocalPortForwarding',
          host: props.endpoint.hostname,
          portNumber: Tokenization.stringifyNumber(props.endpoint.port),
          localPortNumber: '{{ localPortNumber }}',
        },
      },
    });
    this.documentName = document.ref;
    this.command = sessionCommand(this, this.documentName);
    tagNodes(props.fleet);
  }

  /** Gives a person's policy what it takes to open this tunnel, and nothing else of Session Manager's. */
  public attachTo(policy: ManagedPolicy): void {
    const { clusterName, documentName } = this;
    letStartSessions(this, policy, { sid: 'OnlyToUsers', clusterName, documentName });
  }
}
