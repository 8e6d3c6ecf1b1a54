import { App, AppProps, Duration, Size, Validations } from 'aws-cdk-lib';
import { InstanceType } from 'aws-cdk-lib/aws-ec2';
import { AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R5Checks, PCIDSS321Checks } from 'cdk-nag';
import {
  AccessSource,
  ArchiveLock,
  BlockList,
  ConnectionLimits,
  EdgeTls,
  InboundMail,
  MailBlockListsOptions,
  MailboxFormat,
  MailDirectory,
  MailDnsOptions,
  MailFilteringOptions,
  MailService,
  MailStack,
  MailStackProps,
  MailStorage,
  MaintenanceWindow,
  OutboundRelay,
  RetentionProfile,
  ShardVolume,
  SingleSignOn,
} from '../lib';
import {
  archiveCopy,
  archiveReplication,
  archiveTiers,
  networkFirewall,
  operators,
  replicatedStore,
} from './config-options';
import { AllowConfig, checkConfig, ConfigError, MailConfig } from './mail-config';
import { nodeCertificate } from './node-certificate';

/**
 * The app that `cdk deploy MailStack` runs: one `MailStack`, checked by the four rule packs when it is synthesised.
 *
 * @throws ConfigError, or what the constructs throw, for a bad value in the configuration
 */
export function buildMailApp(config: MailConfig, appProps: AppProps = {}): App {
  const props = stackProps(checkConfig(config));
  const app = new App(appProps);
  new MailStack(app, 'MailStack', props);
  Validations.of(app).addPlugins(
    new AwsSolutionsChecks(app),
    new NIST80053R5Checks(app),
    new HIPAASecurityChecks(app),
    new PCIDSS321Checks(app),
  );
  return app;
}

function stackProps(config: MailConfig): MailStackProps {
  return {
    env: config.account ? { account: config.account, region: config.region } : undefined,
    terminationProtection: config.terminationProtection ?? true,
    domain: config.domain,
    additionalDomains: config.additionalDomains,
    hostname: config.hostname,
    hostedZoneAttributes: config.hostedZone && {
      hostedZoneId: config.hostedZone.id,
      zoneName: config.hostedZone.name,
    },
    dns: config.dns as MailDnsOptions | undefined,
    vpcId: config.vpcId,
    zones: config.zones,
    services: config.services?.map((name) => MailService.fromName(name)),
    allow: config.allow && accessSources(config.allow),
    connectionLimits: config.connectionLimits && connectionLimits(config.connectionLimits),
    blockLists: blockLists(config),
    implicitTls: edgeTls(config),
    nodeCertificate: nodeCertificate(config),
    clientCertificates: config.clientCertificates,
    singleSignOn: singleSignOn(config),
    directory: config.directory && MailDirectory[config.directory](),
    inbound: config.inbound && InboundMail[config.inbound](),
    relay: config.relay && OutboundRelay[config.relay](),
    senderRewriting: config.senderRewriting,
    sendingLimits: config.sendingLimits,
    filtering:
      config.filtering === true ? {} : config.filtering ? (config.filtering as MailFilteringOptions) : undefined,
    demand: config.users === undefined ? undefined : { users: config.users },
    instanceType: config.instanceType ? new InstanceType(config.instanceType) : undefined,
    minNodes: config.minNodes,
    maxNodes: config.maxNodes,
    connectionsPerNode: config.connectionsPerNode,
    messageSizeMax: config.messageSizeMiB === undefined ? undefined : Size.mebibytes(config.messageSizeMiB),
    mailboxQuota: config.mailboxQuotaMiB === undefined ? undefined : Size.mebibytes(config.mailboxQuotaMiB),
    sharedFolders: config.sharedFolders,
    storage: config.shards ? storage(config.shards) : replicatedStore(config),
    maintenanceWindow: maintenanceWindow(config),
    trashRetention: days(config.trashDays),
    junkRetention: days(config.junkDays),
    pauseTime: config.pauseMinutes === undefined ? undefined : Duration.minutes(config.pauseMinutes),
    rollbackAlarms: config.rollbackOnAlarm === false ? [] : undefined,
    sessionManager: config.sessionManager,
    mailboxFormat: config.mailboxFormat as MailboxFormat | undefined,
    archiveLock: config.archiveLock && ArchiveLock[config.archiveLock.mode](Duration.days(config.archiveLock.days)),
    journal: config.journal === true ? {} : config.journal || undefined,
    retention:
      config.retention && RetentionProfile.combine(...config.retention.map((name) => RetentionProfile[name]())),
    restoreAccess: config.restoreAccess && {
      sources: config.restoreAccess.sources,
      rotateAfter: days(config.restoreAccess.rotateDays),
    },
    alarmEmail: config.alarmEmail,
    shieldAdvanced: config.shieldAdvanced,
    globalAccelerator: config.globalAccelerator,
    networkFirewall: networkFirewall(config),
    operators: operators(config),
    archiveTiers: archiveTiers(config),
    archiveReplication: archiveReplication(config),
    archiveCopy: archiveCopy(config),
  };
}

