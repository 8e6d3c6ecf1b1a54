import { Annotations } from 'aws-cdk-lib';
import { ISecurityGroup, IVpc, Peer, Port, SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { NodeConfiguration } from '../node/node-configuration';
import { inRegulatoryPacks } from '../private/rule-packs';
import { AccessSource } from './access-source';
import { ConnectionLimits } from './connection-limits';
import { limitsEnvironment } from './limits-environment';
import { HEALTH_PORT, LMTP_NODE_PORT, MailService } from './mail-service';
import { checkServices } from './mail-services';

/** Rules of a security group in one direction, unless AWS raised the account's quota. */
const RULE_QUOTA = 60;

const NFS_PORT = 2049;

/** Properties of `MailAccess`. */
export interface MailAccessProps {
  /** Network of the mail system. */
  readonly vpc: IVpc;

  /** Services that clients reach. IMAPS and submission are always part of it. */
  readonly services: MailService[];

  /**
   * Who may reach a service, by the service's name, such as `{ managesieve: AccessSource.cidrs(['192.0.2.0/24']) }`.
   * @default - each service from anywhere
   */
  readonly allow?: { [service: string]: AccessSource };

  /**
   * How much one source address, or one user, may ask of a node; docs/limits.md.
   * @default - those of `ConnectionLimits`
   */
  readonly connectionLimits?: ConnectionLimits;

  /**
   * Security group of the balancer. Rules are added to it; outbound ones only if it was imported with
   * `allowAllOutbound: false`.
   * @default - a new one
   */
  readonly edgeSecurityGroup?: ISecurityGroup;

  /**
   * Security group of the nodes. Rules are added to it; outbound ones only if it was imported with
   * `allowAllOutbound: false`.
   * @default - a new one
   */
  readonly nodeSecurityGroup?: ISecurityGroup;

  /**
   * Security group of the mail store. Rules are added to it; outbound ones only if it was imported with
   * `allowAllOutbound: false`.
   * @default - a new one
   */
  readonly storageSecurityGroup?: ISecurityGroup;
}

/**
 * Who may reach what: clients the balancer, the balancer the nodes, the nodes each other, the mail store and what they
 * need outside. Nothing else is open; in particular there is no SSH, operators use Session Manager.
 *
 * @throws when a service is missing or doubled, when `allow` names a service that is not offered, or when a limit is out of
 *   its range
 */
export class MailAccess extends Construct {
  /** Of the balancer. */
  public readonly edgeSecurityGroup: ISecurityGroup;
  /** Of nodes. */
  public readonly nodeSecurityGroup: ISecurityGroup;
  /** Of the mail store. */
  public readonly storageSecurityGroup: ISecurityGroup;

  /** The limits, for nodes to apply. It asks for no AWS rights. */
  public readonly configuration: NodeConfiguration;

  constructor(scope: Construct, id: string, props: MailAccessProps) {
    super(scope, id);
    const allow = props.allow ?? {};
    checkServices(props.services);
    checkAllow(allow, props.services);
    this.configuration = { environment: limitsEnvironment(props.connectionLimits ?? {}) };

    this.edgeSecurityGroup =
      props.edgeSecurityGroup ?? this.createGroup('EdgeSecurityGroup', props.vpc, 'Mail balancer');
    this.nodeSecurityGroup = props.nodeSecurityGroup ?? this.createGroup('NodeSecurityGroup', props.vpc, 'Mail nodes');
    this.storageSecurityGroup =
      props.storageSecurityGroup ?? this.createGroup('StorageSecurityGroup', props.vpc, 'Mail store');

    this.allowClients(props.services, allow);
    this.allowBalancerToNodes(props.services);
    this.allowNodesToNodes(props.services);
    this.allowNodesToStorage();
    this.allowNodesOut();
  }

  private createGroup(id: string, vpc: IVpc, description: string): SecurityGroup {
    return new SecurityGroup(this, id, { vpc, description, allowAllOutbound: false, disableInlineRules: false });
  }

  private allowClients(services: MailService[], allow: { [service: string]: AccessSource }): void {
    const sources = services.map((service) => allow[service.name] ?? AccessSource.anywhere());
    services.forEach((service, index) => {
      for (const peer of sources[index].peers) {
        this.edgeSecurityGroup.addIngressRule(peer, Port.tcp(service.port), `${service.name} from clients`);
      }
    });
    const rules = sources.reduce((sum, source) => sum + source.ruleCount, 0);
    if (rules > RULE_QUOTA) {
      Annotations.of(this).addWarningV2(
        'cdk-mail-platform:edgeRules',
        `clients take ${rules} rules of the balancer's security group, more than the ${RULE_QUOTA} of an account by ` +
          'default; have the quota raised (Service Quotas, VPC, L-0EA8095F) or use shorter lists',
      );
    }
    if (sources.some((source) => source.isAnywhere)) {
      acknowledge(
        this.edgeSecurityGroup,
        ...['AwsSolutions-EC23', ...inRegulatoryPacks('EC2RestrictedInbound')].map((id) => ({
          id,
          reason:
            'Users read and send mail, and mail servers deliver, from addresses that are not known beforehand. Only ' +
            'the ports of the offered services are open, and only to the balancer (test/access/mail-access.test.ts).',
        })),
      );
    }
  }

  private allowBalancerToNodes(services: MailService[]): void {
    // Health checks obey the outbound rules of the balancer's group too, and with client addresses kept a reference to
    // that group still lets the clients' connections in
    // (https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-security-groups.html).
    for (const service of services) {
      this.open(this.edgeSecurityGroup, this.nodeSecurityGroup, service.port, `${service.name} from the balancer`);
    }
    this.open(this.edgeSecurityGroup, this.nodeSecurityGroup, HEALTH_PORT, 'health checks of the balancer');
  }

  private allowNodesToNodes(services: MailService[]): void {
    const nodes = this.nodeSecurityGroup;
    for (const { name, nodePort } of services) {
      if (nodePort !== undefined) {
        this.open(nodes, nodes, nodePort, `${name} from the node that a client came to`);
      }
    }
    this.open(nodes, nodes, LMTP_NODE_PORT, 'messages from the node that took them');
  }

  private allowNodesToStorage(): void {
    this.open(this.nodeSecurityGroup, this.storageSecurityGroup, NFS_PORT, 'mail store from nodes');
  }

  private allowNodesOut(): void {
    const out: [Port, string][] = [
      [Port.tcp(443), 'AWS APIs, certificate authorities, package mirrors'],
      [Port.tcp(80), 'package mirrors of Debian; packages are signed'],
      [Port.udp(53), 'DNS'],
      [Port.tcp(53), 'DNS, long answers'],
      [Port.udp(123), 'time'],
      [Port.tcp(25), 'mail to other servers'],
      [Port.tcp(465), 'mail to a relay, TLS'],
      [Port.tcp(587), 'mail to a relay, STARTTLS'],
    ];
    for (const [port, purpose] of out) {
      this.nodeSecurityGroup.addEgressRule(Peer.anyIpv4(), port, purpose);
    }
  }

  private open(from: ISecurityGroup, to: ISecurityGroup, port: number, purpose: string): void {
    from.addEgressRule(to, Port.tcp(port), purpose);
    to.addIngressRule(from, Port.tcp(port), purpose);
  }
}

function checkAllow(allow: { [service: string]: AccessSource }, services: MailService[]): void {
  const offered = services.map((service) => service.name);
  for (const name of Object.keys(allow)) {
    MailService.fromName(name);
    if (!offered.includes(name)) {
      throw new Error(
        `allow must name services that are offered (${offered.join(', ')}), got ${name}; add it to services or remove it`,
      );
    }
  }
}
