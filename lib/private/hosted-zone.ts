import { Token } from 'aws-cdk-lib';
import { IHostedZone } from 'aws-cdk-lib/aws-route53';

/**
 * Checks that a zone holds a name.
 *
 * @throws when it does not; names that are not known at synthesis pass
 */
export function checkZoneHolds(hostedZone: IHostedZone, hostname: string): void {
  const { zoneName } = hostedZone;
  if (Token.isUnresolved(zoneName) || Token.isUnresolved(hostname)) {
    return;
  }
  if (hostname !== zoneName && !hostname.endsWith(`.${zoneName}`)) {
    throw new Error(
      `hostedZone must hold the host name ${hostname}, got ${zoneName}; choose the zone of a parent domain`,
    );
  }
}

/**
 * The zone in Route 53 that holds a mail domain; nothing when it is elsewhere, or when a zone's name is not known at
 * synthesis.
 *
 * @param hostedZone the one of the mail host
 * @param domainZones those of domains, which come first
 */
export function zoneThatHolds(
  domain: string,
  hostedZone: IHostedZone,
  domainZones: { [domain: string]: IHostedZone } = {},
): IHostedZone | undefined {
  if (domainZones[domain]) {
    return domainZones[domain];
  }
  const { zoneName } = hostedZone;
  const holds = !Token.isUnresolved(zoneName) && `.${domain}`.endsWith(`.${zoneName}`);
  return holds ? hostedZone : undefined;
}