function storage(shards: NonNullable<MailConfig['shards']>): MailStorage {
  return MailStorage.ebs({
    shardsPerZone: shards.perZone,
    volume: volume(shards),
    oldMailAfter: days(shards.oldMailDays),
  });
}

function volume({ type, sizeGiB, iops, throughput }: NonNullable<MailConfig['shards']>): ShardVolume {
  const size = sizeGiB === undefined ? undefined : Size.gibibytes(sizeGiB);
  // checkConfig has seen that both are there.
  return type === 'io2' ? ShardVolume.io2({ size: size!, iops: iops! }) : ShardVolume.gp3({ size, iops, throughput });
}

function days(count?: number): Duration | undefined {
  return count === undefined ? undefined : Duration.days(count);
}

function singleSignOn({ singleSignOn: provider }: MailConfig): SingleSignOn | undefined {
  try {
    return provider === 'cognito' ? SingleSignOn.cognito() : provider && SingleSignOn.openId(provider);
  } catch (error) {
    throw new ConfigError(`singleSignOn.${(error as Error).message}`);
  }
}

function maintenanceWindow({ maintenanceWindow: window }: MailConfig): MaintenanceWindow | undefined {
  try {
    return window && MaintenanceWindow.daily(window.start, window.timeZone);
  } catch (error) {
    throw new ConfigError(`maintenanceWindow.${(error as Error).message}`);
  }
}

function accessSources(allow: NonNullable<MailConfig['allow']>): { [service: string]: AccessSource } {
  const entries = Object.entries(allow).filter(([, source]) => source !== undefined);
  return Object.fromEntries(entries.map(([service, source]) => [service, accessSource(service, source)]));
}

function connectionLimits({
  lockoutMinutes,
  ...limits
}: NonNullable<MailConfig['connectionLimits']>): ConnectionLimits {
  return { ...limits, lockoutTime: lockoutMinutes === undefined ? undefined : Duration.minutes(lockoutMinutes) };
}

function blockLists({ blockLists: config }: MailConfig): MailBlockListsOptions | undefined {
  if (typeof config !== 'object') {
    return config ? {} : undefined;
  }
  try {
    return {
      lists: config.lists?.map((list) => {
        if (list === 'tor-exits') return BlockList.torExits();
        if (list === 'spamhaus-drop') return BlockList.spamhausDrop();
        return 'url' in list ? BlockList.fromUrl(list) : BlockList.networks(list.name, list.networks);
      }),
      services: config.services?.map((name) => MailService.fromName(name)),
      refreshEvery: hours(config.refreshHours),
      staleAfter: hours(config.staleHours),
      growthMax: config.growthMax,
    };
  } catch (error) {
    throw new ConfigError(`blockLists: ${(error as Error).message}`);
  }
}

function hours(count?: number): Duration | undefined {
  return count === undefined ? undefined : Duration.hours(count);
}

function accessSource(service: string, source: AllowConfig): AccessSource {
  if (source === 'anywhere') {
    return AccessSource.anywhere();
  }
  if ('prefixList' in source) {
    return AccessSource.prefixList(source.prefixList);
  }
  try {
    return AccessSource.cidrs(source.cidrs);
  } catch (error) {
    throw new ConfigError(`allow.${service}.${(error as Error).message}`);
  }
}

function edgeTls(config: MailConfig): EdgeTls | undefined {
  if (config.implicitTls !== 'node') {
    return undefined;
  }
  const minutes = config.idleTimeoutMinutes;
  return EdgeTls.atNode({ idleTimeout: minutes === undefined ? undefined : Duration.minutes(minutes) });
}
