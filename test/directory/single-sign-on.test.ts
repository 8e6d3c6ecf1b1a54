import { Duration } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { OpenIdOptions, SingleSignOn } from '../../lib/directory';
import { MailKey } from '../../lib/security';
import { testStack } from '../support/apps';

const PROVIDER: OpenIdOptions = { issuer: 'https://login.example.com/realms/staff', clientId: 'mail' };

function bind(options: Partial<OpenIdOptions> = {}) {
  const stack = testStack();
  const { key } = new MailKey(stack, 'Key');
  return SingleSignOn.openId({ ...PROVIDER, ...options }).bind(new Construct(stack, 'SignIn'), {
    hostname: 'mail.example.com',
    encryptionKey: key,
  });
}

test('a provider of yours needs two words', () => {
  const { issuer, clientId, scopes, configuration } = bind();
  expect({ issuer, clientId, scopes }).toEqual({ ...PROVIDER, scopes: ['openid', 'email', 'offline_access'] });
  expect(configuration).toEqual({
    environment: {
      MAIL_TOKEN_ISSUER: PROVIDER.issuer,
      MAIL_TOKEN_AUDIENCES: 'mail',
      MAIL_TOKEN_CLIENTS: 'mail',
      MAIL_TOKEN_CLAIM: 'email',
      MAIL_TOKEN_LIFETIME_MAX: '900',
    },
  });
});

test('audience, claim, scope and lifetime can be others', () => {
  const options = { audience: 'api://mail', mailboxClaim: 'upn', requiredScope: 'Mail.All' };
  expect(bind({ ...options, tokenLifetimeMax: Duration.hours(1) }).configuration.environment).toMatchObject({
    MAIL_TOKEN_AUDIENCES: 'api://mail',
    MAIL_TOKEN_CLIENTS: 'mail',
    MAIL_TOKEN_CLAIM: 'upn',
    MAIL_TOKEN_SCOPE: 'Mail.All',
    MAIL_TOKEN_LIFETIME_MAX: '3600',
  });
});

test.each<[string, Partial<OpenIdOptions>, string]>([
  ['the issuer is not https', { issuer: 'http://login.example.com' }, 'issuer must be an https address on port 443'],
  [
    'the issuer has a port',
    { issuer: 'https://login.example.com:8443' },
    'issuer must be an https address on port 443',
  ],
  ['the client has a blank', { clientId: 'mail clients' }, 'clientId must be letters, digits and ._~:/@+-'],
  ['the audience has a variable', { audience: '%{user}' }, 'audience must be letters, digits and ._~:/@+-'],
  ['the scope is a list', { requiredScope: 'a b' }, 'requiredScope must be letters, digits and ._~:/@+-'],
  ['the claim is an address', { mailboxClaim: 'https://x.example/mail' }, 'mailboxClaim must be letters, digits and _'],
  [
    'tokens would be good for days',
    { tokenLifetimeMax: Duration.days(2) },
    'tokenLifetimeMax must be 1 minute to 1 day',
  ],
])('fails when %s', (_what, options, message) => {
  expect(() => bind(options)).toThrow(message);
});
