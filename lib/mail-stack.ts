import { Annotations, Duration, RemovalPolicy, Stack, StackProps, Token } from 'aws-cdk-lib';
import { IVpc, Vpc } from 'aws-cdk-lib/aws-ec2';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { HostedZone, HostedZoneAttributes, IHostedZone, PublicHostedZone } from 'aws-cdk-lib/aws-route53';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import {
  AccessSource,
  ConnectionLimits,
  MailAccess,
  MailBlockLists,
  MailBlockListsOptions,
  MailService,
} from './access';
import {
  AccessLogBucket,
  ArchiveCopy,
  ArchiveCopyOptions,
  ArchiveLock,
  ArchiveReplication,
  ArchiveReplicationOptions,
  ArchiveTiers,
  MailArchive,
  MailJournal,
  MailJournalOptions,
} from './archive';
import { ClientCertificates, ClientCertificatesOptions, NodeCertificate } from './certificates';
import { RetentionProfile, RetentionSubject } from './compliance';
import {
  IInboundMail,
  InboundMail,
  IOutboundRelay,
  MailSendingLimits,
  OutboundRelay,
  SenderRewriting,
  SendingLimits,
  SesRelay,
} from './delivery';
import { IMailDirectory, ISingleSignOn, MailDirectory, SingleSignOn } from './directory';
import { MailDns, MailDnsOptions, MailExchanger } from './dns';
import { EdgeTls, MailEdge } from './edge';
import { MailFiltering, MailFilteringOptions } from './filtering';
import { MailFirewallOptions, MailNetwork } from './network';
import { FleetOptions, LeaseTable, MailFleet, NodeSecret } from './node';
import { AlarmThresholds, AlarmTopic, MailAlarms } from './observability';
import { MailOperators, MailOperatorsOptions, RestoreAccess, RestoreAccessOptions } from './operations';
import { checkWhole } from './private/check-whole';
import { checkZoneHolds } from './private/hosted-zone';
import { addOutputs } from './private/mail-outputs';
import { MailKey } from './security';
import { MailShield } from './shield';
import { MailDemand, MailSizing, sizeFor, USERS_PER_CLUSTER_MAX } from './sizing';
import { IMailStore, MailBackup, MailBackupOptions, MailboxFormat, MailStorage, RestoreCheck } from './storage';

/** Properties of `MailStack`. */
export interface MailStackProps extends StackProps, FleetOptions {
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
   * What the mail domains need in DNS: MX, SRV, SPF, DKIM with rotated keys, DMARC, MTA-STS, autoconfig, Autodiscover; in
   * Route 53 or as lines for a zone elsewhere. docs/dns.md.
   * @default - the mail host's own record and nothing else
   */
  readonly dns?: MailDnsOptions;

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
   * Deep inspection by Suricata rules between the internet and a new network; 290 USD a month for each zone.
   * docs/network-firewall.md.
   * @default - none
   */
  readonly networkFirewall?: MailFirewallOptions;

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
   * How much one source address, or one user, may ask of a node; docs/limits.md.
   * @default - 10 new connections a minute, 50 at a time, 20 sessions of a user; see `ConnectionLimits`
   */
  readonly connectionLimits?: ConnectionLimits;

  /**
   * Networks of bad repute (Tor exits, Spamhaus DROP, lists of yours) that are refused; docs/block-lists.md. Fetches the lists
   * from others.
   * @default - none
   */
  readonly blockLists?: MailBlockListsOptions;

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
   * Certificates that mail clients need besides the password or token, on every port that takes logins; needs
   * `implicitTls: EdgeTls.atNode()`. docs/client-certificates.md.
   * @default - none
   */
  readonly clientCertificates?: ClientCertificatesOptions;

  /**
   * Where mail lives.
   * @default MailStorage.efs()
   */
  readonly storage?: MailStorage;

  /**
   * Hourly, daily and monthly backups of the store in a vault of their own, with restore tests; docs/backup.md.
   * @default - AWS Backup's daily plan for EFS, kept 35 days
   */
  readonly backup?: MailBackupOptions;

  /**
   * Who may log in.
   * @default MailDirectory.file()
   */
  readonly directory?: MailDirectory;

  /**
   * Where people sign in with a second factor, for mail clients that bring a token (OAUTHBEARER, XOAUTH2); docs/sign-in.md.
   * @default - passwords only
   */
  readonly singleSignOn?: SingleSignOn;

