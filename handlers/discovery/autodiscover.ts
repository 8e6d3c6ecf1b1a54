import { TlsStart } from '../../lib/access/mail-service';
import { escapeXml, MailServer } from './servers';

const OUTLOOK = 'http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a';

/**
 * Answers a request of Outlook's plain-XML Autodiscover.
 *
 * @param body of the POST request
 * @see https://learn.microsoft.com/openspecs/exchange_server_protocols/ms-oxdscli/
 */
export function autodiscover(body: string, domains: string[], hostname: string, servers: MailServer[]): string {
  const schema = element(body, 'AcceptableResponseSchema');
  if (schema !== undefined && schema !== OUTLOOK) {
    // Phones that ask for Exchange ActiveSync, which is not offered.
    return errorAnswer(601, 'Provider is not available');
  }
  const address = element(body, 'EMailAddress') ?? '';
  const [, domain] = /^[^\s@<>&]{1,64}@([a-z0-9.-]{1,253})$/i.exec(address) ?? [];
  if (domain === undefined || !domains.includes(domain.toLowerCase())) {
    return errorAnswer(600, 'Invalid request');
  }
  return answer(`  <Response xmlns="${OUTLOOK}">
    <Account>
      <AccountType>email</AccountType>
      <Action>settings</Action>
${preferred(servers)
  .map((server) => protocolElement(address, hostname, server))
  .join('\n')}
    </Account>
  </Response>`);
}

/** Outlook takes one server for each protocol. */
function preferred(servers: MailServer[]): MailServer[] {
  return servers.filter(({ protocol }, index) => servers.findIndex((other) => other.protocol === protocol) === index);
}

function protocolElement(address: string, hostname: string, { protocol, port, tlsStart }: MailServer): string {
  const implicit = tlsStart === TlsStart.IMPLICIT;
  return `      <Protocol>
        <Type>${protocol.toUpperCase()}</Type>
        <Server>${escapeXml(hostname)}</Server>
        <Port>${port}</Port>
        <LoginName>${escapeXml(address)}</LoginName>
        <DomainRequired>off</DomainRequired>
        <SPA>off</SPA>
        <SSL>${implicit ? 'on' : 'off'}</SSL>
        <Encryption>${implicit ? 'SSL' : 'TLS'}</Encryption>
        <AuthRequired>on</AuthRequired>${protocol === 'smtp' ? '\n        <UsePOPAuth>off</UsePOPAuth>' : ''}
      </Protocol>`;
}

function errorAnswer(code: number, message: string): string {
  return answer(`  <Response>
    <Error>
      <ErrorCode>${code}</ErrorCode>
      <Message>${message}</Message>
    </Error>
  </Response>`);
}

function answer(response: string): string {
  return `<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">
${response}
</Autodiscover>
`;
}

/** Text of an element; its name may have a prefix. Requests are small and flat, and only two elements matter. */
function element(xml: string, name: string): string | undefined {
  const [, text] = new RegExp(`<(?:[\\w-]+:)?${name}(?:\\s[^>]*)?>\\s*([^<]*?)\\s*</`).exec(xml) ?? [];
  return text;
}
