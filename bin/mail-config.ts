import {
  Check,
  ConfigError,
  fail,
  integer,
  isBoolean,
  isString,
  listOf,
  matches,
  oneOf,
  optional,
  record,
} from './config-checks';
import {
  checkAllow,
  checkBlockLists,
  checkFiltering,
  checkJournal,
  checkNetworkFirewall,
  checkNodeCertificate,
  checkOperators,
  checkSingleSignOn,
  KEY_ARN,
  REGION,
  SERVICES,
} from './config-field-checks';

export { ConfigError } from './config-checks';

/** Names of services, see `MailService`. */
export type ServiceName = 'imaps' | 'submission' | 'submissions' | 'pop3s' | 'mx' | 'managesieve';

/** Who may reach a service: everybody, addresses in CIDR notation, or a managed prefix list. */
export type AllowConfig = 'anywhere' | { readonly cidrs: string[] } | { readonly prefixList: string };

/** Where nodes get the certificate of STARTTLS ports from. */
export type NodeCertificateConfig = 'acm-acme' | 'dns-01' | 'local-ca' | { readonly secretArn: string };

/** Names of retention profiles, see `RetentionProfile`. */
export type RetentionName = 'gdpr' | 'us' | 'mlps3' | 'iso27001';

/** An identity provider, see `OpenIdOptions`. */
export interface OpenIdConfig {
  readonly issuer: string;
  readonly clientId: string;
  readonly audience?: string;
  readonly mailboxClaim?: string;
  readonly requiredScope?: string;
  readonly authorizationUrl?: string;
  readonly tokenUrl?: string;
}

/** Lists of networks that are refused, see `BlockList`. */
export interface BlockListsConfig {
  readonly lists?: (
    | 'tor-exits'
    | 'spamhaus-drop'
    | { readonly name: string; readonly url: string; readonly networksMin?: number }
    | { readonly name: string; readonly networks: string[] }
  )[];
  readonly services?: ServiceName[];
  readonly refreshHours?: number;
  readonly staleHours?: number;
  readonly growthMax?: number;
}

/** What `mail.config.ts` exports. Everything but the domain has a default. */
export interface MailConfig {
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
   * AWS account, 12 digits. Goes with `region`.
   * @default - the account of whoever deploys
   */
  readonly account?: string;

  /**
   * AWS region. Goes with `account`.
   * @default - the region of whoever deploys
   */
  readonly region?: string;

  /**
   * A network to use, with public and private subnets in three zones or more. Needs `account` and `region`.
   * @default - a new network
   */
  readonly vpcId?: string;

  /**
   * A public Route 53 zone to use, which holds the host name.
   * @default - a new zone for the host name, whose name servers the output NameServers lists
   */
  readonly hostedZone?: { readonly id: string; readonly name: string };

  /**
   * What the mail domains need in DNS, docs/dns.md; `{}` for all of it. Domains that `hostedZone` holds get their records,
   * the others an output with lines for their zone. Fields are those of `MailDnsOptions`.
   * @default - the mail host's own record and nothing else
   */
  readonly dns?: {
    readonly dmarc?: 'none' | 'quarantine' | 'reject';
    readonly mtaSts?: 'testing' | 'enforce' | 'none';
    readonly reportAddress?: string;
    readonly senders?: string[];
    readonly outboundAddresses?: string[];
    readonly discoverySite?: boolean;
  };

  /**
   * Services to offer. `imaps` and `submission` are always part of it.
   * @default ['imaps', 'submission']
   */
  readonly services?: ServiceName[];

  /**
   * Who may reach a service.
   * @default - anywhere
   */
  readonly allow?: { readonly [service in ServiceName]?: AllowConfig };

  /**
   * How much one source address, or one user, may ask of a node, docs/limits.md. Fields are those of `ConnectionLimits`;
   * `lockoutMinutes` is how long a source is refused.
   * @default - those of `ConnectionLimits`
   */
  readonly connectionLimits?: {
    readonly newPerMinute?: number;
    readonly newBurst?: number;
    readonly sessionsPerSource?: number;
    readonly sessionsPerUser?: number;
    readonly halfOpenPerMinute?: number;
    readonly lockoutFailures?: number;
    readonly lockoutMinutes?: number;
    readonly exempt?: string[];
  };