  /**
   * What takes mail from the internet in the place of port 25 of the nodes, or, with `MailService.MX`, before it; docs/inbound.md.
   * @default - the nodes, when they offer `MailService.MX`
   */
  readonly inbound?: InboundMail;

  /**
   * Where nodes send mail for other domains; docs/outbound.md.
   * @default - straight to their mail servers, on port 25, which AWS opens on request
   */
  readonly relay?: OutboundRelay;

  /**
   * Whether mail that users forward elsewhere gets a sender at the primary domain (Sender Rewriting Scheme), so that it passes SPF there
   * and bounces come back through us to the original sender; docs/outbound.md.
   * @default false - it keeps its sender, and many refuse it
   */
  readonly senderRewriting?: boolean;

  /**
   * How much users may send, so that a stolen password sends no flood; docs/outbound.md.
   * @default - 1000 recipients in an hour for each user, 20 000 for each domain, at each node; see `SendingLimits`
   */
  readonly sendingLimits?: SendingLimits;

  /**
   * Spam and virus filtering on the nodes; docs/filtering.md.
   * @default - none: everything is delivered
   */
  readonly filtering?: MailFilteringOptions;

  /**
   * What users ask of the system. It chooses `instanceType`, `minNodes`, `maxNodes`, `connectionsPerNode` and thresholds
   * of alarms, each unless it is set; see `sizeFor`.
   * @default - the smallest cluster of m7g.large
   */
  readonly demand?: MailDemand;

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
   * When archived mail moves to colder classes; docs/journal.md has the prices.
   * @default - after 90 days and a year, as far as `retention` keeps mail for long enough
   */
  readonly archiveTiers?: ArchiveTiers;

  /**
   * A second copy of the archive in another region, within 15 minutes; docs/backup.md.
   * @default - none: law may forbid that mail leaves the region
   */
  readonly archiveReplication?: ArchiveReplicationOptions;

  /**
   * A copy of journal and evidence in an S3-compatible store outside AWS, within 5 minutes; docs/backup.md.
   * @default - none
   */
  readonly archiveCopy?: ArchiveCopyOptions;

  /**
   * A copy of every message, inwards and outwards, in the archive, with signed evidence; docs/journal.md.
   * @default - none
   */
  readonly journal?: MailJournalOptions;

  /**
   * How long mail and logs must and may be kept: settings are checked against it, and defaults follow it.
   * @default - logs for a year and more, archived mail for ever
   */
  readonly retention?: RetentionProfile;

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
   * When alarms go off.
   * @default - from `demand`, otherwise those of `AlarmThresholds`
   */
  readonly alarmThresholds?: AlarmThresholds;

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

  /**
   * Anycast addresses of Global Accelerator in front of the balancer; needs `implicitTls: EdgeTls.atNode()`. 18 USD a month.
   * docs/global-accelerator.md.
   * @default false
   */
  readonly globalAccelerator?: boolean;

  /**
   * Roles of operators, auditors and the help desk; docs/operators.md.
   * @default - none: whoever has rights in the account
   */
  readonly operators?: MailOperatorsOptions;

  /**
   * A login by which `mail-restore` opens every mailbox, from named addresses only; docs/restore.md.
   * @default - none: mail is got back with the user's own password
   */
  readonly restoreAccess?: RestoreAccessOptions;
}

/**
 * A highly available company mail system in one stack.
 *
 * What holds data (key, store, archive, users, logs) stays in the account when the stack is deleted, and the stack
 * itself is protected from deletion by default.
 */
export class MailStack extends Stack {
  /** VPC, subnets, flow logs. */
  public readonly network: MailNetwork;
  /** Who may reach what: security groups, limits. */
  public readonly access: MailAccess;
  /** Balancer, its addresses, listeners and DNS record. */
  public readonly edge: MailEdge;
  /** Nodes. */
  public readonly fleet: MailFleet;
  /** Mail, indexes and queues. */
  public readonly store: IMailStore;
  /** Users. */
  public readonly directory: IMailDirectory;
  /** Bucket for archived mail. */
  public readonly archive: MailArchive;

