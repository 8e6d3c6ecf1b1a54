import {
  DescribeConfigurationSetCommand,
  EventDestination,
  GetIdentityDkimAttributesCommand,
  GetIdentityMailFromDomainAttributesCommand,
  GetIdentityVerificationAttributesCommand,
  GetSendQuotaCommand,
  SESClient,
} from '@aws-sdk/client-ses';
import {
  GetAccountCommand,
  GetConfigurationSetCommand,
  GetEmailIdentityCommand,
  SESv2Client,
} from '@aws-sdk/client-sesv2';

/** `failed` means that mail would be refused, lost or turned away as forged; `warning`, that it would suffer. */
export type Status = 'ok' | 'warning' | 'failed';

/** One thing that was looked at. */
export interface Finding {
  /** Such as `quota`. */
  readonly check: string;
  /** Domain or configuration set that it is about. */
  readonly subject?: string;
  readonly status: Status;
  /** One line for a person: what is, and what to do if that is not right. */
  readonly detail: string;
  /** DNS records that are to be published for it. */
  readonly records?: DnsRecord[];
  /** What SES answered, by SES's own names; the shape depends on the check. */
  readonly facts?: object;
}

/** A record as zone files have it. */
export interface DnsRecord {
  readonly name: string;
  readonly type: 'CNAME';
  readonly value: string;
}

/** What to look at. */
export interface PreflightOptions {
  readonly region: string;
  readonly domains: string[];
  /** @default - none is looked at */
  readonly configurationSet?: string;
  /** Messages that must be left of the quota. */
  readonly messages: number;
}

/**
 * Asks SES whether mail of the domains would go out. Calls of the SES API (`@aws-sdk/client-ses`) wherever it has the
 * answer; sandbox, review and suppression are in version 2 of it only.
 *
 * A question that SES does not answer is a failed check with the reason. One question at a time: SES takes one a second.
 */
export async function preflight(options: PreflightOptions, tell: (finding: Finding) => void): Promise<void> {
  const client = { region: options.region, maxAttempts: 6 };
  const ses = new SESClient(client);
  const sesV2 = new SESv2Client(client);
  const ask = async (check: string, subject: string | undefined, look: () => Promise<Answer>) => {
    tell({ check, subject, ...(await look().catch(notAnswered)) });
  };
  try {
    await ask('account', undefined, () => account(sesV2));
    await ask('quota', undefined, () => quota(ses, options.messages));
    for (const domain of options.domains) {
      await ask('identity', domain, () => identity(ses, domain));
      await ask('dkim', domain, () => dkim(ses, sesV2, domain));
      await ask('mail-from', domain, () => mailFrom(ses, domain));
    }
    const { configurationSet: set } = options;
    if (set !== undefined) {
      await ask('configuration-set', set, () => configurationSet(ses, set));
    }
    await ask('suppression', set, () => suppression(sesV2, set));
  } finally {
    ses.destroy();
    sesV2.destroy();
  }
}

type Answer = Pick<Finding, 'status' | 'detail' | 'records' | 'facts'>;

function notAnswered(error: unknown): Answer {
  const { name, message } = error as Error;
  return { status: 'failed', detail: `SES did not answer: ${name}: ${message}` };
}

async function account(sesV2: SESv2Client): Promise<Answer> {
  const {
    ProductionAccessEnabled: production,
    SendingEnabled: sending,
    EnforcementStatus: enforcement,
  } = await sesV2.send(new GetAccountCommand({}));
  const facts = { ProductionAccessEnabled: production, SendingEnabled: sending, EnforcementStatus: enforcement };
  if (!production) {
    const detail = 'in the sandbox: only verified addresses get mail; request production access in the SES console';
    return { status: 'failed', detail, facts };
  }
  if (!sending || enforcement === 'SHUTDOWN') {
    const detail = `sending is ${sending ? 'stopped by AWS' : 'switched off'} (${enforcement}); see the SES console`;
    return { status: 'failed', detail, facts };
  }
  if (enforcement !== 'HEALTHY') {
    return { status: 'warning', detail: `AWS reviews the account (${enforcement}); see the SES console`, facts };
  }
  return { status: 'ok', detail: 'production access, sending is on', facts };
}

async function quota(ses: SESClient, messages: number): Promise<Answer> {
  const {
    Max24HourSend: max = 0,
    SentLast24Hours: sent = 0,
    MaxSendRate: rate = 0,
  } = await ses.send(new GetSendQuotaCommand({}));
  const facts = { Max24HourSend: max, SentLast24Hours: sent, MaxSendRate: rate };
  // https://docs.aws.amazon.com/ses/latest/APIReference/API_GetSendQuota.html
  if (max === -1) {
    return { status: 'ok', detail: `no limit for 24 hours, ${rate} a second`, facts };
  }
  const left = Math.max(0, max - sent);
  const detail = `${left} of ${max} messages are left for 24 hours, ${rate} a second`;
  return left >= messages
    ? { status: 'ok', detail, facts }
    : { status: 'failed', detail: `${detail}; ${messages} are needed, ask for more in Service Quotas`, facts };
}

async function identity(ses: SESClient, domain: string): Promise<Answer> {
  const { VerificationAttributes: all = {} } = await ses.send(
    new GetIdentityVerificationAttributesCommand({ Identities: [domain] }),
  );
  const facts = { VerificationStatus: all[domain]?.VerificationStatus ?? 'NotFound' };
  if (facts.VerificationStatus === 'Success') {
    return { status: 'ok', detail: 'verified', facts };
  }
  const detail =
    facts.VerificationStatus === 'NotFound'
      ? 'SES does not know the domain in this region; deploy the relay, or create the identity'
      : `not verified (${facts.VerificationStatus}); SES verifies it once its DKIM records are published`;
  return { status: 'failed', detail, facts };
}

