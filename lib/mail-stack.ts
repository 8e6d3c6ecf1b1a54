import { CfnOutput, Fn, RemovalPolicy, Size, Stack, StackProps, Token } from 'aws-cdk-lib';
import { InstanceType, IVpc, Vpc } from 'aws-cdk-lib/aws-ec2';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { HostedZone, HostedZoneAttributes, IHostedZone, PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { AccessSource, MailAccess, MailService } from './access';
import { AccessLogBucket, ArchiveLock, MailArchive } from './archive';
import { NodeCertificate } from './certificates';
import { IMailDirectory, MailDirectory } from './directory';
import { EdgeTls, MailEdge } from './edge';
import { MailNetwork } from './network';
import { LeaseTable, MailFleet, NodeSecret } from './node';
import { AlarmTopic, MailAlarms } from './observability';
import { MailKey } from './security';
import { MailShield } from './shield';
import { IMailStore, MailboxFormat, MailStorage } from './storage';

/** Properties of `MailStack`. */
export interface MailStackProps extends StackProps {
  /** Primary mail domain, such as `example.com`. */
  readonly domain: string;

  /**
   * More mail domains.
   * @default - none
   */
  readonly additionalDomains?: string[];

  /**
   * Name that clients connect to.
   * @default - `mail.` and the domain
   */
  readonly hostname?: string;

  /**
   * Public zone that holds the host name.
   * @default - a new zone for the host name; delegate it to the name servers in the output `NameServers`
   */
  readonly hostedZone?: IHostedZone;

  /**
   * The same by its id and name, for a zone that no construct of the app stands for.
   * @default - `hostedZone`
   */
  readonly hostedZoneAttributes?: HostedZoneAttributes;

  /**
   * Network with public and private subnets in three or more zones.
   * @default - a new one
   */
  readonly vpc?: IVpc;

  /**
   * The same by its id, looked up when the stack is synthesised; needs `env`.
   * @default - `vpc`
   */
  readonly vpcId?: string;

  /**
   * Availability zones of a new network.
   * @default 3
   */
  readonly zones?: number;

  /**
   * Services to offer. IMAPS and submission are always part of it.
   * @default [MailService.IMAPS, MailService.SUBMISSION]
   */
  readonly services?: MailService[];

  /**
   * Who may reach a service, by its name.
   * @default - anywhere
   */
  readonly allow?: { [service: string]: AccessSource };

  /**
   * Where TLS of ports 993, 465 and 995 ends.
   * @default EdgeTls.atBalancer()
   */
  readonly implicitTls?: EdgeTls;

  /**
   * Certificate of the nodes, which STARTTLS ports show to clients.
   * @default NodeCertificate.acmAcme()
   */
  readonly nodeCertificate?: NodeCertificate;

  /**
   * Where mail lives.
   * @default MailStorage.efs()
   */
  readonly storage?: MailStorage;

  /**
   * Who may log in.
   * @default MailDirectory.file()
   */
  readonly directory?: MailDirectory;

  /**
   * Instance type of nodes.
   * @default m7g.large
   */
  readonly instanceType?: InstanceType;

  /**
   * Fewest nodes.
   * @default - one for each zone
   */
  readonly minNodes?: number;

  /**
   * Most nodes.
   * @default - twice `minNodes`
   */
  readonly maxNodes?: number;

  /**
   * Client connections that a node is sized for.
   * @default - from the instance type
   */
  readonly connectionsPerNode?: number;

  /**
   * Largest message.
   * @default Size.mebibytes(50)
   */
  readonly messageSizeMax?: Size;

  /**
   * Size of a mailbox, unless the user has a size of their own.
   * @default Size.gibibytes(5)
   */
  readonly mailboxQuota?: Size;

  /**
   * How mailboxes lie on the store. It can't be changed on a store that has mail: nodes with another format than the
   * store began with refuse to start, and change nothing.
   * @default MailboxFormat.MAILDIR
   */
  readonly mailboxFormat?: MailboxFormat;

  /**
   * Bucket for archived mail.
   * @default - a new one
   */
  readonly archiveBucket?: IBucket;

  /**
   * Whether archived mail can be deleted.
   * @default ArchiveLock.none()
   */
  readonly archiveLock?: ArchiveLock;

  /**
   * Key for everything at rest. An imported key must let CloudWatch Logs, CloudWatch alarms and Auto Scaling use it.
   * @default - a new one with yearly rotation
   */
  readonly encryptionKey?: IKey;

  /**
   * Where alarms go.
   * @default - a new encrypted topic
   */
  readonly alarmTopic?: ITopic;

  /**
   * Address that alarms are mailed to; better not one of this system.
   * @default - nobody
   */
  readonly alarmEmail?: string;

  /**
   * Shield Advanced on the balancer's addresses; the account must have subscribed (3000 USD a month for a year).
   * @default false
   */
  readonly shieldAdvanced?: boolean;
}

/**
 * A highly available company mail system in one stack.
 *
 * What holds data (key, store, archive, users, logs) stays in the account when the stack is deleted, and the stack
 * itself is protected from deletion by default.
 */
export class MailStack extends Stack {
  public readonly network: MailNetwork;
  public readonly access: MailAccess;
  public readonly edge: MailEdge;
  public readonly fleet: MailFleet;
  public readonly store: IMailStore;
  public readonly directory: IMailDirectory;
  public readonly archive: MailArchive;
  public readonly leases: LeaseTable;
  public readonly alarms: MailAlarms;
  public readonly hostedZone: IHostedZone;
  public readonly encryptionKey: IKey;
  public readonly alarmTopic: ITopic;

  /** Name that clients connect to. */
  public readonly hostname: string;

  /** Mail domains, the primary one first. */
  public readonly domains: string[];

  constructor(scope: Construct, id: string, props: MailStackProps) {
    super(scope, id, { description: 'Mail', terminationProtection: true, ...props });
    checkProps(props, this);
    const services = props.services ?? [MailService.IMAPS, MailService.SUBMISSION];
    this.domains = [props.domain, ...(props.additionalDomains ?? [])];
    this.hostname = props.hostname ?? `mail.${props.domain}`;

    // Stateful: their construct ids are pinned by test/mail-stack.test.ts.
    this.encryptionKey = new MailKey(this, 'Key', { encryptionKey: props.encryptionKey }).key;
    const accessLogsBucket = new AccessLogBucket(this, 'AccessLogs').bucket;
    this.hostedZone = this.findOrCreateZone(props);

    this.network = new MailNetwork(this, 'Network', {
      vpc: props.vpcId ? Vpc.fromLookup(this, 'Vpc', { vpcId: props.vpcId }) : props.vpc,
      availabilityZones: props.zones,
      encryptionKey: this.encryptionKey,
    });
    this.access = new MailAccess(this, 'Access', { vpc: this.network.vpc, services, allow: props.allow });
    this.edge = new MailEdge(this, 'Edge', {
      network: this.network,
      securityGroup: this.access.edgeSecurityGroup,
      services,
      hostname: this.hostname,
      hostedZone: this.hostedZone,
      implicitTls: props.implicitTls,
      accessLogsBucket,
    });

    const storage = new Construct(this, 'Storage');
    this.store = (props.storage ?? MailStorage.efs()).bind(storage, {
      vpc: this.network.vpc,
      subnets: this.network.storageSubnets,
      securityGroup: this.access.storageSecurityGroup,
      nodeSecurityGroup: this.access.nodeSecurityGroup,
      encryptionKey: this.encryptionKey,
    });
    this.archive = new MailArchive(this, 'Archive', {
      bucket: props.archiveBucket,
      encryptionKey: this.encryptionKey,
      objectLock: props.archiveLock,
      accessLogsBucket,
    });
    this.directory = (props.directory ?? MailDirectory.file()).bind(new Construct(this, 'Directory'), {
      encryptionKey: this.encryptionKey,
      accessLogsBucket,
    });
    const certificate = (props.nodeCertificate ?? NodeCertificate.acmAcme()).bind(
      new Construct(this, 'NodeCertificate'),
      { hostname: this.hostname, hostedZone: this.hostedZone, encryptionKey: this.encryptionKey },
    );

    this.leases = new LeaseTable(this, 'Leases', { encryptionKey: this.encryptionKey });

    this.alarmTopic = new AlarmTopic(this, 'Alerts', {
      topic: props.alarmTopic,
      encryptionKey: this.encryptionKey,
      email: props.alarmEmail,
    }).topic;
    this.fleet = new MailFleet(this, 'Fleet', {
      vpc: this.network.vpc,
      vpcSubnets: this.network.nodeSubnets,
      securityGroup: this.access.nodeSecurityGroup,
      hostname: this.hostname,
      domains: this.domains,
      services,
      configurations: [this.store.configuration, this.directory.configuration, certificate],
      targetGroups: this.edge.targetGroups,
      leases: this.leases,
      nodeSecret: new NodeSecret(this, 'NodeSecret', { encryptionKey: this.encryptionKey }),
      instanceType: props.instanceType,
      minNodes: props.minNodes,
      maxNodes: props.maxNodes,
      connectionsPerNode: props.connectionsPerNode,
      messageSizeMax: props.messageSizeMax,
      mailboxQuota: props.mailboxQuota,
      mailboxFormat: props.mailboxFormat,
      encryptionKey: this.encryptionKey,
      notificationsTopic: this.alarmTopic,
    });
    // Nodes that boot before the mount targets, or before the route out, would fail and be replaced.
    const routes = (this.network.nodeSubnets.subnets ?? []).map((subnet) => subnet.internetConnectivityEstablished);
    this.fleet.autoScalingGroup.node.addDependency(storage, ...routes);

    this.alarms = new MailAlarms(this, 'Alarms', {
      fleet: this.fleet,
      edge: this.edge,
      store: this.store,
      certificate: this.edge.certificate,
      topic: this.alarmTopic,
    });
    if (props.shieldAdvanced) {
      new MailShield(this, 'Shield', {
        allocationIds: this.edge.allocationIds,
        encryptionKey: this.encryptionKey,
      });
    }
    this.addOutputs();
  }

  private findOrCreateZone(props: MailStackProps): IHostedZone {
    if (props.hostedZoneAttributes) {
      return HostedZone.fromHostedZoneAttributes(this, 'ImportedZone', props.hostedZoneAttributes);
    }
    if (props.hostedZone) {
      return props.hostedZone;
    }
    const zone = new PublicHostedZone(this, 'Zone', { zoneName: this.hostname });
    // A new zone would have other name servers than those that the domain delegates to.
    zone.applyRemovalPolicy(RemovalPolicy.RETAIN);
    return zone;
  }

  private addOutputs(): void {
    this.output('Hostname', this.hostname, 'Name of the server in mail clients');
    this.output('BalancerAddress', this.edge.loadBalancer.loadBalancerDnsName, 'Where the host name leads');
    this.output('ImapSettings', `${this.hostname}, port 993, TLS`, 'Reading mail; the user name is the whole address');
    this.output('SubmissionSettings', `${this.hostname}, port 587, STARTTLS`, 'Sending mail; the same user name');
    if (this.hostedZone.hostedZoneNameServers) {
      this.output(
        'NameServers',
        Fn.join(' ', this.hostedZone.hostedZoneNameServers),
        `NS records that the parent domain must have for ${this.hostname}; the deployment waits for them`,
      );
    }
    this.output('UsersObject', this.directory.location, 'Users: mail-users add --directory <this> name@domain');
    this.output('ArchiveBucketName', this.archive.bucket.bucketName, 'Archived mail');
    this.output('StoreId', this.store.storeId, 'Mail, indexes and queues');
    this.output('AlarmTopicArn', this.alarmTopic.topicArn, 'Where alarms go; subscribe to it');
  }

  private output(id: string, value: string, description: string): void {
    new CfnOutput(this, id, { value, description });
  }
}

function checkProps(props: MailStackProps, stack: Stack): void {
  const hostname = props.hostname ?? `mail.${props.domain}`;
  for (const [name, value] of [
    ['domain', props.domain],
    ...(props.additionalDomains ?? []).map((domain) => ['additionalDomains', domain]),
    ['hostname', hostname],
  ]) {
    if (!Token.isUnresolved(value) && !/^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$/.test(value)) {
      throw new Error(`${name} must be a lower-case domain such as mail.example.com, got ${JSON.stringify(value)}`);
    }
  }
  if (props.vpc && props.vpcId) {
    throw new Error('vpc and vpcId are both set; remove one');
  }
  if (props.vpcId && (Token.isUnresolved(stack.account) || Token.isUnresolved(stack.region))) {
    throw new Error('vpcId needs env with account and region, where the network is looked up; add env');
  }
  if (props.hostedZone && props.hostedZoneAttributes) {
    throw new Error('hostedZone and hostedZoneAttributes are both set; remove one');
  }
  const zone = (props.hostedZone ?? props.hostedZoneAttributes)?.zoneName;
  const outside = zone !== undefined && hostname !== zone && !hostname.endsWith(`.${zone}`);
  if (outside && !Token.isUnresolved(zone) && !Token.isUnresolved(hostname)) {
    throw new Error(`hostedZone must hold the host name ${hostname}, got ${zone}; choose the zone of a parent domain`);
  }
}