  /** Networks that are refused; nothing unless asked for. */
  public readonly blockLists?: MailBlockLists;
  /** Copy of the archive in another region; nothing unless asked for. */
  public readonly archiveReplication?: ArchiveReplication;
  /** Copy of the archive outside AWS; nothing unless asked for. */
  public readonly archiveCopy?: ArchiveCopy;
  /** DNS of the mail domains; nothing unless asked for. */
  public readonly dns?: MailDns;
  /** Journal of all mail; nothing unless asked for. */
  public readonly journal?: MailJournal;
  /** Identity provider for mail clients; nothing unless asked for. */
  public readonly singleSignOn?: ISingleSignOn;
  /** Certificates of mail clients; nothing unless asked for. */
  public readonly clientCertificates?: ClientCertificates;

  /** Spam and virus filtering; nothing unless asked for. */
  public readonly filtering?: MailFiltering;
  /** What takes mail for the nodes; nothing unless asked for. */
  public readonly inbound?: IInboundMail;

  /** Relay for mail to other domains; nothing unless asked for. */
  public readonly relay?: IOutboundRelay;

  /** What rewrites senders of forwarded mail; nothing unless asked for. */
  public readonly senderRewriting?: SenderRewriting;

  /** How much users may send. */
  public readonly sendingLimits: MailSendingLimits;

  /** Backups of the store; nothing unless asked for. */
  public readonly backup?: MailBackup;

  /** Check of restored backups; nothing unless asked for. */
  public readonly restoreCheck?: RestoreCheck;

  /** Roles of people; nothing unless asked for. */
  public readonly operators?: MailOperators;

  /** Login of `mail-restore`; nothing unless asked for. */
  public readonly restoreAccess?: RestoreAccess;

  /** Who serves whom, as nodes agree on it. */
  public readonly leases: LeaseTable;
  /** Alarms on nodes, balancer and store; other parts have their own. */
  public readonly alarms: MailAlarms;
  /** Zone of the host name. */
  public readonly hostedZone: IHostedZone;
  /** Key of everything at rest. */
  public readonly encryptionKey: IKey;
  /** Where alarms go. */
  public readonly alarmTopic: ITopic;

  /** Size that `demand` asks for, with what it costs. */
  public readonly sizing?: MailSizing;

  /** Name that clients connect to. */
  public readonly hostname: string;

  /** Time within which a person's mail must be gone, as `retention` has it; nothing when it has none. */
  public readonly erasureWithin?: Duration;

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
    const { retention } = props;
    this.erasureWithin = retention?.erasureWithin;
    const accessLogsBucket = new AccessLogBucket(this, 'AccessLogs', {
      expireAfter: retention?.period(RetentionSubject.NETWORK_LOGS, Duration.days(731)),
    }).bucket;
    this.hostedZone = this.findOrCreateZone(props);
    checkZoneHolds(this.hostedZone, this.hostname);

    this.network = new MailNetwork(this, 'Network', {
      vpc: props.vpcId ? Vpc.fromLookup(this, 'Vpc', { vpcId: props.vpcId }) : props.vpc,
      availabilityZones: props.zones,
      // Flow logs of an imported network are its owner's.
      logRetention:
        props.vpc || props.vpcId
          ? undefined
          : retention?.logRetention(RetentionSubject.NETWORK_LOGS, RetentionDays.ONE_YEAR),
      firewall: props.networkFirewall && { ...props.networkFirewall, ports: services.map(({ port }) => port) },
      encryptionKey: this.encryptionKey,
    });
    this.filtering = props.filtering && new MailFiltering(this, 'Filtering', props.filtering);
    this.sizing = props.demand && this.sizeFor(props.demand, props);
    this.access = new MailAccess(this, 'Access', {
      vpc: this.network.vpc,
      services,
      allow: props.allow,
      connectionLimits: props.connectionLimits,
    });
    this.blockLists =
      props.blockLists &&
      new MailBlockLists(this, 'BlockLists', {
        ...props.blockLists,
        offered: services,
        protectedRanges: this.rangesLetIn(props),
        encryptionKey: this.encryptionKey,
        accessLogsBucket,
      });
    this.edge = new MailEdge(this, 'Edge', {
      network: this.network,
      securityGroup: this.access.edgeSecurityGroup,
      services,
      hostname: this.hostname,
      hostedZone: this.hostedZone,
      implicitTls: props.implicitTls,
      globalAccelerator: props.globalAccelerator,
      accessLogsBucket,
    });