  /**
   * Networks of bad repute that are refused, docs/block-lists.md; `true` for Tor exits and Spamhaus DROP. Fields are those of
   * `MailBlockListsOptions`; a list is a name of these two, an https address, or ranges.
   * @default false
   */
  readonly blockLists?: boolean | BlockListsConfig;

  /**
   * Availability zones of a new network, 3 to 6.
   * @default 3
   */
  readonly zones?: number;

  /**
   * Identity provider for mail clients that bring a token, docs/sign-in.md: a new Cognito user pool, or one of yours, with the
   * fields of `OpenIdOptions`.
   * @default - passwords only
   */
  readonly singleSignOn?: 'cognito' | OpenIdConfig;

  /**
   * What takes mail from the internet: `ses` is Amazon SES in the region, which keeps it until nodes fetch it, docs/inbound.md.
   * @default - the nodes, when `services` has `mx`
   */
  readonly inbound?: 'ses';

  /**
   * Where nodes send mail for other domains: `ses` is Amazon SES in the region, docs/outbound.md.
   * @default - straight to their mail servers, on port 25, which AWS opens on request
   */
  readonly relay?: 'ses';

  /**
   * Where users are kept: `file`, an object in S3, or `aurora`, a PostgreSQL database over two zones (88 USD a month), docs/directory.md.
   * @default 'file'
   */
  readonly directory?: 'file' | 'aurora';

  /**
   * Whether mail that users forward elsewhere gets a sender of ours, so that it passes SPF there; docs/outbound.md.
   * @default false
   */
  readonly senderRewriting?: boolean;

  /**
   * How much users may send, docs/outbound.md. Fields are those of `SendingLimits`.
   * @default - 1000 recipients in an hour for each user, 20 000 for each domain, at each node
   */
  readonly sendingLimits?: {
    readonly recipientsPerHour?: number;
    readonly domainRecipientsPerHour?: number;
    readonly exempt?: string[];
  };

  /**
   * Spam and virus filtering, docs/filtering.md; `true` for the defaults. Fields are those of `MailFilteringOptions`;
   * `duringOutage` says what happens to mail that can't be examined.
   * @default false
   */
  readonly filtering?:
    | boolean
    | {
        readonly duringOutage?: 'accept' | 'defer';
        readonly greylisting?: boolean;
        readonly virusScan?: boolean;
        readonly junkScore?: number;
        readonly rejectScore?: number;
      };

  /**
   * People with a mailbox, 100 000 at most. Chooses the fields from `minNodes` to `connectionsPerNode`, each unless it is
   * set, and thresholds of alarms; docs/sizing.md has a table.
   * @default - the smallest cluster of m7g.large
   */
  readonly users?: number;

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
   * EC2 instance type of nodes.
   * @default 'm7g.large'
   */
  readonly instanceType?: string;

  /**
   * Client connections that a node is sized for.
   * @default - from the instance type
   */
  readonly connectionsPerNode?: number;

  /**
   * Where TLS of 993, 465 and 995 ends.
   * @default 'balancer'
   */
  readonly implicitTls?: 'balancer' | 'node';

  /**
   * Minutes without a byte after which the balancer drops a connection, 1 to 100. Only with `implicitTls: 'node'`: a
   * TLS listener drops after 350 seconds, always.
   * @default - set by the balancer
   */
  readonly idleTimeoutMinutes?: number;

  /**
   * Certificate of the nodes. `local-ca` is for test clusters: no client trusts it.
   * @default 'acm-acme'
   */
  readonly nodeCertificate?: NodeCertificateConfig;

  /**
   * Certificates that mail clients need besides the password, docs/client-certificates.md: `authorities` is the text of a PEM file with
   * those of who issues them, `revocationLists` whether nodes look at lists of what they revoked (default false). Needs `implicitTls: 'node'`.
   * @default - none
   */
  readonly clientCertificates?: { readonly authorities: string; readonly revocationLists?: boolean };

  /**
   * Address that the certificate authority of the nodes may write to. `nodeCertificate: 'dns-01'` needs it.
   * @default - none
   */
  readonly certificateEmail?: string;

  /**
   * Size of a mailbox, MiB.
   * @default 5120
   */
  readonly mailboxQuotaMiB?: number;

