import { MailService } from '../access/mail-service';
import { DmarcPolicy } from './dmarc-policy';
import { MtaStsMode } from './mta-sts';

/** A host that takes mail of the domain (RFC 5321, 5.1). */
export interface MailExchanger {
  /** 0 to 65535; the lowest is asked first. */
  readonly preference: number;

  /** Its name, not an address and no alias. */
  readonly host: string;
}

/**
 * All that the records of a mail system's domains follow from; plain JSON. The construct makes records of it, and
 * `mail-dns` prints and checks them.
 */
export interface MailDnsSettings {
  /** Mail domains, the primary one first. */
  readonly domains: string[];
  /** Name that clients connect to. */
  readonly hostname: string;
  /** Names of the services offered, see `MailService`. */
  readonly services: string[];
  /** Who takes mail; none when the domain receives none. */
  readonly mailExchangers: MailExchanger[];
  /** SPF mechanisms of what sends mail, such as `ip4:192.0.2.1` (RFC 7208, 5). */
  readonly senders: string[];
  /** Whether SPF alone has mail of other senders refused. */
  readonly spfHardFail: boolean;
  /** `none`, `quarantine` or `reject`. */
  readonly dmarc: string;
  /** Where reports of DMARC and TLS failures go. */
  readonly reportAddress: string;
  /** `testing`, `enforce` or `none`. */
  readonly mtaSts: string;
  /** Whether client configuration and the MTA-STS policy are served over HTTPS. */
  readonly site: boolean;
}

const NAME = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/;
const MECHANISM = /^[+]?(ip4:[0-9./]+|ip6:[0-9a-f:./]+|(a|mx)([:/]\S+)?|include:\S+|exists:\S+)$/i;

/** Name of the addresses that mail leaves from. */
export function outboundName(hostname: string): string {
  return `outbound.${hostname}`;
}

/** What is not given, as `MailStack` with `dns: {}` has it. Nothing is checked. */
export function withDefaults(given: Partial<MailDnsSettings> & Pick<MailDnsSettings, 'domains'>): MailDnsSettings {
  const hostname = given.hostname ?? `mail.${given.domains[0]}`;
  const services =
    given.services ?? [MailService.IMAPS, MailService.SUBMISSION, MailService.MX].map(({ name }) => name);
  return {
    domains: given.domains,
    hostname,
    services,
    mailExchangers:
      given.mailExchangers ?? (services.includes(MailService.MX.name) ? [{ preference: 10, host: hostname }] : []),
    senders: given.senders ?? [`a:${outboundName(hostname)}`],
    spfHardFail: given.spfHardFail ?? false,
    dmarc: given.dmarc ?? DmarcPolicy.REJECT,
    reportAddress: given.reportAddress ?? `postmaster@${given.domains[0]}`,
    mtaSts: given.mtaSts ?? MtaStsMode.ENFORCE,
    site: given.site ?? true,
  };
}

/**
 * Checks settings, also such as come from elsewhere.
 *
 * @throws for the first value that is wrong, naming its field
 */
export function checkSettings(settings: MailDnsSettings): void {
  const { domains, hostname, services, mailExchangers, senders, reportAddress } = settings;
  check('domains', domains, Array.isArray(domains) && domains.length > 0, 'a list with at least one domain');
  domains.forEach((domain) => check('domains', domain, NAME.test(domain), 'lower-case domains such as example.com'));
  check('hostname', hostname, NAME.test(hostname), 'a lower-case name such as mail.example.com');
  const known = MailService.all().map(({ name }) => name);
  check(
    'services',
    services,
    Array.isArray(services) && services.every((name) => known.includes(name)),
    `of ${known.join(', ')}`,
  );
  for (const { preference, host } of mailExchangers) {
    check(
      'mailExchangers.preference',
      preference,
      Number.isInteger(preference) && preference >= 0 && preference <= 65_535,
      'a whole number from 0 to 65535',
    );
    check('mailExchangers.host', host, NAME.test(host), 'a lower-case name, without the final dot; not an address');
  }
  check('senders', senders, Array.isArray(senders) && senders.length > 0, 'a list with at least one SPF mechanism');
  senders.forEach((sender) =>
    check('senders', sender, MECHANISM.test(sender), 'SPF mechanisms such as ip4:192.0.2.1 or include:amazonses.com'),
  );
  check(
    'dmarc',
    settings.dmarc,
    (Object.values(DmarcPolicy) as string[]).includes(settings.dmarc),
    'none, quarantine or reject',
  );
  check(
    'mtaSts',
    settings.mtaSts,
    (Object.values(MtaStsMode) as string[]).includes(settings.mtaSts),
    'testing, enforce or none',
  );
  check(
    'reportAddress',
    reportAddress,
    /^[^\s@",;!]+@/.test(reportAddress) && NAME.test(reportAddress.replace(/^.*@/, '')),
    'an address such as postmaster@example.com',
  );
}

function check(field: string, value: unknown, good: boolean, expected: string): void {
  if (!good) {
    throw new Error(`${field} must be ${expected}, got ${JSON.stringify(value)}`);
  }
}
