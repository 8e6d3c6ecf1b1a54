import { MailService } from '../access/mail-service';
import { DKIM_SELECTORS, selectorName } from './dkim-text';
import { DnsRecord, txt } from './dns-record';
import { MailDnsSettings } from './mail-dns-settings';
import { mtaStsPolicy, mtaStsText } from './mta-sts';

/** For what stays as it is. */
const HOUR = 3600;
/** For what follows a deployment or a rotation. */
const SHORT = 300;

/** Names of the site that serves a domain's client configuration and its MTA-STS policy over HTTPS. */
export const SITE_LABELS = ['autoconfig', 'autodiscover', 'mta-sts'];

/**
 * The records that a mail domain needs, in whatever zone it is. None of them changes when keys, addresses or policies
 * do: what changes is below the mail host's name, and CNAME records lead there.
 */
export function domainRecords(settings: MailDnsSettings, domain: string): DnsRecord[] {
  const records = [
    ...mxRecords(settings, domain),
    ...srvRecords(settings, domain),
    { purpose: 'Spf', name: domain, type: 'TXT', ttl: HOUR, values: [txt(spfText(settings))] },
    { purpose: 'Dmarc', name: `_dmarc.${domain}`, type: 'TXT', ttl: HOUR, values: [txt(dmarcText(settings))] },
    ...reportRecords(settings, domain),
  ];
  if (receives(settings)) {
    records.push({
      purpose: 'TlsReports',
      name: `_smtp._tls.${domain}`,
      type: 'TXT',
      ttl: HOUR,
      values: [txt(tlsReportText(settings))],
    });
  }
  // A domain that is the mail host's name itself has these already.
  if (domain !== settings.hostname) {
    records.push(...aliasRecords(settings, domain));
  }
  return [...records, ...siteRecords(settings, domain)];
}

/** What stands below the mail host's name, beside keys and addresses: the stack keeps it, nobody else has to. */
export function hostRecords(settings: MailDnsSettings): DnsRecord[] {
  const text = mtaStsPolicyText(settings);
  if (text === undefined) {
    return [];
  }
  const name = `_mta-sts.${settings.hostname}`;
  return [{ purpose: 'MtaSts', name, type: 'TXT', ttl: SHORT, values: [txt(mtaStsText(text))] }];
}

/** Which addresses send mail of the domain (RFC 7208). */
export function spfText({ senders, spfHardFail }: MailDnsSettings): string {
  return ['v=spf1', ...senders, spfHardFail ? '-all' : '~all'].join(' ');
}

/** What to do with other mail (RFC 7489). */
export function dmarcText({ dmarc, reportAddress }: MailDnsSettings): string {
  return `v=DMARC1; p=${dmarc}; rua=mailto:${reportAddress}`;
}

/** Where to report failures of TLS (RFC 8460). */
export function tlsReportText({ reportAddress }: MailDnsSettings): string {
  return `v=TLSRPTv1; rua=mailto:${reportAddress}`;
}

/** The MTA-STS policy; nothing when there is no mail exchanger, or no site to serve it. */
export function mtaStsPolicyText(settings: MailDnsSettings): string | undefined {
  return settings.site && receives(settings)
    ? mtaStsPolicy(
        settings.mtaSts,
        settings.mailExchangers.map(({ host }) => host),
      )
    : undefined;
}

/** Where a name of the site leads: to a name in the stack's zone, so that the domain's own zone need not follow it. */
export function siteTarget(label: string, domain: string, hostname: string): string {
  return `${label}.${domain}.${hostname}`;
}

/** Name that says that reports about a domain may go to an address in another one (RFC 7489, 7.1). */
export function reportAuthorisation(domain: string, reportAddress: string): string | undefined {
  const reports = domainOf(reportAddress);
  const related = [domain, reports].some(
    (name) => `.${domain}`.endsWith(`.${name}`) && `.${reports}`.endsWith(`.${name}`),
  );
  return related ? undefined : `${domain}._report._dmarc.${reports}`;
}