  /**
   * Whether users may share folders with each other (IMAP ACL), docs/sharing.md. Not with `shards`.
   * @default false
   */
  readonly sharedFolders?: boolean;

  /**
   * How mailboxes lie on the store: see `MailboxFormat`. It can't be changed on a store that has mail.
   * @default 'maildir'
   */
  readonly mailboxFormat?: 'maildir' | 'sdbox';

  /**
   * Zonal shards on EBS in the place of EFS, docs/storage.md: `{}` for one gp3 volume of 500 GiB in each zone. `perZone` and
   * `zones` can't be changed once there is mail. `throughput`, in MiB a second, is for `gp3`.
   * @default - EFS
   */
  readonly shards?: {
    readonly perZone?: number;
    readonly type?: 'gp3' | 'io2';
    readonly sizeGiB?: number;
    readonly iops?: number;
    readonly throughput?: number;
    /** Age in days at which mail moves to EFS; needs `mailboxFormat: 'sdbox'`. */
    readonly oldMailDays?: number;
  };

  /**
   * A copy of the store in another region, minutes behind, docs/backup.md; `keyArn` is a key that exists there. Not with `shards`.
   * @default - none: law may forbid that mail leaves the region
   */
  readonly storeReplication?: { readonly region: string; readonly keyArn?: string };

  /**
   * Largest message, MiB.
   * @default 50
   */
  readonly messageSizeMiB?: number;

  /**
   * When expired mail goes and indexes are tended, each night. `start` is `00:00` to `23:59`; `timeZone` is an IANA name
   * such as `Europe/Berlin`, without it UTC.
   * @default { start: '02:00' }
   */
  readonly maintenanceWindow?: { readonly start: string; readonly timeZone?: string };

  /**
   * Days that mail stays in Trash.
   * @default - until the user deletes it
   */
  readonly trashDays?: number;

  /**
   * Days that mail stays in Junk.
   * @default - until the user deletes it
   */
  readonly junkDays?: number;

  /**
   * Minutes that a deployment waits after each new node before it replaces the next, 10 to 1440.
   * @default 15
   */
  readonly pauseMinutes?: number;

  /**
   * Whether alarms that mean that new nodes are bad roll a deployment back. While one of them is in ALARM, no deployment
   * that replaces nodes succeeds; `false` gets a repair through.
   * @default true
   */
  readonly rollbackOnAlarm?: boolean;

  /**
   * Whether operators can open a shell on nodes by Session Manager. There is no SSH in any case.
   * @default true
   */
  readonly sessionManager?: boolean;

  /**
   * Shield Advanced on the balancer's addresses. The account must have subscribed: 3000 USD a month for a year.
   * @default false
   */
  readonly shieldAdvanced?: boolean;

  /**
   * Anycast addresses of Global Accelerator in front of the balancer, docs/global-accelerator.md. Needs `implicitTls: 'node'`.
   * @default false
   */
  readonly globalAccelerator?: boolean;

  /**
   * Deep inspection between the internet and a new network, docs/network-firewall.md; `true` for the defaults, otherwise the
   * fields of `MailFirewallOptions`. 290 USD a month for each zone.
   * @default false
   */
  readonly networkFirewall?:
    | boolean
    | {
        readonly alertOnly?: boolean;
        readonly rules?: string;
        readonly ruleGroupArns?: string[];
        readonly deletionProtection?: boolean;
      };

  /**
   * Roles of people, docs/operators.md: each of them is the ARN of an IAM user, or `permissionSet:` and the name of a permission set
   * of IAM Identity Center. `erasure` and `restore` are for operators, and need `journal`.
   * @default - none: whoever has rights in the account
   */
  readonly operators?: {
    readonly operators?: string[];
    readonly auditors?: string[];
    readonly helpDesk?: string[];
    /** 1 to 12. */
    readonly sessionHours?: number;
    readonly erasure?: boolean;
    readonly restore?: boolean;
  };

  /**
   * When archived mail moves to colder classes, in days: Glacier Instant Retrieval, then Deep Archive, at least 90 days later.
   * @default - after 90 days and a year, as far as `retention` keeps mail for long enough
   */
  readonly archiveTiers?: { readonly glacierDays?: number; readonly deepArchiveDays?: number };

