import { Duration, Token } from 'aws-cdk-lib';
import type { OpenIdOptions } from './single-sign-on';

/** What nodes must know of tokens. */
type TokenSettings = Pick<
  OpenIdOptions,
  'issuer' | 'clientId' | 'audience' | 'mailboxClaim' | 'requiredScope' | 'tokenLifetimeMax'
>;

/**
 * The keys of the nodes' environment file; `assets/node/libexec/lib.sh` checks them there.
 *
 * @throws on what can't stand in Dovecot's configuration
 */
export function tokenEnvironment(settings: TokenSettings): { [key: string]: string } {
  const { issuer, clientId, requiredScope, mailboxClaim: claim = 'email' } = settings;
  const lifetime = settings.tokenLifetimeMax ?? Duration.minutes(15);
  if (!Token.isUnresolved(issuer) && !/^https:\/\/[a-z0-9.-]+(\/[A-Za-z0-9._~/-]*)?$/.test(issuer)) {
    throw new Error(
      `issuer must be an https address on port 443 such as https://login.example.com, got ${JSON.stringify(issuer)}`,
    );
  }
  if (!/^[A-Za-z0-9_]+$/.test(claim)) {
    throw new Error(
      `mailboxClaim must be letters, digits and _, got ${JSON.stringify(claim)}; have the provider add such a claim`,
    );
  }
  if (lifetime.isUnresolved() || lifetime.toSeconds() < 60 || lifetime.toSeconds() > 86_400) {
    throw new Error(`tokenLifetimeMax must be 1 minute to 1 day, got ${lifetime}`);
  }
  return {
    MAIL_TOKEN_ISSUER: issuer,
    MAIL_TOKEN_CLIENTS: word('clientId', clientId),
    MAIL_TOKEN_AUDIENCES: word('audience', settings.audience ?? clientId),
    MAIL_TOKEN_CLAIM: claim,
    MAIL_TOKEN_LIFETIME_MAX: `${lifetime.toSeconds()}`,
    ...(requiredScope === undefined ? {} : { MAIL_TOKEN_SCOPE: word('requiredScope', requiredScope) }),
  };
}

function word(name: string, value: string): string {
  if (!Token.isUnresolved(value) && !/^[A-Za-z0-9._~:/@+-]+$/.test(value)) {
    throw new Error(`${name} must be letters, digits and ._~:/@+-, got ${JSON.stringify(value)}`);
  }
  return value;
}
