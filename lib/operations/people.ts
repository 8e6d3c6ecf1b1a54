import { Token } from 'aws-cdk-lib';
import { CompositePrincipal, IPrincipal, PrincipalWithConditions } from 'aws-cdk-lib/aws-iam';
import { IdentityCenterPrincipal } from './identity-center-principal';

/**
 * Who may take a role: with a second factor where AWS itself signs people in, otherwise as their provider signs them in.
 *
 * @param prop name of the property, for messages
 * @throws on what is not people: everybody, roles, services, and a provider without a condition
 */
export function people(prop: string, principals: IPrincipal[]): IPrincipal {
  return new CompositePrincipal(...principals.map((principal) => withSecondFactor(prop, principal)));
}

function withSecondFactor(prop: string, principal: IPrincipal): IPrincipal {
  if (principal instanceof IdentityCenterPrincipal) {
    return principal;
  }
  const { principalJson, conditions } = principal.policyFragment;
  const [[kind, names] = ['nobody', []], ...others] = Object.entries(principalJson);
  const expected = `${prop} must be users, accounts, a SAML or OpenID Connect provider, or an IdentityCenterPrincipal`;
  if (kind === 'Federated' && others.length === 0) {
    if (Object.keys(conditions).length === 0) {
      throw new Error(
        `${prop} must have a condition with a provider, which signs in others, too, got none; use SamlConsolePrincipal`,
      );
    }
    return principal;
  }
  if (kind !== 'AWS' || others.length > 0) {
    throw new Error(`${expected}, got ${kind === 'LiteralString' ? 'everybody' : kind}`);
  }
  if (names.includes('*')) {
    throw new Error(`${expected}, got everybody`);
  }
  // https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_configure-api-require.html
  if ('roleArn' in principal || names.some((name) => !Token.isUnresolved(name) && /:(assumed-)?role\//.test(name))) {
    throw new Error(
      `${expected}, got a role: who has taken a role can't show a second factor any more; name who takes that role`,
    );
  }
  return new PrincipalWithConditions(principal, { Bool: { 'aws:MultiFactorAuthPresent': 'true' } });
}
