import { Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { UserPool } from 'aws-cdk-lib/aws-cognito';
import { PreTokenGenerationV2TriggerEvent } from 'aws-lambda';
import { handler } from '../../handlers/token-claims';
import { SignInPool, SignInPoolProps } from '../../lib/directory';
import { MailKey } from '../../lib/security';
import { flagSets, testStack } from '../support/apps';
import { openFindings } from '../support/nag';

function poolIn(stack: Stack, props: Partial<SignInPoolProps> = {}): SignInPool {
  const { key } = new MailKey(stack, 'Key');
  return new SignInPool(stack, 'SignIn', { hostname: 'mail.example.com', encryptionKey: key, ...props });
}

describe.each(flagSets)('with $flags', ({ context }) => {
  const stack = testStack(context);
  const pool = poolIn(stack);
  const template = Template.fromStack(stack);

  test('people sign in with TOTP, or a passkey that knows them, and nobody signs up', () => {
    template.hasResourceProperties('AWS::Cognito::UserPool', {
      AdminCreateUserConfig: { AllowAdminCreateUserOnly: true },
      MfaConfiguration: 'ON',
      EnabledMfas: ['SOFTWARE_TOKEN_MFA'],
      WebAuthnUserVerification: 'required',
      WebAuthnFactorConfiguration: 'MULTI_FACTOR_WITH_USER_VERIFICATION',
      Policies: {
        PasswordPolicy: Match.objectLike({ MinimumLength: 12 }),
        SignInPolicy: { AllowedFirstAuthFactors: ['PASSWORD', 'WEB_AUTHN'] },
      },
      UserPoolTier: 'PLUS',
      UserPoolAddOns: { AdvancedSecurityMode: 'ENFORCED' },
      UserAttributeUpdateSettings: { AttributesRequireVerificationBeforeUpdate: ['email'] },
    });
  });

  test('it is kept when the stack goes', () => {
    template.hasResource('AWS::Cognito::UserPool', {
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: { DeletionProtection: 'ACTIVE' },
    });
    // A new logical id would be a new pool, without anybody in it.
    expect(Object.keys(template.findResources('AWS::Cognito::UserPool'))).toEqual([
      expect.stringMatching(/^SignInUserPool/),
    ]);
  });

  test('mail clients have no secret, tokens of 15 minutes, and refresh tokens that change', () => {
    template.hasResourceProperties('AWS::Cognito::UserPoolClient', {
      GenerateSecret: false,
      AllowedOAuthFlows: ['code'],
      AllowedOAuthScopes: ['openid', 'email'],
      CallbackURLs: ['http://localhost'],
      AccessTokenValidity: 15,
      IdTokenValidity: 15,
      TokenValidityUnits: { AccessToken: 'minutes', IdToken: 'minutes', RefreshToken: 'minutes' },
      RefreshTokenRotation: { Feature: 'ENABLED', RetryGracePeriodSeconds: 60 },
      EnableTokenRevocation: true,
      PreventUserExistenceErrors: 'ENABLED',
      // Not the address, which is whose mailbox a token opens.
      WriteAttributes: ['locale'],
      ExplicitAuthFlows: ['ALLOW_USER_AUTH'],
    });
  });

  test('nodes know whom to trust', () => {
    const environment = stack.resolve(pool.configuration.environment);
    expect(environment).toMatchObject({
      MAIL_TOKEN_CLAIM: 'email',
      MAIL_TOKEN_LIFETIME_MAX: '900',
      MAIL_TOKEN_AUDIENCES: { Ref: expect.stringMatching(/^SignInClient/) },
      MAIL_TOKEN_CLIENTS: { Ref: expect.stringMatching(/^SignInClient/) },
    });
    expect(JSON.stringify(environment.MAIL_TOKEN_ISSUER)).toContain('https://cognito-idp.');
    expect(JSON.stringify(stack.resolve(pool.authorizationUrl))).toContain('/oauth2/authorize');
  });

  test('has no open findings', () => {
    expect(openFindings(stack)).toEqual([]);
  });
});

test('a pool of yours gets a client, and nothing else is made', () => {
  const stack = testStack();
  const userPool = UserPool.fromUserPoolId(stack, 'Theirs', 'eu-central-1_abcdefghi');
  const pool = poolIn(stack, { userPool, mailboxClaim: 'mail', signInUrl: 'https://login.example.com/' });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::Cognito::UserPool', 0);
  template.resourceCountIs('AWS::Lambda::Function', 0);
  template.hasResourceProperties('AWS::Cognito::UserPoolClient', { UserPoolId: 'eu-central-1_abcdefghi' });
  expect(pool.tokenUrl).toBe('https://login.example.com/oauth2/token');
  expect(pool.configuration.environment.MAIL_TOKEN_CLAIM).toBe('mail');
});

describe('fails when', () => {
  const theirs = (stack: Stack) => UserPool.fromUserPoolId(stack, 'Theirs', 'eu-central-1_abcdefghi');
  test.each<[string, (stack: Stack) => Partial<SignInPoolProps>, string]>([
    [
      'a pool of yours comes without the claim of the mailbox',
      (stack) => ({ userPool: theirs(stack), signInUrl: 'https://login.example.com' }),
      'mailboxClaim is needed with userPool, got none',
    ],
    [
      'a pool of yours comes without its address',
      (stack) => ({ userPool: theirs(stack), mailboxClaim: 'email' }),
      'signInUrl is needed with userPool, got none',
    ],
    [
      'a pool of yours comes with an address of Cognito',
      (stack) => ({
        userPool: theirs(stack),
        mailboxClaim: 'email',
        signInUrl: 'https://x.example',
        domainPrefix: 'a',
      }),
      'domainPrefix is for a new pool',
    ],
    ['a new pool is said to be elsewhere', () => ({ signInUrl: 'https://x.example' }), 'signInUrl is for userPool'],
    ['the prefix is no label', () => ({ domainPrefix: 'Mail.example' }), 'domainPrefix must be 1 to 63'],
  ])('%s', (_what, props, message) => {
    const stack = testStack();
    expect(() => poolIn(stack, props(stack))).toThrow(message);
  });
});

describe('the function that writes addresses into tokens', () => {
  const event = (userAttributes: object) =>
    ({ request: { userAttributes }, response: {} }) as PreTokenGenerationV2TriggerEvent;

  test('writes one that was verified', async () => {
    const { response } = await handler(event({ email: 'alice@example.com', email_verified: 'true' }));
    expect(response.claimsAndScopeOverrideDetails).toEqual({
      accessTokenGeneration: { claimsToAddOrOverride: { email: 'alice@example.com' } },
    });
  });

  test.each([{ email: 'alice@example.com', email_verified: 'false' }, { email: 'alice@example.com' }, {}])(
    'writes none of %j',
    async (attributes) => {
      const { response } = await handler(event(attributes));
      expect(response.claimsAndScopeOverrideDetails).toBeUndefined();
    },
  );
});