  /**
   * A second copy of the archive in another region, docs/backup.md: a bucket and a key that exist there.
   * @default - none: law may forbid that mail leaves the region
   */
  readonly archiveReplication?: { readonly bucketName: string; readonly keyArn: string; readonly region: string };

  /**
   * A copy of journal and evidence in an S3-compatible store outside AWS, docs/backup.md. `secretArn` is the whole ARN of a secret with
   * `accessKeyId` and `secretAccessKey`; `lateMinutes` is how far it may be behind, 5 unless it is set.
   * @default - none
   */
  readonly archiveCopy?: {
    readonly endpoint: string;
    readonly bucketName: string;
    readonly secretArn: string;
    readonly region?: string;
    readonly concurrency?: number;
    readonly lateMinutes?: number;
  };

  /**
   * How long archived mail can not be deleted.
   * @default - it can be, by whoever has the permission
   */
  readonly archiveLock?: { readonly mode: 'governance' | 'compliance'; readonly days: number };

  /**
   * Whether a copy of every message, inwards and outwards, is stored in the archive, with signed evidence; docs/journal.md. `sealed`
   * encrypts each for those whose it is, so that their mail can be erased although `archiveLock` keeps it.
   * @default false
   */
  readonly journal?: boolean | { readonly sealed?: boolean };

  /**
   * A login by which `mail-restore` opens every mailbox, docs/restore.md: from these IPv4 ranges only. `rotateDays` is the age at which
   * its password is replaced, 30 unless it is set.
   * @default - none
   */
  readonly restoreAccess?: { readonly sources: string[]; readonly rotateDays?: number };

  /**
   * What says how long mail and logs must and may be kept; docs/retention.md. Several hold together.
   * @default - logs for a year and more, archived mail for ever
   */
  readonly retention?: RetentionName[];

  /**
   * Where alarms are mailed to. An address outside this mail system.
   * @default - nowhere; subscribe to the output AlarmTopic
   */
  readonly alarmEmail?: string;

  /**
   * Whether the stack refuses to be deleted.
   * @default true
   */
  readonly terminationProtection?: boolean;
}

const DOMAIN = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/;
const BUCKET = matches(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'the name of a bucket');
const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;