    const storage = new Construct(this, 'Storage');
    this.store = (props.storage ?? MailStorage.efs()).bind(storage, {
      vpc: this.network.vpc,
      subnets: this.network.storageSubnets,
      securityGroup: this.access.storageSecurityGroup,
      nodeSecurityGroup: this.access.nodeSecurityGroup,
      encryptionKey: this.encryptionKey,
      automaticBackups: props.backup === undefined,
    });
    this.checkStore(props);
    this.archive = new MailArchive(this, 'Archive', {
      ...props.archiveTiers,
      bucket: props.archiveBucket,
      encryptionKey: this.encryptionKey,
      objectLock: props.archiveLock,
      journalExpireAfter: retention?.longest(RetentionSubject.JOURNAL),
      accessLogsBucket,
    });
    this.journal =
      props.journal &&
      new MailJournal(this, 'Journal', {
        ...props.journal,
        packs: this.packsWanted(props),
        expireAfter: retention?.longest(RetentionSubject.JOURNAL),
        bucket: this.archive.bucket,
        encryptionKey: this.archive.encryptionKey,
        logEncryptionKey: this.encryptionKey,
        accessLogsBucket,
      });
    const copied = {
      bucket: this.archive.bucket,
      // An imported bucket that names no key may have the stack's.
      encryptionKey: this.archive.encryptionKey ?? this.encryptionKey,
    };
    this.archiveReplication =
      props.archiveReplication &&
      new ArchiveReplication(this, 'ArchiveReplication', { ...props.archiveReplication, ...copied });
    this.archiveCopy =
      props.archiveCopy &&
      new ArchiveCopy(this, 'ArchiveCopy', {
        ...props.archiveCopy,
        ...copied,
        logEncryptionKey: this.encryptionKey,
      });
    this.directory = (props.directory ?? MailDirectory.file()).bind(new Construct(this, 'Directory'), {
      encryptionKey: this.encryptionKey,
      accessLogsBucket,
      vpc: this.network.vpc,
      nodeSubnets: this.network.nodeSubnets,
      storageSubnets: this.network.storageSubnets,
      nodeSecurityGroup: this.access.nodeSecurityGroup,
      domains: this.domains,
    });
    this.singleSignOn = props.singleSignOn?.bind(new Construct(this, 'SingleSignOn'), {
      hostname: this.hostname,
      encryptionKey: this.encryptionKey,
    });
    const certificate = (props.nodeCertificate ?? NodeCertificate.acmAcme()).bind(
      new Construct(this, 'NodeCertificate'),
      { hostname: this.hostname, hostedZone: this.hostedZone, encryptionKey: this.encryptionKey },
    );

    this.clientCertificates =
      props.clientCertificates &&
      new ClientCertificates(this, 'ClientCertificates', {
        ...props.clientCertificates,
        encryptionKey: this.encryptionKey,
        accessLogsBucket,
      });
    this.relay = props.relay?.bind(new Construct(this, 'Relay'), {
      domains: this.domains,
      hostedZones: [this.hostedZone],
      encryptionKey: this.encryptionKey,
    });
    this.restoreAccess =
      props.restoreAccess &&
      new RestoreAccess(this, 'RestoreAccess', { ...props.restoreAccess, encryptionKey: this.encryptionKey });
    this.inbound = props.inbound?.bind(new Construct(this, 'Inbound'), {
      domains: this.domains,
      verifiedDomains: this.relay instanceof SesRelay ? this.domains : undefined,
      hostedZones: [this.hostedZone],
      encryptionKey: this.encryptionKey,
      accessLogsBucket,
    });
    this.senderRewriting = props.senderRewriting
      ? new SenderRewriting(this, 'SenderRewriting', { encryptionKey: this.encryptionKey })
      : undefined;
    this.sendingLimits = new MailSendingLimits(this, 'SendingLimits', props.sendingLimits);
    this.leases = new LeaseTable(this, 'Leases', { encryptionKey: this.encryptionKey });

