import { PSEUDO, type Resource, type Template } from './template';

/** One port of the balancer and where it leads. */
export interface PlannedListener {
  readonly port: number;
  /** TLS: the balancer ends TLS. TCP: it passes bytes. */
  readonly protocol: 'TCP' | 'TLS';
  readonly targetPort: number;
  /** TLS: the balancer speaks TLS to the node as well. */
  readonly targetProtocol: 'TCP' | 'TLS';
  /** Seconds without a byte after which the balancer drops a connection. */
  readonly idleTimeout: number;
  readonly health: PlannedHealthCheck;
}

export interface PlannedHealthCheck {
  readonly port: number;
  readonly path: string;
  /** Seconds between checks. */
  readonly interval: number;
  /** Seconds until a check counts as failed. */
  readonly timeout: number;
  readonly healthyAfter: number;
  readonly unhealthyAfter: number;
}

/** A place in the cluster's network that a node can take. */
export interface PlannedPlace {
  readonly name: string;
  readonly zone: string;
  /** Address in the zone's node subnet. */
  readonly address: string;
  /** The launch template's user data, where each place has its own. @default - that of the plan */
  readonly userData?: string;
}

export interface PlannedNode extends PlannedPlace {
  readonly instanceId: string;
}

/** How large the cluster is to be; for tests and experiments. */
export interface PlannedSize {
  /** Nodes at the start. @default - the group's minimum */
  readonly nodes?: number;
  /** Nodes that there can be at a time, with those that replace others. @default - as many as at the start */
  readonly places?: number;
}

/** What the template says of the cluster, as far as one machine can be it. */
export interface Plan {
  readonly listeners: PlannedListener[];
  /** Nodes at the start. */
  readonly nodes: PlannedNode[];
  /** Where nodes can be; the balancer looks for them there. Those of `nodes` come first. */
  readonly places: PlannedPlace[];
  /** The balancer's address in each zone's edge subnet. */
  readonly balancerAddresses: string[];
  /** Prefix length of the network that holds all of these addresses. */
  readonly prefixLength: number;
  /** Last address of the network: router, name server and AWS stand-in of the local cluster. */
  readonly gateway: string;
  /** The launch template's user data, every token replaced. */
  readonly userData: string;
  /** What the user data writes to the nodes' environment file. */
  readonly environment: { readonly [key: string]: string };
}

/** Reads the plan of the cluster. */
export function readPlan(template: Template, size: PlannedSize = {}): Plan {
  const groups = template.ofType('AWS::AutoScaling::AutoScalingGroup').map(([, resource]) => resource);
  const [group] = groups;
  const [, vpc] = template.only('AWS::EC2::VPC');
  const [network, prefix] = template.text(vpc.Properties.CidrBlock).split('/');
  const userData = readUserData(template, group);
  // Where there are several groups, each is a shard and has one node.
  const isSharded = groups.length > 1;
  const count = isSharded ? groups.length : (size.nodes ?? Number(template.text(group.Properties.MinSize)));
  const places = isSharded
    ? groups.map((shard, index) => ({
        ...readPlaces(template, shard, 1)[0],
        name: `node${index + 1}`,
        userData: readUserData(template, shard),
      }))
    : readPlaces(template, group, Math.max(count, size.places ?? 0));
  return {
    listeners: template
      .ofType('AWS::ElasticLoadBalancingV2::Listener')
      .map(([, listener]) => readListener(template, listener)),
    nodes: places.slice(0, count).map((place, index) => ({ ...place, instanceId: instanceId(index + 1) })),
    places,
    balancerAddresses: readBalancerAddresses(template),
    prefixLength: Number(prefix),
    gateway: offset(network, 2 ** (32 - Number(prefix)) - 2),
    userData,
    environment: readEnvironment(userData),
  };
}

function readListener(template: Template, listener: Resource): PlannedListener {
  const properties = listener.Properties as {
    Port: number;
    Protocol: 'TCP' | 'TLS';
    DefaultActions: { TargetGroupArn: unknown }[];
    ListenerAttributes?: { Key: string; Value: string }[];
  };
  const idle = properties.ListenerAttributes?.find(({ Key }) => Key === 'tcp.idle_timeout.seconds');
  const [, group] = template.follow(properties.DefaultActions[0].TargetGroupArn);
  const target = template.resolve(group.Properties) as {
    Port: number;
    Protocol: 'TCP' | 'TLS';
    HealthCheckProtocol: string;
    HealthCheckPort: string;
    HealthCheckPath: string;
    HealthCheckIntervalSeconds: number;
    HealthCheckTimeoutSeconds: number;
    HealthyThresholdCount: number;
    UnhealthyThresholdCount: number;
  };
  if (target.HealthCheckProtocol !== 'HTTP') {
    throw new Error(
      `the local balancer checks health over HTTP only, port ${target.Port} wants ${target.HealthCheckProtocol}`,
    );
  }
  return {
    port: properties.Port,
    protocol: properties.Protocol,
    targetPort: target.Port,
    targetProtocol: target.Protocol,
    idleTimeout: Number(idle?.Value ?? 350),
    health: {
      port: Number(target.HealthCheckPort),
      path: target.HealthCheckPath,
      interval: target.HealthCheckIntervalSeconds,
      timeout: target.HealthCheckTimeoutSeconds,
      healthyAfter: target.HealthyThresholdCount,
      unhealthyAfter: target.UnhealthyThresholdCount,
    },
  };
}