const CHECKS: { readonly [field in keyof Required<MailConfig>]: Check } = {
  domain: matches(DOMAIN, 'a lower-case domain such as example.com'),
  additionalDomains: listOf(matches(DOMAIN, 'a lower-case domain such as example.org')),
  hostname: matches(DOMAIN, 'a lower-case name such as mail.example.com'),
  account: matches(/^[0-9]{12}$/, '12 digits in quotes'),
  region: REGION,
  vpcId: matches(/^vpc-[0-9a-f]{8,17}$/, 'an id such as vpc-0123456789abcdef0'),
  hostedZone: record({
    id: matches(/^Z[A-Z0-9]{5,31}$/, 'a hosted zone id such as Z0123456789ABCDEFGHIJ'),
    name: matches(DOMAIN, 'the name of the zone such as example.com'),
  }),
  dns: record({
    dmarc: optional(oneOf(['none', 'quarantine', 'reject'])),
    mtaSts: optional(oneOf(['testing', 'enforce', 'none'])),
    reportAddress: optional(matches(EMAIL, 'an address such as postmaster@example.com')),
    senders: optional(listOf(isString)),
    outboundAddresses: optional(listOf(isString)),
    discoverySite: optional(isBoolean),
  }),
  services: listOf(oneOf(SERVICES)),
  allow: checkAllow,
  connectionLimits: record({
    newPerMinute: optional(integer(1, 500)),
    newBurst: optional(integer(5, 1000)),
    sessionsPerSource: optional(integer(5, 10_000)),
    sessionsPerUser: optional(integer(5, 1000)),
    halfOpenPerMinute: optional(integer(60, 100_000)),
    lockoutFailures: optional(integer(3, 1000)),
    lockoutMinutes: optional(integer(1, 1440)),
    exempt: optional(listOf(isString)),
  }),
  blockLists: checkBlockLists,
  zones: integer(3, 6),
  singleSignOn: checkSingleSignOn,
  directory: oneOf(['file', 'aurora']),
  inbound: oneOf(['ses']),
  relay: oneOf(['ses']),
  senderRewriting: isBoolean,
  sendingLimits: record({
    recipientsPerHour: optional(integer(10, 1_000_000)),
    domainRecipientsPerHour: optional(integer(10, 10_000_000)),
    exempt: optional(listOf(matches(EMAIL, 'a user such as newsletter@example.com'))),
  }),
  filtering: checkFiltering,
  users: integer(1, 100_000),
  minNodes: integer(1, 1000),
  maxNodes: integer(1, 1000),
  instanceType: matches(/^[a-z0-9-]+\.[a-z0-9]+$/, 'an instance type such as m7g.large'),
  connectionsPerNode: integer(1, 1_000_000),
  implicitTls: oneOf(['balancer', 'node']),
  idleTimeoutMinutes: integer(1, 100),
  nodeCertificate: checkNodeCertificate,
  clientCertificates: record({ authorities: isString, revocationLists: optional(isBoolean) }),
  certificateEmail: matches(EMAIL, 'an address such as ops@example.net'),
  mailboxQuotaMiB: integer(1, 16_777_216),
  sharedFolders: isBoolean,
  mailboxFormat: oneOf(['maildir', 'sdbox']),
  shards: record({
    perZone: optional(integer(1, 10)),
    type: optional(oneOf(['gp3', 'io2'])),
    sizeGiB: optional(integer(1, 65_536)),
    iops: optional(integer(100, 256_000)),
    throughput: optional(integer(125, 2_000)),
    oldMailDays: optional(integer(1, 36_500)),
  }),
  messageSizeMiB: integer(1, 1024),
  maintenanceWindow: record({ start: isString, timeZone: optional(isString) }),
  trashDays: integer(1, 36_500),
  junkDays: integer(1, 36_500),
  pauseMinutes: integer(10, 1440),
  rollbackOnAlarm: isBoolean,
  sessionManager: isBoolean,
  shieldAdvanced: isBoolean,
  globalAccelerator: isBoolean,
  networkFirewall: checkNetworkFirewall,
  operators: checkOperators,
  archiveTiers: record({ glacierDays: optional(integer(1, 36_500)), deepArchiveDays: optional(integer(1, 36_500)) }),
  storeReplication: record({ region: REGION, keyArn: optional(KEY_ARN) }),
  archiveReplication: record({ bucketName: BUCKET, keyArn: KEY_ARN, region: REGION }),
  archiveCopy: record({
    endpoint: matches(/^https:\/\/[a-z0-9.-]+(:[0-9]{1,5})?$/, 'https:// and a host such as https://s3.example.net'),
    bucketName: BUCKET,
    secretArn: matches(
      /^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+-[A-Za-z0-9]{6}$/,
      'the whole ARN of a secret, with the six characters at its end',
    ),
    region: optional(isString),
    concurrency: optional(integer(2, 1000)),
    lateMinutes: optional(integer(4, 1440)),
  }),
  archiveLock: record({ mode: oneOf(['governance', 'compliance']), days: integer(1, 36_500) }),
  journal: checkJournal,
  restoreAccess: record({ sources: listOf(isString), rotateDays: optional(integer(1, 1000)) }),
  retention: listOf(oneOf(['gdpr', 'us', 'mlps3', 'iso27001'])),
  alarmEmail: matches(EMAIL, 'an address such as ops@example.net'),
  terminationProtection: isBoolean,
};

/**
 * Checks what a configuration file exports, field by field and then together.
 *
 * @throws ConfigError for the first bad value
 */
export function checkConfig(config: unknown): MailConfig {
  if (typeof config !== 'object' || config === null) {
    throw new ConfigError('the file must have a default export of type MailConfig');
  }
  const fields = config as { [field: string]: unknown };
  for (const [field, value] of Object.entries(fields)) {
    const check = (CHECKS as { [field: string]: Check | undefined })[field];
    if (!check) {
      throw new ConfigError(`${field} is not a field; expected one of ${Object.keys(CHECKS).join(', ')}`);
    }
    if (value !== undefined) {
      check(field, value);
    }
  }
  if (fields.domain === undefined) {
    fail('domain', 'a lower-case domain such as example.com', undefined, 'add it');
  }
  const checked = config as MailConfig;
  checkTogether(checked);
  return checked;
}

