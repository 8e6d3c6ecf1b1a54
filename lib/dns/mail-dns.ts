import { Annotations, CfnOutput, Duration, Token } from 'aws-cdk-lib';
import { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { ARecord, IHostedZone, RecordSet, RecordTarget, RecordType } from 'aws-cdk-lib/aws-route53';
import { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { MailService } from '../access';
import { ISingleSignOn } from '../directory';
import { checkZoneHolds, zoneThatHolds } from '../private/hosted-zone';
import { DiscoverySite } from './discovery-site';
import { DkimKey } from './dkim-key';
import { DmarcPolicy } from './dmarc-policy';
import { DnsRecord, txt, zoneFile } from './dns-record';
import { checkSettings, MailDnsSettings, MailExchanger, outboundName, withDefaults } from './mail-dns-settings';
import { domainRecords, hostRecords } from './mail-records';
import { MtaStsMode } from './mta-sts';

/** Options of `MailDns`. */
export interface MailDnsOptions {
  /**
   * Zones of the mail domains that are in Route 53, by domain.
   * @default - the zone of the mail host, for domains that it holds; the other domains' zones are elsewhere
   */
  readonly domainZones?: { [domain: string]: IHostedZone };

  /**
   * Who takes mail of the domains.
   * @default - the mail host, when it offers `MailService.MX`; otherwise nobody
   */
  readonly mailExchangers?: MailExchanger[];

  /**
   * Public IPv4 addresses that mail leaves from, such as those of NAT gateways. They get the name `outbound.` and the
   * host name, which SPF allows.
   * @default - those of the NAT gateways of a network that `MailStack` makes
   */
  readonly outboundAddresses?: string[];

  /**
   * SPF mechanisms of whatever else sends mail of the domains, such as `include:amazonses.com`.
   * @default - none
   */
  readonly senders?: string[];

  /**
   * Whether SPF alone has mail of other senders refused (`-all`). Forwarded mail is then refused before anybody looks
   * at its DKIM signature.
   * @default false - `~all`: DMARC decides, which wants SPF or DKIM
   */
  readonly spfHardFail?: boolean;

  /**
   * Other texts at the name of a domain, by domain, such as proofs of ownership: Route 53 has one record set for all.
   * @default - none
   */
  readonly otherTexts?: { [domain: string]: string[] };

  /**
   * What others shall do with mail that neither SPF nor DKIM prove to be of the domain. Begin with `NONE` where
   * something that is not in `senders` sends mail too, and read the reports.
   * @default DmarcPolicy.REJECT
   */
  readonly dmarc?: DmarcPolicy;

  /**
   * Address for reports of DMARC (RFC 7489) and of TLS failures (RFC 8460). It must exist.
   * @default - `postmaster@` and the primary domain
   */
  readonly reportAddress?: string;

  /**
   * What others shall do when they can't reach a mail exchanger with good TLS.
   * @default MtaStsMode.ENFORCE
   */
  readonly mtaSts?: MtaStsMode;

  /**
   * Whether autoconfig, Autodiscover and the MTA-STS policy are served; see `DiscoverySite`. Without it there is no
   * MTA-STS, and clients find settings by SRV records, which few know.
   * @default true
   */
  readonly discoverySite?: boolean;

  /**
   * A certificate for that site, in the stack's region, with `autoconfig.`, `autodiscover.` and `mta-sts.` of each domain.
   * @default - one for each domain, by ACM. Where its zone is elsewhere, the deployment waits for the records that ACM shows
   */
  readonly siteCertificate?: ICertificate;

  /**
   * Age at which the DKIM key is replaced, 10 to 1000 whole days.
   * @default Duration.days(90)
   */
  readonly dkimRotateAfter?: Duration;

  /**
   * How long the DKIM key before stays published for mail in transit; 5 whole days at least.
   * @default Duration.days(7)
   */
  readonly dkimOverlap?: Duration;
}

/** Properties of `MailDns`. */
export interface MailDnsProps extends MailDnsOptions {
  /**
   * Where mail clients get tokens, told to them by autoconfig.
   * @default - clients ask for a password
   */
  readonly singleSignOn?: ISingleSignOn;

  /** Mail domains, the primary one first. */
  readonly domains: string[];

  /** Name that clients connect to. Its own record is `MailEdge`'s. */
  readonly hostname: string;

  /** Public zone that holds the host name. What changes by itself is published there, whatever zone a domain is in. */
  readonly hostedZone: IHostedZone;

  /** Services offered. */
  readonly services: MailService[];

  /** Key for the DKIM key and for logs. */
  readonly encryptionKey: IKey;

  /**
   * Where alarms go.
   * @default - there are none
   */
  readonly alarmTopic?: ITopic;
}

/**
 * Whatever mail domains need in DNS, so that mail arrives, is believed by others, and clients set themselves up: MX, SRV,
 * SPF, DKIM with rotated keys, DMARC, MTA-STS and reports of TLS failures.
 *
 * A domain whose zone is in Route 53 gets its records. For the others there is an output with lines for their zone file,
 * which never change: keys, addresses and policies are below the mail host's name, and CNAME records lead there. The
 * output `DnsSettings` is for `mail-dns`, which prints and checks the same records (docs/dns.md).
 *
 * @throws when a name, an address or a time is not one, or when nothing is said to send mail
 */
export class MailDns extends Construct {
  /** All that the records follow from. */
  public readonly settings: MailDnsSettings;

  /** The key that signs outgoing mail. */
  public readonly dkimKey: DkimKey;

  /** What serves client configuration and the MTA-STS policy. */
  public readonly discoverySite?: DiscoverySite;

  constructor(scope: Construct, id: string, props: MailDnsProps) {
    super(scope, id);
    this.settings = settingsOf(props);
    checkProps(props, this.settings);
    if (this.settings.mailExchangers.length === 0) {
      Annotations.of(this).addWarningV2(
        'cdk-mail-platform:noMailExchanger',
        'no MX record is made, so that no mail comes: offer MailService.MX, or give mailExchangers',
      );
    }

    this.dkimKey = new DkimKey(this, 'Dkim', {
      hostname: props.hostname,
      hostedZone: props.hostedZone,
      encryptionKey: props.encryptionKey,
      rotateAfter: props.dkimRotateAfter,
      overlap: props.dkimOverlap,
    });
    if (props.alarmTopic) {
      this.dkimKey.addAlarms(props.alarmTopic);
    }
    this.discoverySite = this.settings.site ? this.createSite(props) : undefined;
    this.createHostRecords(props);
    for (const domain of this.settings.domains) {
      this.publish(domain, props);
    }
    new CfnOutput(this, 'Settings', {
      value: JSON.stringify(this.settings),
      description: 'For mail-dns check --settings <this> domain',
    });
  }

  /** The records of a domain, whatever zone it is in. */
  public records(domain: string): DnsRecord[] {
    return domainRecords(this.settings, domain);
  }

  private createSite(props: MailDnsProps): DiscoverySite {
    return new DiscoverySite(this, 'Site', {
      settings: this.settings,
      hostedZone: props.hostedZone,
      domainZones: props.domainZones,
      certificate: props.siteCertificate,
      singleSignOn: props.singleSignOn,
      encryptionKey: props.encryptionKey,
    });
  }

  private createHostRecords({ hostedZone, hostname, outboundAddresses }: MailDnsProps): void {
    const scope = new Construct(this, 'Host');
    for (const record of hostRecords(this.settings)) {
      // Not before the policy can be read.
      createRecord(scope, hostedZone, record).node.addDependency(...(this.discoverySite ? [this.discoverySite] : []));
    }
    if (outboundAddresses && outboundAddresses.length > 0) {
      new ARecord(scope, 'Outbound', {
        zone: hostedZone,
        recordName: `${outboundName(hostname)}.`,
        target: RecordTarget.fromIpAddresses(...outboundAddresses),
      });
    }
  }

  private publish(domain: string, { hostedZone, domainZones, otherTexts }: MailDnsProps): void {
    const zone = zoneThatHolds(domain, hostedZone, domainZones);
    const records = this.records(domain);
    if (!zone) {
      if (otherTexts?.[domain]) {
        throw new Error(`otherTexts has ${domain}, whose zone is elsewhere; remove it, or give its domainZones`);
      }
      new CfnOutput(this, `ZoneFile${pascalCase(domain)}`, {
        value: zoneFile(records),
        description: `Lines for the zone of ${domain}; they do not change`,
      });
      return;
    }
    const scope = new Construct(this, domain);
    for (const record of records) {
      const more = record.purpose === 'Spf' ? (otherTexts?.[domain] ?? []).map(txt) : [];
      createRecord(scope, zone, { ...record, values: [...record.values, ...more] });
    }
  }
}

function createRecord(scope: Construct, zone: IHostedZone, { purpose, name, type, ttl, values }: DnsRecord): RecordSet {
  return new RecordSet(scope, purpose, {
    zone,
    recordName: `${name}.`,
    recordType: RecordType[type as keyof typeof RecordType],
    ttl: Duration.seconds(ttl),
    target: RecordTarget.fromValues(...values),
  });
}

/** `ExampleCom` of `example.com`. */
function pascalCase(domain: string): string {
  return domain.replace(/(^|[.-])(\w)/g, (_all, _mark, letter: string) => letter.toUpperCase());
}

function settingsOf(props: MailDnsProps): MailDnsSettings {
  const { domains, hostname, outboundAddresses } = props;
  const outbound = outboundAddresses && outboundAddresses.length > 0 ? [`a:${outboundName(hostname)}`] : [];
  return withDefaults({
    domains,
    hostname,
    services: props.services.map(({ name }) => name),
    mailExchangers: props.mailExchangers,
    senders: [...outbound, ...(props.senders ?? [])],
    spfHardFail: props.spfHardFail,
    dmarc: props.dmarc,
    reportAddress: props.reportAddress,
    mtaSts: props.mtaSts,
    site: props.discoverySite,
  });
}

function checkProps(props: MailDnsProps, settings: MailDnsSettings): void {
  if ([props.hostname, ...props.domains].some((name) => Token.isUnresolved(name))) {
    throw new Error(
      'dns needs domains and a host name that are known when the stack is synthesised, got a token; write them out',
    );
  }
  if (settings.senders.length === 0) {
    throw new Error(
      'outboundAddresses or senders must say what sends mail, got none; give the public addresses of the NAT gateways',
    );
  }
  checkSettings(settings);
  checkZoneHolds(props.hostedZone, props.hostname);
  for (const address of props.outboundAddresses ?? []) {
    if (!Token.isUnresolved(address) && !/^((25[0-5]|2[0-4]\d|1?\d?\d)(\.(?!$)|$)){4}$/.test(address)) {
      throw new Error(`outboundAddresses must be IPv4 addresses, got ${JSON.stringify(address)}`);
    }
  }
  for (const [field, byDomain] of [
    ['domainZones', props.domainZones],
    ['otherTexts', props.otherTexts],
  ] as const) {
    const unknown = Object.keys(byDomain ?? {}).find((domain) => !props.domains.includes(domain));
    if (unknown !== undefined) {
      throw new Error(`${field} has ${unknown}, which is none of the mail domains ${props.domains.join(', ')}`);
    }
  }
  for (const [domain, zone] of Object.entries(props.domainZones ?? {})) {
    checkZoneHoldsDomain(domain, zone);
  }
}

function checkZoneHoldsDomain(domain: string, { zoneName }: IHostedZone): void {
  if (!Token.isUnresolved(zoneName) && !`.${domain}`.endsWith(`.${zoneName}`)) {
    throw new Error(`domainZones must hold ${domain}, got ${zoneName}; choose the zone of the domain or of a parent`);
  }
}
