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