    this.alarmTopic = new AlarmTopic(this, 'Alerts', {
      topic: props.alarmTopic,
      encryptionKey: this.encryptionKey,
      email: props.alarmEmail,
    }).topic;
    if (props.dns) {
      this.dns = new MailDns(this, 'Dns', {
        ...props.dns,
        mailExchangers: props.dns.mailExchangers ?? this.mailExchangers(services),
        outboundAddresses: props.dns.outboundAddresses ?? this.network.outboundAddresses,
        domains: this.domains,
        hostname: this.hostname,
        hostedZone: this.hostedZone,
        services,
        singleSignOn: this.singleSignOn,
        encryptionKey: this.encryptionKey,
        alarmTopic: this.alarmTopic,
      });
    }
    // SES signs what it relays. A filter is there anyway, and signs also what does not go through the relay.
    const signs = this.dns && (!this.relay || this.filtering);
    this.fleet = new MailFleet(this, 'Fleet', {
      vpc: this.network.vpc,
      vpcSubnets: this.network.nodeSubnets,
      securityGroup: this.access.nodeSecurityGroup,
      hostname: this.hostname,
      domains: this.domains,
      services,
      configurations: [
        this.access.configuration,
        ...(this.blockLists ? [this.blockLists.configuration] : []),
        this.store.configuration,
        this.directory.configuration,
        certificate,
        ...(this.clientCertificates ? [this.clientCertificates.configuration] : []),
        ...(this.singleSignOn ? [this.singleSignOn.configuration] : []),
        ...(this.journal ? [this.journal.configuration] : []),
        ...(this.relay ? [this.relay.configuration] : []),
        ...(this.inbound ? [this.inbound.configuration] : []),
        ...(this.senderRewriting ? [this.senderRewriting.configuration] : []),
        this.sendingLimits.configuration,
        ...(this.filtering ? [this.filtering.configuration] : []),
        ...(signs ? [this.dns!.dkimKey.configuration] : []),
        ...(this.restoreAccess ? [this.restoreAccess.configuration] : []),
      ],
      shards: this.store.shards,
      targetGroups: this.edge.targetGroups,
      leases: this.leases,
      nodeSecret: new NodeSecret(this, 'NodeSecret', { encryptionKey: this.encryptionKey }),
      instanceType: props.instanceType ?? this.sizing?.instanceType,
      ...this.numberOfNodes(props),
      connectionsPerNode: props.connectionsPerNode ?? this.sizing?.connectionsPerNode,
      messageSizeMax: props.messageSizeMax,
      mailboxQuota: props.mailboxQuota,
      sharedFolders: props.sharedFolders,
      maintenanceWindow: props.maintenanceWindow,
      trashRetention: props.trashRetention,
      junkRetention: props.junkRetention,
      drainTimeout: props.drainTimeout,
      bootTimeout: props.bootTimeout,
      pauseTime: props.pauseTime,
      sessionManager: props.sessionManager,
      mailboxFormat: props.mailboxFormat,
      encryptionKey: this.encryptionKey,
      notificationsTopic: this.alarmTopic,
    });
    // Nodes that boot before the mount targets, or before the route out, would fail and be replaced.
    const routes = (this.network.nodeSubnets.subnets ?? []).map((subnet) => subnet.internetConnectivityEstablished);
    for (const group of this.fleet.autoScalingGroups) {
      group.node.addDependency(storage, ...routes);
    }

