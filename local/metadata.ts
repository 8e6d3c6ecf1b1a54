import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { randomBytes } from 'node:crypto';
import { METADATA_ADDRESS } from './network';
import type { PlannedNode } from './plan';
import { PSEUDO } from './template';

/**
 * The EC2 instance metadata service, version 2 only, for the nodes of the local cluster. It tells nodes apart by their
 * address. Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
 */
export class MetadataService {
  private readonly tokens = new Set<string>();
  private readonly lifecycle = new Map<string, string>();
  private server?: Server;

  constructor(private readonly nodes: () => readonly PlannedNode[]) {}

  public async start(): Promise<void> {
    this.server = createServer((request, response) => this.answer(request, response));
    await new Promise<void>((resolve, reject) => {
      this.server?.once('error', reject).listen(80, METADATA_ADDRESS, resolve);
    });
  }

  public stop(): void {
    this.server?.closeAllConnections();
    this.server?.close();
  }

  /** Sets what Auto Scaling wants of a node, such as `Terminated`; nodes start as `InService`. */
  public setTargetLifecycleState(instanceId: string, state: string): void {
    this.lifecycle.set(instanceId, state);
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const reply = (status: number, body = '') => response.writeHead(status, { 'content-type': 'text/plain' }).end(body);
    const path = (request.url ?? '/').replace(/^\/latest\//, '').replace(/\/$/, '');
    if (request.method === 'PUT' && path === 'api/token') {
      const token = randomBytes(24).toString('base64');
      this.tokens.add(token);
      response.setHeader('x-aws-ec2-metadata-token-ttl-seconds', '21600');
      return void reply(200, token);
    }
    if (!this.tokens.has(String(request.headers['x-aws-ec2-metadata-token']))) return void reply(401);
    const node = this.nodes().find(({ address }) => request.socket.remoteAddress === address);
    const value = node && this.values(node)[path];
    return void (value === undefined ? reply(404) : reply(200, value));
  }

  private values(node: PlannedNode): { [path: string]: string } {
    const region = PSEUDO['AWS::Region'];
    return {
      'meta-data/instance-id': node.instanceId,
      'meta-data/local-ipv4': node.address,
      'meta-data/hostname': node.name,
      'meta-data/placement/availability-zone': node.zone,
      'meta-data/placement/region': region,
      'meta-data/autoscaling/target-lifecycle-state': this.lifecycle.get(node.instanceId) ?? 'InService',
      'meta-data/iam/security-credentials': 'NodeRole',
      'meta-data/iam/security-credentials/NodeRole': JSON.stringify({
        Code: 'Success',
        Type: 'AWS-HMAC',
        AccessKeyId: 'ASIALOCAL',
        SecretAccessKey: 'local',
        Token: 'local',
        LastUpdated: new Date().toISOString(),
        Expiration: new Date(Date.now() + 6 * 3600 * 1000).toISOString(),
      }),
      'dynamic/instance-identity/document': JSON.stringify({
        accountId: PSEUDO['AWS::AccountId'],
        availabilityZone: node.zone,
        instanceId: node.instanceId,
        privateIp: node.address,
        region,
      }),
    };
  }
}