function readPlaces(template: Template, group: Resource, count: number): PlannedPlace[] {
  const subnets = (group.Properties.VPCZoneIdentifier as unknown[]).map((reference) => template.follow(reference)[1]);
  return Array.from({ length: count }, (_unused, index) => {
    const subnet = subnets[index % subnets.length];
    const [network] = template.text(subnet.Properties.CidrBlock).split('/');
    return {
      name: `node${index + 1}`,
      zone: template.text(subnet.Properties.AvailabilityZone),
      // AWS keeps the first four addresses of a subnet.
      address: offset(network, 10 + Math.floor(index / subnets.length)),
    };
  });
}

/** Id of the cluster's nth instance. */
export function instanceId(number: number): string {
  return `i-${String(number).padStart(17, '0')}`;
}

function readBalancerAddresses(template: Template): string[] {
  const [, balancer] = template.only('AWS::ElasticLoadBalancingV2::LoadBalancer');
  const mappings = balancer.Properties.SubnetMappings as { SubnetId: unknown }[];
  return mappings.map(({ SubnetId }) => {
    const [, subnet] = template.follow(SubnetId);
    return offset(template.text(subnet.Properties.CidrBlock).split('/')[0], 10);
  });
}

function readUserData(template: Template, group: Resource): string {
  const reference = (group.Properties.LaunchTemplate as { LaunchTemplateId: unknown }).LaunchTemplateId;
  const [, launchTemplate] = template.follow(reference);
  const data = launchTemplate.Properties.LaunchTemplateData as { UserData: unknown };
  return template.text(data.UserData);
}

function readEnvironment(userData: string): { [key: string]: string } {
  const lines = userData.matchAll(/^((?:MAIL|AWS)_[A-Z0-9_]+)=(?:"([^"\n]*)"|([^\n]*))$/gm);
  return Object.fromEntries([...lines].map(([, key, quoted, plain]) => [key, quoted ?? plain]));
}

/** The IPv4 address `distance` after another. */
export function offset(address: string, distance: number): string {
  const value = address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0) + distance;
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

/** A stand-in for what CloudFormation would answer for a resource: a name that is told from others at a glance. */
export function standInValue(logicalId: string, resource: Resource, attribute?: string): string {
  const short = logicalId.toLowerCase();
  const arn = (service: string, name: string) =>
    `arn:aws:${service}:${PSEUDO['AWS::Region']}:${PSEUDO['AWS::AccountId']}:${name}`;
  switch (`${resource.Type} ${attribute ?? 'Ref'}`) {
    case 'AWS::S3::Bucket Ref':
      return bucketName(logicalId);
    case 'AWS::S3::Bucket Arn':
      return `arn:aws:s3:::${bucketName(logicalId)}`;
    case 'AWS::SQS::Queue Ref':
      return `https://sqs.${PSEUDO['AWS::Region']}.amazonaws.com/${PSEUDO['AWS::AccountId']}/${logicalId}`;
    case 'AWS::DynamoDB::Table Ref':
      return logicalId;
    case 'AWS::SecretsManager::Secret Ref':
      return arn('secretsmanager', `secret:${logicalId}`);
    case 'AWS::EC2::VPC CidrBlock':
      return String(resource.Properties.CidrBlock);
    case 'AWS::EC2::EIP Ref':
      return '198.18.0.1'; // of a network that is for tests (RFC 2544)
    case 'AWS::RDS::DBCluster Endpoint.Address':
    case 'AWS::RDS::DBCluster ReadEndpoint.Address':
      return `${short}.cluster.local`;
    case 'AWS::EFS::FileSystem Ref':
      return `fs-${short}`;
    default:
      return attribute === 'Arn' ? arn('local', short) : short;
  }
}

/** Name of the local bucket for a bucket of the template. */
export function bucketName(logicalId: string): string {
  return `local-${logicalId.toLowerCase()}`.slice(0, 63);
}