function receives({ mailExchangers }: MailDnsSettings): boolean {
  return mailExchangers.length > 0;
}

function mxRecords({ mailExchangers }: MailDnsSettings, domain: string): DnsRecord[] {
  const values = mailExchangers.map(({ preference, host }) => `${preference} ${host}.`);
  return values.length > 0 ? [{ purpose: 'Mx', name: domain, type: 'MX', ttl: HOUR, values }] : [];
}

/**
 * Where clients find services (RFC 6186, RFC 8314, RFC 5804); a single dot for those that are off, so that no client
 * tries. Clients prefer what has the lower priority: IMAP to POP3, TLS from the first byte to STARTTLS.
 */
function srvRecords({ services, hostname }: MailDnsSettings, domain: string): DnsRecord[] {
  const offered: [string, string, MailService | undefined, number][] = [
    ['Imaps', '_imaps', MailService.IMAPS, 0],
    ['Imap', '_imap', undefined, 0],
    ['Pop3s', '_pop3s', MailService.POP3S, 10],
    ['Pop3', '_pop3', undefined, 0],
    ['Submissions', '_submissions', MailService.SUBMISSIONS, 0],
    ['Submission', '_submission', MailService.SUBMISSION, 10],
    ['Sieve', '_sieve', MailService.MANAGESIEVE, 0],
  ];
  return offered.map(([purpose, label, service, priority]) => ({
    purpose,
    name: `${label}._tcp.${domain}`,
    type: 'SRV',
    ttl: HOUR,
    values: [service && services.includes(service.name) ? `${priority} 1 ${service.port} ${hostname}.` : '0 0 0 .'],
  }));
}

/** Leave for reports about the other domains, when they go to this one. */
function reportRecords({ domains, reportAddress }: MailDnsSettings, domain: string): DnsRecord[] {
  if (domainOf(reportAddress) !== domain) {
    return [];
  }
  return domains.flatMap((other, index) => {
    const name = reportAuthorisation(other, reportAddress);
    return name ? [{ purpose: `Reports${index}`, name, type: 'TXT', ttl: HOUR, values: [txt('v=DMARC1')] }] : [];
  });
}

/** What changes by itself: DKIM keys and the id of the MTA-STS policy. */
function aliasRecords(settings: MailDnsSettings, domain: string): DnsRecord[] {
  const { hostname } = settings;
  const aliases = DKIM_SELECTORS.map((selector, index) => ({
    purpose: `Dkim${index + 1}`,
    name: selectorName(selector, domain),
    target: selectorName(selector, hostname),
  }));
  if (mtaStsPolicyText(settings) !== undefined) {
    aliases.push({ purpose: 'MtaSts', name: `_mta-sts.${domain}`, target: `_mta-sts.${hostname}` });
  }
  return aliases.map(({ purpose, name, target }) => ({
    purpose,
    name,
    type: 'CNAME',
    ttl: HOUR,
    values: [`${target}.`],
  }));
}

function siteRecords(settings: MailDnsSettings, domain: string): DnsRecord[] {
  return siteLabels(settings).map((label) => ({
    purpose: label === 'mta-sts' ? 'MtaStsSite' : label === 'autoconfig' ? 'Autoconfig' : 'Autodiscover',
    name: `${label}.${domain}`,
    type: 'CNAME',
    ttl: HOUR,
    values: [`${siteTarget(label, domain, settings.hostname)}.`],
  }));
}

/** Those of the site's names that are in use. */
export function siteLabels(settings: MailDnsSettings): string[] {
  const policy = mtaStsPolicyText(settings) !== undefined;
  return settings.site ? SITE_LABELS.filter((label) => label !== 'mta-sts' || policy) : [];
}

export function domainOf(address: string): string {
  return address.slice(address.lastIndexOf('@') + 1);
}
