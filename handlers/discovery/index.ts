import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { autoconfig } from './autoconfig';
import { autodiscover } from './autodiscover';
import { serversOf, SignIn } from './servers';

/** What the construct sets as `SITE`. */
export interface SiteSettings {
  readonly domains: string[];
  readonly hostname: string;
  /** Names of services, see `MailService`. */
  readonly services: string[];
  /** Where clients get tokens; none when they use passwords only. */
  readonly signIn?: SignIn;
  /** Text of the MTA-STS policy; none when the domains have none. */
  readonly mtaStsPolicy?: string;
}

/** The part of a request that is looked at. */
export type SiteRequest = Pick<APIGatewayProxyEventV2, 'rawPath' | 'body' | 'isBase64Encoded'> & {
  readonly requestContext: { readonly domainName: string; readonly http: { readonly method: string } };
};

/**
 * Serves what mail clients and servers ask of a mail domain over HTTPS: Mozilla's autoconfig, Outlook's Autodiscover,
 * and the MTA-STS policy. It keeps nothing and reveals nothing that DNS does not.
 *
 * Environment: `SITE`, JSON of `SiteSettings`.
 */
export async function handler({
  rawPath,
  body,
  isBase64Encoded,
  requestContext,
}: SiteRequest): Promise<APIGatewayProxyStructuredResultV2> {
  const { domains, hostname, services, signIn, mtaStsPolicy } = JSON.parse(process.env.SITE!) as SiteSettings;
  const servers = serversOf(services);
  const { method } = requestContext.http;
  // Names of the site are one label below their domain.
  const domain = requestContext.domainName.toLowerCase().replace(/^[^.]*\./, '');
  if (!domains.includes(domain)) {
    return notFound();
  }
  // Clients differ in the case of /Autodiscover/Autodiscover.xml.
  switch (rawPath.toLowerCase()) {
    case '/.well-known/mta-sts.txt':
      return mtaStsPolicy === undefined ? notFound() : reading(method, 'text/plain; charset=us-ascii', mtaStsPolicy);
    case '/mail/config-v1.1.xml':
    case '/.well-known/autoconfig/mail/config-v1.1.xml':
      return reading(method, 'application/xml; charset=utf-8', autoconfig(domain, hostname, servers, signIn));
    case '/autodiscover/autodiscover.xml': {
      if (method !== 'POST') {
        return notAllowed('POST');
      }
      const request = Buffer.from(body ?? '', isBase64Encoded ? 'base64' : 'utf8').toString();
      return ok('application/xml; charset=utf-8', 'no-store', autodiscover(request, domains, hostname, servers));
    }
    default:
      return notFound();
  }
}

function reading(method: string, contentType: string, body: string): APIGatewayProxyStructuredResultV2 {
  return method === 'GET' || method === 'HEAD'
    ? ok(contentType, 'max-age=3600', method === 'GET' ? body : '')
    : notAllowed('GET, HEAD');
}

function ok(contentType: string, cacheControl: string, body: string): APIGatewayProxyStructuredResultV2 {
  const headers = { 'content-type': contentType, 'cache-control': cacheControl, 'x-content-type-options': 'nosniff' };
  return { statusCode: 200, headers, body };
}

function notAllowed(allow: string): APIGatewayProxyStructuredResultV2 {
  return { statusCode: 405, headers: { allow, 'content-type': 'text/plain' }, body: 'method not allowed\n' };
}

function notFound(): APIGatewayProxyStructuredResultV2 {
  return { statusCode: 404, headers: { 'content-type': 'text/plain' }, body: 'not found\n' };
}