    this.alarms = new MailAlarms(this, 'Alarms', {
      fleet: this.fleet,
      edge: this.edge,
      store: this.store,
      certificate: this.edge.certificate,
      singleSignOn: this.singleSignOn,
      topic: this.alarmTopic,
      queueLengthMax: this.sizing?.queueLengthMax,
      storeSizeMax: this.sizing?.storeSizeMax,
      ...props.alarmThresholds,
    });
    this.blockLists?.addAlarms(this.alarmTopic);
    this.directory.addAlarms(this.alarmTopic);
    this.journal?.addAlarms(this.alarmTopic);
    this.archiveReplication?.addAlarms(this.alarmTopic);
    this.archiveCopy?.addAlarms(this.alarmTopic);
    this.filtering?.addAlarms(this.alarmTopic);
    this.clientCertificates?.addAlarms(this.alarmTopic);
    this.restoreAccess?.addAlarms(this.alarmTopic);
    this.fleet.rollBackOn(...(props.rollbackAlarms ?? this.alarms.rollbackAlarms));
    this.relay?.addAlarms(this.alarmTopic);
    this.inbound?.addAlarms(this.alarmTopic);
    this.sendingLimits.addAlarms(this.alarmTopic);
    if (props.backup && this.store.storeArn) {
      this.backup = new MailBackup(this, 'Backup', {
        ...props.backup,
        fileSystemArn: this.store.storeArn,
        clusterName: this.fleet.clusterName,
        fileSystemKey: this.encryptionKey,
        encryptionKey: this.encryptionKey,
      });
      this.backup.addAlarms(this.alarmTopic);
      this.restoreCheck = props.backup.restoreCheck ? this.createRestoreCheck(this.backup) : undefined;
    }
    if (props.shieldAdvanced) {
      new MailShield(this, 'Shield', {
        allocationIds: this.edge.allocationIds,
        acceleratorArn: this.edge.accelerator?.accelerator.acceleratorArn,
        encryptionKey: this.encryptionKey,
      });
    }
    if (props.operators) {
      this.operators = new MailOperators(this, 'Operators', {
        ...props.operators,
        fleet: this.fleet,
        directory: this.directory,
        archive: this.archive,
        journal: this.journal,
        restoreAccess: this.restoreAccess,
        backupVault: this.backup?.vault,
        logGroups: this.node.findAll().filter((child) => child instanceof LogGroup),
        encryptionKey: this.encryptionKey,
        sessionManager: props.sessionManager,
        sessionLogRetention:
          props.operators.sessionLogRetention ??
          retention?.logRetention(RetentionSubject.AUDIT_LOGS, RetentionDays.ONE_YEAR),
      });
    }
    addOutputs(this);
  }

  /** Ranges of our own, and of whom the owner lets in by name: no block list may touch them. */
  private rangesLetIn({ allow = {}, connectionLimits }: MailStackProps): string[] {
    const { vpc, outboundAddresses } = this.network;
    const allowed = Object.values(allow).filter(({ isAnywhere }) => !isAnywhere);
    const cidrs = allowed.flatMap(({ cidrs: ranges }) => ranges);
    const outbound = outboundAddresses.map((address) => `${address}/32`);
    return [...new Set([vpc.vpcCidrBlock, ...outbound, ...cidrs, ...(connectionLimits?.exempt ?? [])])];
  }

  /** What only shows when the store is there. */
  private checkStore(props: MailStackProps): void {
    const { shards, storeArn, configuration } = this.store;
    if (configuration.environment.MAIL_OLD_DAYS && props.mailboxFormat !== MailboxFormat.SDBOX) {
      throw new Error(
        `oldMailAfter needs mailboxFormat MailboxFormat.SDBOX, which has a second place for mail, got ` +
          `${props.mailboxFormat ?? MailboxFormat.MAILDIR}; set mailboxFormat, or leave oldMailAfter out`,
      );
    }
    if (props.backup && storeArn === undefined) {
      throw new Error(
        'backup must be left out with MailStorage.ebs(), which has snapshots of its own; set snapshotEvery and snapshotsKept',
      );
    }
    if (shards && this.sizing && this.sizing.minNodes > shards.length) {
      throw new Error(
        `demand asks for ${this.sizing.minNodes} nodes, got ${shards.length} shards with one node each; ` +
          'raise shardsPerZone, or choose a larger instanceType',
      );
    }
  }

  private createRestoreCheck({ restoreTestingPlanArn }: MailBackup): RestoreCheck {
    const { vpc, nodeSubnets } = this.network;
    const check = new RestoreCheck(this, 'RestoreCheck', {
      restoreTestingPlanArn,
      store: { storeId: this.store.storeId, storeArn: this.store.storeArn! },
      bundle: this.fleet.bundle,
      environment: this.fleet.environment,
      subnet: vpc.selectSubnets(nodeSubnets).subnets[0],
      securityGroup: this.access.nodeSecurityGroup,
      storeSecurityGroup: this.access.storageSecurityGroup,
      directoryStatements: this.directory.configuration.statements ?? [],
      journal: this.journal,
      encryptionKey: this.encryptionKey,
      clusterName: this.fleet.clusterName,
    });
    check.addAlarms(this.alarmTopic);
    return check;
  }

  /** Who takes mail, when it is not the nodes alone. */
  private mailExchangers(services: MailService[]): MailExchanger[] | undefined {
    if (!this.inbound) {
      return undefined;
    }
    if (Token.isUnresolved(this.inbound.mailExchanger)) {
      throw new Error(
        'inbound needs env with a region for the MX records that dns makes, got none; add env, or give dns.mailExchangers',
      );
    }
    const nodes = services.includes(MailService.MX) ? [{ preference: 20, host: this.hostname }] : [];
    return [{ preference: 10, host: this.inbound.mailExchanger }, ...nodes];
  }

  private numberOfNodes(props: MailStackProps): Pick<FleetOptions, 'minNodes' | 'maxNodes'> {
    if (this.store.shards) {
      return { minNodes: props.minNodes, maxNodes: props.maxNodes };
    }
    return {
      minNodes: props.minNodes ?? this.sizing?.minNodes,
      maxNodes: props.maxNodes ?? (props.minNodes === undefined ? this.sizing?.maxNodes : undefined),
    };
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

  private sizeFor(demand: MailDemand, { instanceType, connectionsPerNode }: MailStackProps): MailSizing {
    const { vpc, nodeSubnets } = this.network;
    const sizing = sizeFor({
      ...demand,
      zones: demand.zones ?? new Set(vpc.selectSubnets(nodeSubnets).availabilityZones).size,
      instanceType: instanceType ?? demand.instanceType,
      connectionsPerNode: connectionsPerNode ?? demand.connectionsPerNode,
      memoryTaken: this.filtering?.configuration.memory,
    });
    if (sizing.clusters > 1) {
      throw new Error(
        `demand.users must be <= ${USERS_PER_CLUSTER_MAX} for one MailStack, got ${demand.users}; ` +
          `make ${sizing.clusters} stacks, each with domains of its own`,
      );
    }
    return sizing;
  }

  /** Packs save where mail goes to Glacier for long, and originals can be deleted. */
  private packsWanted({ journal, archiveLock, archiveBucket, retention }: MailStackProps): boolean {
    const isLocked = archiveLock?.defaultRetention !== undefined;
    if (isLocked && journal?.packs) {
      throw new Error(
        'journal.packs must be off where archiveLock keeps the originals, which would then be paid for twice; remove one',
      );
    }
    if (isLocked && journal?.packs === undefined && !journal?.sealed) {
      Annotations.of(this).addInfoV2(
        'cdk-mail-platform:noPacks',
        'small messages of the journal stay single objects, because archiveLock keeps them (docs/journal.md, "Packs")',
      );
    }
    const kept = retention?.longest(RetentionSubject.JOURNAL)?.toDays() ?? Infinity;
    return journal?.packs ?? (!isLocked && !journal?.sealed && !archiveBucket && kept >= 365);
  }
}

