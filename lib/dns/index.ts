export * from './discovery-site';
export * from './dkim-key';
export * from './dmarc-policy';
export type { DnsRecord } from './dns-record';
export * from './mail-dns';
export type { MailDnsSettings, MailExchanger } from './mail-dns-settings';
export { MtaStsMode } from './mta-sts';
