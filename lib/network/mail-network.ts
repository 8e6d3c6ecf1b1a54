import { CfnResource, Fn, RemovalPolicy, Stack } from 'aws-cdk-lib';
import {
  CfnEIP,
  FlowLog,
  FlowLogDestination,
  FlowLogMaxAggregationInterval,
  FlowLogResourceType,
  FlowLogTrafficType,
  GatewayVpcEndpoint,
  GatewayVpcEndpointAwsService,
  InterfaceVpcEndpoint,
  InterfaceVpcEndpointAwsService,
  IpAddresses,
  IVpc,
  Peer,
  Port,
  SecurityGroup,
  SubnetSelection,
  SubnetType,
  Vpc,
} from 'aws-cdk-lib/aws-ec2';
import { ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { acknowledge } from '../compliance';
import { parseCidr } from '../private/cidr';
import { inRegulatoryPacks } from '../private/rule-packs';
import { MailKey } from '../security';
import { MailFirewall, MailFirewallOptions } from './mail-firewall';
import { importedSubnets, MIN_ZONES, onePerZone, zonesOfSubnets } from './imported-subnets';

/** Addresses are set aside for this many zones, so that a zone added later moves no subnet. */
const MAX_ZONES = 6;

/** A firewall of a new network. */
export interface MailNetworkFirewall extends MailFirewallOptions {
  /** Ports that clients and other mail servers come to. */
  readonly ports: number[];
}

/** Properties of `MailNetwork`. */
export interface MailNetworkProps {
  /**
   * A network to use. It must have public and private subnets with a route out in three or more zones. Nothing is
   * changed in it but interface endpoints that are asked for; its flow logs and gateway endpoints are its owner's.
   * @default - a new one
   */
  readonly vpc?: IVpc;

  /**
   * Subnets of an imported network for the balancer; one for each zone is used.
   * @default - its public subnets
   */
  readonly edgeSubnets?: SubnetSelection;

  /**
   * Subnets of an imported network for nodes. They need a route out, to Debian's mirror and to other mail servers.
   * @default - its private subnets
   */
  readonly nodeSubnets?: SubnetSelection;

  /**
   * Subnets of an imported network for the mail store; one for each zone is used.
   * @default - its isolated subnets if they span the zones of the nodes, else `nodeSubnets`
   */
  readonly storageSubnets?: SubnetSelection;

  /**
   * Availability zones of a new network, 3 to 6: the first ones of the region by name.
   * @default 3
   */
  readonly availabilityZones?: number;

  /**
   * Zones of a new network by name, where the first ones of the region do not have the instance type.
   * @default - the first `availabilityZones` of the region
   */
  readonly zoneNames?: string[];

  /**
   * IPv4 range of a new network, /16 to /20.
   * @default 10.0.0.0/16
   */
  readonly cidr?: string;

  /**
   * NAT gateways of a new network. Fewer than one for each zone is cheaper, but then nodes in other zones lose their
   * route out with the gateway's zone. 33 USD a month each.
   * @default - one for each zone
   */
  readonly natGateways?: number;

  /**
   * AWS APIs to reach without the NAT gateways, such as `InterfaceVpcEndpointAwsService.SECRETS_MANAGER`. S3 and
   * DynamoDB always have gateway endpoints in a new network, which are free. 7 USD a month for each zone and API.
   * @default - none
   */
  readonly interfaceEndpoints?: InterfaceVpcEndpointAwsService[];

  /**
   * Deep inspection of a new network's traffic with the internet; 290 USD a month for each zone. docs/network-firewall.md.
   * @default - none
   */
  readonly firewall?: MailNetworkFirewall;

  /**
   * Key of the flow logs. An imported key must let CloudWatch Logs use it.
   * @default - a new one
   */
  readonly encryptionKey?: IKey;

  /**
   * How long flow logs are kept.
   * @default RetentionDays.ONE_YEAR
   */
  readonly logRetention?: RetentionDays;
}

/**
 * The network of the mail system, new or imported, over three or more zones.
 *
 * In a new one public subnets hold only the balancer and NAT gateways, nodes are in private subnets, the mail store in
 * subnets with no route out. All traffic is logged under a customer key, and the default security group lets nothing
 * through.
 *
 * @throws when the range, the number of zones or of NAT gateways is out of bounds, or when an imported network lacks
 *   subnets of a kind or spans too few zones
 */
export class MailNetwork extends Construct {
  /** The network, new or imported. */
  public readonly vpc: IVpc;

  /** One public subnet for each zone, for the balancer. */
  public readonly edgeSubnets: SubnetSelection;

  /** Private subnets with a route out, for nodes. */
  public readonly nodeSubnets: SubnetSelection;

  /** One subnet for each zone, for the mail store. */
  public readonly storageSubnets: SubnetSelection;

  /** Zones of the nodes. Tokens when the stack can go to any region. */
  public readonly availabilityZones: string[];

  /** IPv4 range of the network. */
  public readonly cidr: string;

  /** Deep inspection; nothing unless asked for. */
  public readonly firewall?: MailFirewall;

  /** Public addresses that nodes reach the internet from. Of an imported network they are not known, and there are none. */
  public readonly outboundAddresses: string[];

  constructor(scope: Construct, id: string, props: MailNetworkProps = {}) {
    super(scope, id);
    if (props.vpc) {
      checkOnlyForImport(props);
      this.vpc = props.vpc;
      this.cidr = cidrOf(props.vpc);
      const imported = importedSubnets(props.vpc, props);
      this.edgeSubnets = { subnets: imported.edge };
      this.nodeSubnets = { subnets: imported.node };
      this.storageSubnets = { subnets: imported.storage };
      this.outboundAddresses = [];
    } else {
      checkOnlyForNew(props);
      this.cidr = props.cidr ?? '10.0.0.0/16';
      const vpc = this.createVpc(zonesOf(props), props);
      this.vpc = vpc;
      this.edgeSubnets = { subnets: vpc.selectSubnets({ subnetGroupName: 'Edge' }).subnets };
      this.nodeSubnets = { subnets: vpc.privateSubnets };
      this.storageSubnets = { subnets: vpc.isolatedSubnets };
      this.outboundAddresses = natAddresses(vpc);
      this.createGatewayEndpoints(vpc);
      const encryptionKey = new MailKey(this, 'Key', { encryptionKey: props.encryptionKey }).key;
      this.createFlowLog(vpc, encryptionKey, props);
      this.firewall =
        props.firewall &&
        new MailFirewall(this, 'Firewall', {
          ...props.firewall,
          vpc,
          firewallSubnets: vpc.selectSubnets({ subnetGroupName: 'Firewall' }).subnets,
          protectedSubnets: this.edgeSubnets.subnets!,
          encryptionKey,
          logRetention: props.logRetention,
        });
    }
    this.availabilityZones = zonesOfSubnets(this.nodeSubnets.subnets ?? []);
    this.createInterfaceEndpoints(props.interfaceEndpoints ?? []);
  }

  private createVpc(zones: string[], { natGateways, firewall }: MailNetworkProps): Vpc {
    const { prefix } = parseCidr('cidr', this.cidr);
    const vpc = new Vpc(this, 'Vpc', {
      ipAddresses: IpAddresses.cidr(this.cidr),
      // A copy: the construct appends the reserved zones to the list that it is given.
      availabilityZones: [...zones],
      reservedAzs: MAX_ZONES - zones.length,
      natGateways: natGateways ?? zones.length,
      natGatewaySubnets: { subnetGroupName: 'Edge' },
      restrictDefaultSecurityGroup: true,
      enableDnsHostnames: true,
      enableDnsSupport: true,
      createInternetGateway: true,
      // The large ones first, so that each range begins at a multiple of its size.
      subnetConfiguration: [
        { name: 'Node', subnetType: SubnetType.PRIVATE_WITH_EGRESS, cidrMask: prefix + 4 },
        { name: 'Edge', subnetType: SubnetType.PUBLIC, cidrMask: prefix + 8, mapPublicIpOnLaunch: false },
        { name: 'Storage', subnetType: SubnetType.PRIVATE_ISOLATED, cidrMask: prefix + 8 },
        // Last: added to a network that is there, it moves no other. An endpoint takes one address.
        ...(firewall
          ? [{ name: 'Firewall', subnetType: SubnetType.PUBLIC, cidrMask: 28, mapPublicIpOnLaunch: false }]
          : []),
      ],
    });
    this.tidyProvider();
    for (const subnet of vpc.publicSubnets) {
      acknowledge(
        subnet.node.findChild('DefaultRoute'),
        ...inRegulatoryPacks('VPCNoUnrestrictedRouteToIGW').map((id) => ({
          id,
          reason:
            'Mail clients and mail servers reach the balancer from the whole internet. Only the balancer, NAT ' +
            'gateways and firewalls are in public subnets, and nothing gets a public address by itself (test/network/mail-network.test.ts).',
        })),
      );
    }
    return vpc;
  }

  /**
   * CloudFormation can't change the rules of a default security group, so the CDK does it by a function, once. That
   * function names a dependency on its role that its `Role` property makes already, which template rules warn of.
   */
  private tidyProvider(): void {
    const provider = Stack.of(this).node.findChild('Custom::VpcRestrictDefaultSGCustomResourceProvider');
    (provider.node.findChild('Handler') as CfnResource).addDeletionOverride('DependsOn');
  }

  private createGatewayEndpoints(vpc: Vpc): void {
    const subnets = [{ subnets: [...vpc.privateSubnets, ...vpc.isolatedSubnets] }];
    new GatewayVpcEndpoint(this, 'S3Endpoint', { vpc, subnets, service: GatewayVpcEndpointAwsService.S3 });
    new GatewayVpcEndpoint(this, 'DynamoDbEndpoint', { vpc, subnets, service: GatewayVpcEndpointAwsService.DYNAMODB });
  }

  private createFlowLog(vpc: Vpc, encryptionKey: IKey, props: MailNetworkProps): void {
    const { partition, region, account } = Stack.of(this);
    const logGroup = new LogGroup(this, 'FlowLogGroup', {
      encryptionKey,
      retention: props.logRetention ?? RetentionDays.ONE_YEAR,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    // The conditions keep flow logs of other accounts from using the role
    // (https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html).
    const role = new Role(this, 'FlowLogRole', {
      description: 'Writes flow logs of the mail network',
      assumedBy: new ServicePrincipal('vpc-flow-logs.amazonaws.com', {
        conditions: {
          StringEquals: { 'aws:SourceAccount': account },
          ArnLike: { 'aws:SourceArn': `arn:${partition}:ec2:${region}:${account}:vpc-flow-log/*` },
        },
      }),
    });
    const policy = new ManagedPolicy(this, 'FlowLogPolicy', {
      description: 'Writes flow logs of the mail network',
      roles: [role],
      statements: [
        new PolicyStatement({
          actions: ['logs:CreateLogStream', 'logs:PutLogEvents', 'logs:DescribeLogStreams'],
          resources: [logGroup.logGroupArn],
        }),
      ],
    });
    const flowLog = new FlowLog(this, 'FlowLog', {
      resourceType: FlowLogResourceType.fromVpc(vpc),
      trafficType: FlowLogTrafficType.ALL,
      maxAggregationInterval: FlowLogMaxAggregationInterval.ONE_MINUTE,
      // The policy above says it all; the construct would add an inline one.
      destination: FlowLogDestination.toCloudWatchLogs(logGroup, role.withoutPolicyUpdates()),
    });
    flowLog.node.addDependency(policy);
  }

  private createInterfaceEndpoints(services: InterfaceVpcEndpointAwsService[]): void {
    if (services.length === 0) {
      return;
    }
    const names = services.map((service) => service.shortName);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice) {
      throw new Error(`interfaceEndpoints must name each API once, got ${twice} twice; remove one`);
    }
    const securityGroup = new SecurityGroup(this, 'EndpointSecurityGroup', {
      vpc: this.vpc,
      description: 'AWS APIs for the mail network',
      allowAllOutbound: false,
      disableInlineRules: false,
    });
    securityGroup.addIngressRule(Peer.ipv4(this.cidr), Port.tcp(443), 'AWS APIs from the network');
    for (const service of services) {
      const id = service.shortName.replace(/(^|[^a-z0-9]+)([a-z0-9])/g, (_match, _gap, letter) => letter.toUpperCase());
      new InterfaceVpcEndpoint(this, `${id}Endpoint`, {
        vpc: this.vpc,
        service,
        subnets: { subnets: onePerZone(this.nodeSubnets.subnets ?? []) },
        securityGroups: [securityGroup],
        privateDnsEnabled: true,
        open: false,
      });
    }
  }
}

function zonesOf(props: MailNetworkProps): string[] {
  const count = props.zoneNames?.length ?? props.availabilityZones ?? MIN_ZONES;
  if (!Number.isInteger(count) || count < MIN_ZONES || count > MAX_ZONES) {
    const name = props.zoneNames ? 'zoneNames' : 'availabilityZones';
    throw new Error(`${name} must be ${MIN_ZONES} to ${MAX_ZONES} zones, got ${count}`);
  }
  if (props.zoneNames && props.availabilityZones !== undefined && props.availabilityZones !== count) {
    throw new Error(
      `availabilityZones must be the number of zoneNames (${count}), got ${props.availabilityZones}; leave it out`,
    );
  }
  const { natGateways } = props;
  if (natGateways !== undefined && (!Number.isInteger(natGateways) || natGateways < 1 || natGateways > count)) {
    throw new Error(`natGateways must be 1 to ${count} (the zones), got ${natGateways}`);
  }
  // Not looked up at synthesis: the template is the same on each machine and works in each region.
  return props.zoneNames ?? Array.from({ length: count }, (_, index) => Fn.select(index, Fn.getAzs()));
}

/** A NAT gateway's Elastic IP refers to its address. */
function natAddresses(vpc: Vpc): string[] {
  const addresses = vpc.publicSubnets.map((subnet) => subnet.node.tryFindChild('EIP') as CfnEIP | undefined);
  return addresses.filter((address) => address !== undefined).map((address) => address.ref);
}

function cidrOf(vpc: IVpc): string {
  try {
    return vpc.vpcCidrBlock;
  } catch {
    throw new Error('vpc must be imported with its IPv4 range, got none; add vpcCidrBlock to its attributes');
  }
}

function checkOnlyForImport(props: MailNetworkProps): void {
  const ofNew = (['availabilityZones', 'zoneNames', 'cidr', 'natGateways', 'logRetention', 'firewall'] as const).filter(
    (name) => props[name] !== undefined,
  );
  // MailStack hands its key to every construct, so the key is no contradiction.
  if (ofNew.length > 0) {
    throw new Error(`${ofNew.join(', ')} can not be set with vpc, they are for a new network; remove one or the other`);
  }
}

function checkOnlyForNew(props: MailNetworkProps): void {
  const ofImport = (['edgeSubnets', 'nodeSubnets', 'storageSubnets'] as const).filter(
    (name) => props[name] !== undefined,
  );
  if (ofImport.length > 0) {
    throw new Error(`${ofImport.join(', ')} can not be set without vpc, they choose subnets of an imported network`);
  }
  const cidr = props.cidr ?? '10.0.0.0/16';
  const { prefix } = parseCidr('cidr', cidr);
  if (prefix < 16 || prefix > 20) {
    throw new Error(`cidr must be /16 to /20, got ${cidr}; subnets for ${MAX_ZONES} zones must fit`);
  }
}