/** 253 characters, 63 between dots (RFC 1035). */
const DOMAIN = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/;

function checkProps(props: MailStackProps, stack: Stack): void {
  for (const [name, value] of [
    ['domain', props.domain],
    ...(props.additionalDomains ?? []).map((domain) => ['additionalDomains', domain]),
    ['hostname', props.hostname ?? `mail.${props.domain}`],
  ]) {
    if (!Token.isUnresolved(value) && !DOMAIN.test(value)) {
      throw new Error(`${name} must be a lower-case domain such as mail.example.com, got ${JSON.stringify(value)}`);
    }
  }
  const domains = [props.domain, ...(props.additionalDomains ?? [])];
  const twice = domains.find((domain, index) => domains.indexOf(domain) !== index);
  if (twice !== undefined) {
    throw new Error(`additionalDomains must name other domains, each once, got ${twice} twice; remove one`);
  }
  props.retention?.checkLock('archiveLock', props.archiveLock?.defaultRetention, props.journal?.sealed);
  props.retention?.checkBackupLock('backup.lock', props.backup?.lock?.configuration);
  if (props.vpc && props.vpcId) {
    throw new Error('vpc and vpcId are both set; remove one');
  }
  for (const ofNew of ['zones', 'networkFirewall'] as const) {
    if (props[ofNew] !== undefined && (props.vpc || props.vpcId)) {
      throw new Error(`${ofNew} can't be set with ${props.vpc ? 'vpc' : 'vpcId'}, it is for a new network; remove one`);
    }
  }
  checkWhole('zones', props.zones ?? 3, { min: 3, max: 6, unit: 'zones' });
  if (props.vpcId && (Token.isUnresolved(stack.account) || Token.isUnresolved(stack.region))) {
    throw new Error('vpcId needs env with account and region, where the network is looked up; add env');
  }
  if (props.globalAccelerator && props.networkFirewall) {
    throw new Error(
      "networkFirewall can't inspect what comes by globalAccelerator, which AWS does not support together; remove one",
    );
  }
  if (props.clientCertificates && (props.implicitTls?.isAtBalancer ?? true)) {
    throw new Error(
      'clientCertificates needs implicitTls EdgeTls.atNode(), as a balancer passes no certificates on, got TLS at the balancer; ' +
        'set implicitTls, or remove clientCertificates',
    );
  }
  if (props.hostedZone && props.hostedZoneAttributes) {
    throw new Error('hostedZone and hostedZoneAttributes are both set; remove one');
  }
}