function checkTogether(config: MailConfig): void {
  if ((config.account === undefined) !== (config.region === undefined)) {
    const missing = config.account === undefined ? 'account' : 'region';
    throw new ConfigError(`${missing} is missing; account and region go together`);
  }
  if (config.vpcId !== undefined && config.account === undefined) {
    throw new ConfigError('vpcId needs account and region, where the network is looked up; add them');
  }
  if (config.vpcId !== undefined && config.zones !== undefined) {
    throw new ConfigError('zones is for a new network; the zones of vpcId are those of its subnets; remove zones');
  }
  if (config.vpcId !== undefined && config.networkFirewall) {
    throw new ConfigError('networkFirewall is for a new network; remove it or vpcId');
  }
  if (config.globalAccelerator && config.implicitTls !== 'node') {
    throw new ConfigError("globalAccelerator needs implicitTls: 'node'; set it, or remove globalAccelerator");
  }
  if (config.clientCertificates && config.implicitTls !== 'node') {
    throw new ConfigError("clientCertificates needs implicitTls: 'node'; set it, or remove clientCertificates");
  }
  if (config.globalAccelerator && config.networkFirewall) {
    throw new ConfigError('globalAccelerator and networkFirewall do not go together; remove one');
  }
  if (config.archiveCopy && !config.journal) {
    throw new ConfigError('archiveCopy copies the journal; set journal: true, or remove archiveCopy');
  }
  for (const copy of ['archiveReplication', 'storeReplication'] as const) {
    if (config[copy] && config[copy].region === config.region) {
      throw new ConfigError(`${copy}.region must be another region than ${config.region}`);
    }
  }
  if (config.storeReplication && config.shards) {
    throw new ConfigError('storeReplication is for EFS, not for shards; remove one');
  }
  const { glacierDays, deepArchiveDays } = config.archiveTiers ?? {};
  if (deepArchiveDays !== undefined && deepArchiveDays < (glacierDays ?? 90) + 90) {
    throw new ConfigError(
      `archiveTiers.deepArchiveDays must be at least 90 more than glacierDays (${glacierDays ?? 90}), got ${deepArchiveDays}`,
    );
  }
  for (const job of ['erasure', 'restore'] as const) {
    if (config.operators?.[job] && (!config.operators.operators || !config.journal)) {
      throw new ConfigError(`operators.${job} needs operators.operators and journal: true; add them, or remove it`);
    }
  }
  if (config.shards?.type === 'io2' && (config.shards.sizeGiB === undefined || config.shards.iops === undefined)) {
    throw new ConfigError("shards with type 'io2' must have sizeGiB and iops; add them");
  }
  const hostname = config.hostname ?? `mail.${config.domain}`;
  const zone = config.hostedZone?.name;
  if (zone !== undefined && hostname !== zone && !hostname.endsWith(`.${zone}`)) {
    throw new ConfigError(`hostedZone.name must hold the host name ${hostname}, got ${JSON.stringify(zone)}`);
  }
  const domains = [config.domain, ...(config.additionalDomains ?? [])];
  const twice = domains.find((domain, index) => domains.indexOf(domain) !== index);
  if (twice !== undefined) {
    throw new ConfigError(`additionalDomains has ${twice} twice, or has the primary domain; remove it`);
  }
  const services = config.services ?? ['imaps', 'submission'];
  for (const always of ['imaps', 'submission'] as const) {
    if (!services.includes(always)) {
      throw new ConfigError(`services must have ${always}, got ${JSON.stringify(services)}; add it`);
    }
  }
  for (const service of Object.keys(config.allow ?? {}) as ServiceName[]) {
    if (!services.includes(service)) {
      throw new ConfigError(`allow.${service} is for a service that is not offered; add ${service} to services`);
    }
  }
  const minNodes = config.minNodes ?? config.zones ?? (config.vpcId === undefined ? 3 : undefined);
  if (minNodes !== undefined && config.maxNodes !== undefined && config.maxNodes < minNodes) {
    throw new ConfigError(`maxNodes must be >= minNodes (${minNodes}), got ${config.maxNodes}; raise maxNodes`);
  }
  if (config.idleTimeoutMinutes !== undefined && config.implicitTls !== 'node') {
    throw new ConfigError(
      `idleTimeoutMinutes can't be set on a TLS listener, which drops after 350 seconds; ` +
        `remove it or set implicitTls: 'node'`,
    );
  }
}
