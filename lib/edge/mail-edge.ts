import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import { Metric, MetricOptions, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import { CfnEIP, ISecurityGroup, ISubnet } from 'aws-cdk-lib/aws-ec2';
import {
  IpAddressType,
  NetworkListener,
  NetworkLoadBalancer,
  NetworkTargetGroup,
  Protocol,
  TargetType,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { ARecord, IHostedZone, RecordTarget } from 'aws-cdk-lib/aws-route53';
import { GlobalAcceleratorTarget, LoadBalancerTarget } from 'aws-cdk-lib/aws-route53-targets';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { HEALTH_PATH, HEALTH_PORT, MailService, TlsStart } from '../access';
import { checkServices } from '../access/mail-services';
import { AccessLogBucket } from '../archive';
import { EdgeCertificate } from '../certificates/edge-certificate';
import { acknowledge } from '../compliance';
import { MailNetwork } from '../network';
import { checkZoneHolds } from '../private/hosted-zone';
import { inRegulatoryPacks } from '../private/rule-packs';
import { logAccess } from './access-logs';
import { balancerMetric, hostMetric } from './edge-metrics';
import { EdgeTls } from './edge-tls';
import { checkIdleTimeout, idleTimeoutFor } from './idle-timeout';
import { MailAccelerator } from './mail-accelerator';

/** Properties of `MailEdge`. */
export interface MailEdgeProps {
  /** Network of the mail system. */
  readonly network: MailNetwork;

  /** Security group of the balancer, such as `MailAccess.edgeSecurityGroup`. It can't be changed to none later. */
  readonly securityGroup: ISecurityGroup;

  /** Services to listen for. IMAPS and submission are always part of it. */
  readonly services: MailService[];

  /** Name that clients connect to, such as `mail.example.com`. */
  readonly hostname: string;

  /**
   * Public zone that holds the host name.
   * @default - no record is made: point the host name to the balancer, and bring a certificate
   */
  readonly hostedZone?: IHostedZone;

  /**
   * Where TLS of ports 993, 465 and 995 ends.
   * @default EdgeTls.atBalancer()
   */
  readonly implicitTls?: EdgeTls;

  /**
   * How long a connection of the STARTTLS ports may be silent, 60 to 6000 s.
   * @default - 31 min for ManageSieve, 11 min for SMTP
   */
  readonly starttlsIdleTimeout?: Duration;

  /**
   * Allocation ids of your Elastic IPs, `eipalloc-…`, one for each zone of the network.
   * @default - new ones, kept when the stack is deleted: firewalls of others and reputation lists name them
   */
  readonly allocationIds?: string[];

  /**
   * Anycast addresses of Global Accelerator in front, which the host name then leads to. Needs `EdgeTls.atNode()`.
   * docs/global-accelerator.md.
   * @default false
   */
  readonly globalAccelerator?: boolean;

  /**
   * Bucket for the access logs of TLS listeners, in the balancer's region. With S3's own keys, or with a customer key
   * whose policy lets `delivery.logs.amazonaws.com` use it.
   * @default - a new one when the balancer has TLS listeners
   */
  readonly accessLogsBucket?: IBucket;

  /**
   * Folder in the bucket, without `AWSLogs`, which the balancer adds.
   * @default edge
   */
  readonly accessLogsPrefix?: string;

  /**
   * How long a node that leaves keeps its connections, 0 to 3600 s; then they are cut, so that clients come back to
   * another node.
   * @default Duration.seconds(30)
   */
  readonly drainTimeout?: Duration;

  /**
   * Whether the balancer can't be deleted until this is turned off.
   * @default true
   */
  readonly deletionProtection?: boolean;
}

/**
 * The one name that clients and other mail servers know: a Network Load Balancer with a fixed address in each zone, a
 * listener for each service, and the DNS record.
 *
 * Client addresses reach the nodes. STARTTLS ports pass through to the node's certificate. Nodes are asked over HTTP on
 * port 8080 every 5 s whether they can serve. IPv4 only: IPv6 clients would show the balancer's address.
 *
 * @throws when a service is missing or doubled, a timeout is out of bounds, the zone does not hold the host name, the
 *   number of addresses is not that of the zones, or there is neither a certificate nor a zone to prove one in
 */
export class MailEdge extends Construct {
  /** The balancer; protected from deletion unless asked for otherwise. */
  public readonly loadBalancer: NetworkLoadBalancer;

  /** One for each service, in the order of `services`. */
  public readonly targetGroups: NetworkTargetGroup[];

  /** One for each service, in the order of `services`. */
  public readonly listeners: NetworkListener[];

  /** Allocation ids of the Elastic IPs, one for each zone. */
  public readonly allocationIds: string[];

  /** Certificate of the TLS listeners; none when TLS ends at the nodes. */
  public readonly certificate?: ICertificate;

  /** Anycast addresses; nothing unless asked for. */
  public readonly accelerator?: MailAccelerator;

  /** Where access logs go; none when TLS ends at the nodes and no bucket was brought. */
  public readonly accessLogsBucket?: IBucket;

  private readonly imaps: NetworkTargetGroup;

  constructor(scope: Construct, id: string, props: MailEdgeProps) {
    super(scope, id);
    const subnets = props.network.edgeSubnets.subnets ?? [];
    checkProps(props, subnets);
    const tls = props.implicitTls ?? EdgeTls.atBalancer();
    // https://docs.aws.amazon.com/global-accelerator/latest/dg/about-endpoints.sipp-caveats.html
    if (props.globalAccelerator && tls.isAtBalancer) {
      throw new Error(
        'globalAccelerator needs TLS at the nodes: with a TLS listener AWS does not keep the addresses of clients, by which ' +
          'nodes limit and log; set implicitTls: EdgeTls.atNode()',
      );
    }

    this.allocationIds = props.allocationIds ?? this.createAddresses(subnets);
    this.certificate = tls.isAtBalancer ? (tls.certificate ?? this.createCertificate(props)) : undefined;
    this.loadBalancer = this.createLoadBalancer(props, subnets);
    this.accessLogsBucket =
      props.accessLogsBucket ?? (tls.isAtBalancer ? new AccessLogBucket(this, 'AccessLogs').bucket : undefined);
    logAccess(this.loadBalancer, props.accessLogsPrefix ?? 'edge', this.accessLogsBucket);

    this.targetGroups = props.services.map((service) => this.createTargetGroup(service, tls, props));
    this.listeners = props.services.map((service, index) =>
      this.createListener(service, tls, this.targetGroups[index], props.starttlsIdleTimeout),
    );
    this.imaps = this.targetGroups[props.services.indexOf(MailService.IMAPS)];
    if (props.globalAccelerator) {
      this.accelerator = new MailAccelerator(this, 'Accelerator', {
        loadBalancer: this.loadBalancer,
        ports: props.services.map(({ port }) => port),
        flowLogsBucket: this.accessLogsBucket ?? new AccessLogBucket(this, 'FlowLogs').bucket,
      });
      // An accelerator that leads nowhere yet is no way to nodes.
      this.accelerator.node.addDependency(...this.listeners);
    }
    this.createRecord(props);
  }

  /** Nodes that fail their health check. All services share one check, so those of IMAPS stand for all. Maximum. */
  public metricUnhealthyHosts(options?: MetricOptions): Metric {
    return hostMetric(this.imaps, 'UnHealthyHostCount', options);
  }

  /** Nodes that pass their health check. Minimum. */
  public metricHealthyHosts(options?: MetricOptions): Metric {
    return hostMetric(this.imaps, 'HealthyHostCount', { statistic: Stats.MINIMUM, ...options });
  }

  /** TLS handshakes that failed between clients and the balancer. Sum. */
  public metricClientTlsErrors(options?: MetricOptions): Metric {
    return balancerMetric(this.loadBalancer, 'ClientTLSNegotiationErrorCount', options);
  }

  /** TLS handshakes that failed between the balancer and nodes. Sum. */
  public metricTargetTlsErrors(options?: MetricOptions): Metric {
    return balancerMetric(this.loadBalancer, 'TargetTLSNegotiationErrorCount', options);
  }

  /** New connections. Sum. */
  public metricNewFlows(options?: MetricOptions): Metric {
    return balancerMetric(this.loadBalancer, 'NewFlowCount', options);
  }

  /** Open connections. Average. */
  public metricActiveFlows(options?: MetricOptions): Metric {
    return balancerMetric(this.loadBalancer, 'ActiveFlowCount', { statistic: Stats.AVERAGE, ...options });
  }

  /** Connections that the balancer turned down, for want of capacity or of nodes. Sum. */
  public metricRejectedFlows(options?: MetricOptions): Metric {
    return balancerMetric(this.loadBalancer, 'RejectedFlowCount', options);
  }

  /** Connections that failed because the balancer had no free port towards a node. Sum. */
  public metricPortAllocationErrors(options?: MetricOptions): Metric {
    return balancerMetric(this.loadBalancer, 'PortAllocationErrorCount', options);
  }

  /** Connections that access rules kept out. Sum. */
  public metricBlockedFlows(options?: MetricOptions): Metric {
    return balancerMetric(this.loadBalancer, 'SecurityGroupBlockedFlowCount_Inbound_TCP', options);
  }

  /** Connections sent to a node although none was healthy. Sum. */
  public metricUnhealthyRoutingFlows(options?: MetricOptions): Metric {
    return balancerMetric(this.loadBalancer, 'UnhealthyRoutingFlowCount', options);
  }

  /** Resets by nodes. Sum. */
  public metricNodeResets(options?: MetricOptions): Metric {
    return balancerMetric(this.loadBalancer, 'TCP_Target_Reset_Count', options);
  }

  /** Resets by the balancer, as when a silent connection times out. Sum. */
  public metricBalancerResets(options?: MetricOptions): Metric {
    return balancerMetric(this.loadBalancer, 'TCP_ELB_Reset_Count', options);
  }

  /** Bytes in both directions. Sum. */
  public metricProcessedBytes(options?: MetricOptions): Metric {
    return balancerMetric(this.loadBalancer, 'ProcessedBytes', options);
  }

  private createAddresses(subnets: ISubnet[]): string[] {
    return subnets.map((_subnet, index) => {
      const address = new CfnEIP(this, `Address${index + 1}`, { domain: 'vpc' });
      address.applyRemovalPolicy(RemovalPolicy.RETAIN);
      return address.attrAllocationId;
    });
  }

  private createCertificate(props: MailEdgeProps): ICertificate {
    if (!props.hostedZone) {
      throw new Error(
        'hostedZone must be given when TLS ends at the balancer without a certificate of yours; ' +
          'give it, or use EdgeTls.atBalancer({ certificate }) or EdgeTls.atNode()',
      );
    }
    return new EdgeCertificate(this, 'Certificate', { hostname: props.hostname, hostedZone: props.hostedZone })
      .certificate;
  }

  private createLoadBalancer(props: MailEdgeProps, subnets: ISubnet[]): NetworkLoadBalancer {
    const { vpc } = props.network;
    const loadBalancer = new NetworkLoadBalancer(this, 'LoadBalancer', {
      vpc,
      internetFacing: true,
      ipAddressType: IpAddressType.IPV4,
      subnetMappings: subnets.map((subnet, index) => ({ subnet, allocationId: this.allocationIds[index] })),
      securityGroups: [props.securityGroup],
      crossZoneEnabled: true,
      zonalShift: true,
      deletionProtection: props.deletionProtection ?? true,
    });
    // Without its route out the balancer's creation fails.
    loadBalancer.node.addDependency(vpc.internetConnectivityEstablished);
    return loadBalancer;
  }

  private createTargetGroup(service: MailService, tls: EdgeTls, props: MailEdgeProps): NetworkTargetGroup {
    return new NetworkTargetGroup(this, `${pascalCase(service)}Targets`, {
      vpc: props.network.vpc,
      targetType: TargetType.INSTANCE,
      port: service.port,
      // Nodes speak TLS on these ports either way, so nothing is in clear inside the network.
      protocol: isTlsListener(service, tls) ? Protocol.TLS : Protocol.TCP,
      preserveClientIp: true,
      proxyProtocolV2: false,
      crossZoneEnabled: true,
      deregistrationDelay: props.drainTimeout ?? Duration.seconds(30),
      connectionTermination: true,
      healthCheck: {
        protocol: Protocol.HTTP,
        port: String(HEALTH_PORT),
        path: HEALTH_PATH,
        healthyHttpCodes: '200',
        // The fastest that the balancer offers: detection is part of an outage.
        interval: Duration.seconds(5),
        timeout: Duration.seconds(2),
        healthyThresholdCount: 2,
        unhealthyThresholdCount: 2,
      },
    });
  }

  private createListener(
    service: MailService,
    tls: EdgeTls,
    targetGroup: NetworkTargetGroup,
    starttlsIdleTimeout?: Duration,
  ): NetworkListener {
    const common = { loadBalancer: this.loadBalancer, port: service.port, defaultTargetGroups: [targetGroup] };
    const id = `${pascalCase(service)}Listener`;
    if (isTlsListener(service, tls) && this.certificate) {
      return new NetworkListener(this, id, {
        ...common,
        protocol: Protocol.TLS,
        sslPolicy: tls.sslPolicy,
        certificates: [this.certificate],
      });
    }
    const chosen = service.tlsStart === TlsStart.STARTTLS ? starttlsIdleTimeout : tls.idleTimeout;
    const listener = new NetworkListener(this, id, {
      ...common,
      protocol: Protocol.TCP,
      tcpIdleTimeout: chosen ?? idleTimeoutFor(service),
    });
    acknowledge(
      listener,
      ...['AwsSolutions-ELB3', ...inRegulatoryPacks('ELBv2ACMCertificateRequired')].map((id) => ({
        id,
        reason:
          `${service.name} passes through to the node, which ends TLS with a certificate of its own and refuses log-ins ` +
          'in clear; a balancer can not take part in STARTTLS (test/edge/mail-edge.test.ts, test/system).',
      })),
    );
    return listener;
  }

  private createRecord(props: MailEdgeProps): void {
    if (props.hostedZone) {
      new ARecord(this, 'Record', {
        zone: props.hostedZone,
        // The dot keeps a name from being taken as relative to a zone whose name is not known yet.
        recordName: `${props.hostname}.`,
        target: RecordTarget.fromAlias(
          this.accelerator
            ? new GlobalAcceleratorTarget(this.accelerator.accelerator, { evaluateTargetHealth: true })
            : new LoadBalancerTarget(this.loadBalancer, { evaluateTargetHealth: true }),
        ),
      });
    }
  }
}

function isTlsListener(service: MailService, tls: EdgeTls): boolean {
  return service.tlsStart === TlsStart.IMPLICIT && tls.isAtBalancer;
}

function pascalCase(service: MailService): string {
  return service.name.charAt(0).toUpperCase() + service.name.slice(1);
}

function checkProps(props: MailEdgeProps, subnets: ISubnet[]): void {
  checkServices(props.services);
  checkIdleTimeout('starttlsIdleTimeout', props.starttlsIdleTimeout);
  if (props.hostedZone) {
    checkZoneHolds(props.hostedZone, props.hostname);
  }
  const drain = props.drainTimeout?.toSeconds();
  if (drain !== undefined && (drain < 0 || drain > 3600)) {
    throw new Error(`drainTimeout must be 0 to 3600 s, got ${drain} s`);
  }
  if (props.accessLogsPrefix?.includes('AWSLogs')) {
    throw new Error(`accessLogsPrefix must not have AWSLogs, which the balancer adds, got ${props.accessLogsPrefix}`);
  }
  if (props.allocationIds && props.allocationIds.length !== subnets.length) {
    throw new Error(
      `allocationIds must have one Elastic IP for each of the ${subnets.length} zones, got ${props.allocationIds.length}`,
    );
  }
}
