import { TlsStart } from '../../lib/access/mail-service';
import { escapeXml, MailServer, SignIn } from './servers';

/**
 * Mozilla's client configuration, which Thunderbird, K-9, Evolution and others read.
 *
 * @see https://www.bucksch.org/1/projects/thunderbird/autoconfiguration/config-file-format.html
 */
export function autoconfig(domain: string, hostname: string, servers: MailServer[], signIn?: SignIn): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="${escapeXml(domain)}">
    <domain>${escapeXml(domain)}</domain>
    <displayName>${escapeXml(domain)}</displayName>
    <displayShortName>${escapeXml(domain)}</displayShortName>
${servers.map((server) => serverElement(hostname, server, signIn !== undefined)).join('\n')}
  </emailProvider>${signIn ? signInElement(signIn) : ''}
</clientConfig>
`;
}

/** Where a client gets tokens (draft-ietf-mailmaint-autoconfig). */
function signInElement({ issuer, scopes, authorizationUrl, tokenUrl, clientId }: SignIn): string {
  return `
  <oAuth2>
    <issuer>${escapeXml(new URL(issuer).hostname)}</issuer>
    <scope>${escapeXml(scopes.join(' '))}</scope>
    <authURL>${escapeXml(authorizationUrl)}</authURL>
    <tokenURL>${escapeXml(tokenUrl)}</tokenURL>
    <clientID>${escapeXml(clientId)}</clientID>
  </oAuth2>`;
}

function serverElement(hostname: string, { protocol, port, tlsStart }: MailServer, takesTokens: boolean): string {
  const element = protocol === 'smtp' ? 'outgoingServer' : 'incomingServer';
  // "cleartext" is the password within TLS; what the format calls encrypted is CRAM-MD5.
  return `    <${element} type="${protocol}">
      <hostname>${escapeXml(hostname)}</hostname>
      <port>${port}</port>
      <socketType>${tlsStart === TlsStart.IMPLICIT ? 'SSL' : 'STARTTLS'}</socketType>
${takesTokens ? '      <authentication>OAuth2</authentication>\n' : ''}      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
    </${element}>`;
}