async function dkim(ses: SESClient, sesV2: SESv2Client, domain: string): Promise<Answer> {
  const { DkimAttributes: all = {} } = await ses.send(new GetIdentityDkimAttributesCommand({ Identities: [domain] }));
  const {
    DkimEnabled: enabled = false,
    DkimVerificationStatus: state = 'NotStarted',
    DkimTokens: tokens = [],
  } = all[domain] ?? {};
  const facts = { DkimEnabled: enabled, DkimVerificationStatus: state, DkimTokens: tokens };
  if (state === 'Success') {
    return enabled
      ? { status: 'ok', detail: `signs with ${tokens.join(', ') || 'a key of your own'}`, facts }
      : { status: 'failed', detail: 'verified but switched off; switch DKIM signatures on for the identity', facts };
  }
  if (tokens.length === 0) {
    return { status: 'failed', detail: `not set up (${state}); switch Easy DKIM on for the identity`, facts };
  }
  const detail = `${state}: SES does not find the records below; publish them, SES looks again by itself for 72 hours`;
  return { status: 'failed', detail, records: await dkimRecords(sesV2, domain, tokens), facts };
}

/** Where the names lead differs by region; only version 2 of the API tells. */
async function dkimRecords(sesV2: SESv2Client, domain: string, tokens: string[]): Promise<DnsRecord[]> {
  const { DkimAttributes } = await sesV2.send(new GetEmailIdentityCommand({ EmailIdentity: domain }));
  const zone = DkimAttributes?.SigningHostedZone ?? 'dkim.amazonses.com';
  return tokens.map((token) => ({ name: `${token}._domainkey.${domain}`, type: 'CNAME', value: `${token}.${zone}` }));
}

async function mailFrom(ses: SESClient, domain: string): Promise<Answer> {
  const { MailFromDomainAttributes: all = {} } = await ses.send(
    new GetIdentityMailFromDomainAttributesCommand({ Identities: [domain] }),
  );
  const { MailFromDomain, MailFromDomainStatus, BehaviorOnMXFailure } = all[domain] ?? {};
  const facts = { MailFromDomain, MailFromDomainStatus, BehaviorOnMXFailure };
  if (!MailFromDomain) {
    const detail = 'none: SPF passes for amazonses.com, so DMARC rests on DKIM alone';
    return { status: 'warning', detail, facts };
  }
  if (MailFromDomainStatus === 'Success') {
    return { status: 'ok', detail: MailFromDomain, facts };
  }
  const consequence =
    BehaviorOnMXFailure === 'RejectMessage' ? 'SES refuses mail' : 'amazonses.com stands in, DMARC rests on DKIM alone';
  return {
    status: BehaviorOnMXFailure === 'RejectMessage' ? 'failed' : 'warning',
    detail: `${MailFromDomain} is ${MailFromDomainStatus}: ${consequence}; publish its MX and SPF records`,
    facts,
  };
}

async function configurationSet(ses: SESClient, name: string): Promise<Answer> {
  const set = await ses
    .send(
      new DescribeConfigurationSetCommand({
        ConfigurationSetName: name,
        ConfigurationSetAttributeNames: ['deliveryOptions', 'eventDestinations', 'reputationOptions'],
      }),
    )
    .catch((error: Error) => {
      if (error.name !== 'ConfigurationSetDoesNotExist' && error.name !== 'ConfigurationSetDoesNotExistException') {
        throw error;
      }
      return undefined;
    });
  if (!set) {
    return { status: 'failed', detail: 'does not exist in this region: SES refuses mail that names it' };
  }
  const facts = {
    TlsPolicy: set.DeliveryOptions?.TlsPolicy ?? 'Optional',
    SendingEnabled: set.ReputationOptions?.SendingEnabled ?? true,
    ReputationMetricsEnabled: set.ReputationOptions?.ReputationMetricsEnabled ?? false,
    EventTypes: eventTypes(set.EventDestinations ?? []),
  };
  if (!facts.SendingEnabled) {
    return { status: 'failed', detail: 'sending is switched off in it', facts };
  }
  const missing = [
    ...(facts.TlsPolicy === 'Require' ? [] : ['TLS is optional']),
    ...['bounce', 'complaint'].filter((type) => !facts.EventTypes.includes(type)).map((type) => `no ${type} events`),
  ];
  return missing.length === 0
    ? { status: 'ok', detail: 'TLS is required, bounces and complaints are told', facts }
    : { status: 'warning', detail: missing.join(', '), facts };
}

function eventTypes(destinations: EventDestination[]): string[] {
  const enabled = destinations.filter(({ Enabled }) => Enabled);
  return [...new Set(enabled.flatMap(({ MatchingEventTypes }) => MatchingEventTypes ?? []))].sort();
}

/** A configuration set's own list of reasons stands in place of the account's. */
async function suppression(sesV2: SESv2Client, set?: string): Promise<Answer> {
  const options =
    set === undefined
      ? undefined
      : (await sesV2.send(new GetConfigurationSetCommand({ ConfigurationSetName: set }))).SuppressionOptions;
  const reasons =
    options?.SuppressedReasons ??
    (await sesV2.send(new GetAccountCommand({}))).SuppressionAttributes?.SuppressedReasons;
  const facts = { SuppressedReasons: [...(reasons ?? [])].sort() };
  const missing = ['BOUNCE', 'COMPLAINT'].filter((reason) => !(facts.SuppressedReasons as string[]).includes(reason));
  return missing.length === 0
    ? { status: 'ok', detail: 'addresses that bounced or complained get no more mail', facts }
    : {
        status: 'warning',
        detail: `off for ${missing.join(' and ')}: mail goes again to addresses that hurt the reputation`,
        facts,
      };
}
