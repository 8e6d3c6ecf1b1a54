import { TlsStart } from '../../lib/access/mail-service';
import { escapeXml, MailServer } from './servers';

/**
 * Mozilla's client configuration, which Thunderbird, K-9, Evolution and others read.
 *
 * @see https://www.bucksch.org/1/projects/thunderbird/autoconfiguration/config-file-format.html
 */
export function autoconfig(domain: string, hostname: string, servers: MailServer[]): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="${escapeXml(domain)}">
    <domain>${escapeXml(domain)}</domain>
    <displayName>${escapeXml(domain)}</displayName>
    <displayShortName>${escapeXml(domain)}</displayShortName>
${servers.map((server) => serverElement(hostname, server)).join('\n')}
  </emailProvider>
</clientConfig>
`;
}

function serverElement(hostname: string, { protocol, port, tlsStart }: MailServer): string {
  const element = protocol === 'smtp' ? 'outgoingServer' : 'incomingServer';
  // "cleartext" is the password within TLS; what the format calls encrypted is CRAM-MD5.
  return `    <${element} type="${protocol}">
      <hostname>${escapeXml(hostname)}</hostname>
      <port>${port}</port>
      <socketType>${tlsStart === TlsStart.IMPLICIT ? 'SSL' : 'STARTTLS'}</socketType>
      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
    </${element}>`;
}
