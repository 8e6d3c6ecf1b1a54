import { Duration, Fn, RemovalPolicy, Stack, Token } from 'aws-cdk-lib';
import {
  AccountRecovery,
  CfnManagedLoginBranding,
  CfnUserPool,
  ClientAttributes,
  FeaturePlan,
  IUserPool,
  LambdaVersion,
  ManagedLoginVersion,
  Mfa,
  OAuthScope,
  PasskeyUserVerification,
  StandardThreatProtectionMode,
  UserPool,
  UserPoolClient,
  UserPoolClientIdentityProvider,
  UserPoolOperation,
} from 'aws-cdk-lib/aws-cognito';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { NodeConfiguration } from '../node/node-configuration';
import { HandlerFunction } from '../private/handler-function';
import { ISingleSignOn } from './single-sign-on';
import { tokenEnvironment } from './token-environment';

const TOKEN_LIFETIME = Duration.minutes(15);

/** Options of `SingleSignOn.cognito`. */
export interface CognitoOptions {
  /**
   * A user pool to use. Its access tokens must carry `mailboxClaim`, it should require a second factor, and `signInUrl` is
   * needed.
   * @default - a new one, kept when the stack is deleted; administrators add people
   */
  readonly userPool?: IUserPool;

  /**
   * Claim of access tokens with the address of the mailbox.
   * @default 'email' - a new pool puts verified addresses there; needed with `userPool`
   */
  readonly mailboxClaim?: string;

  /**
   * Where people sign in at `userPool`, such as `https://login.example.com`.
   * @default - the new pool's own address
   */
  readonly signInUrl?: string;

  /**
   * First label of the new pool's address, unique among all of AWS in the region; lower-case letters, digits and hyphens.
   * @default - the mail host's name with hyphens, and the account's number
   */
  readonly domainPrefix?: string;

  /**
   * Where mail clients take the answer: what is on the person's own machine, by http, or a scheme of an app.
   * @default ['http://localhost'] - Thunderbird and most programs on a desktop
   */
  readonly callbackUrls?: string[];

  /**
   * Time after which people sign in anew, 1 hour to 10 years. Until then the mail client gets its tokens of 15 minutes by
   * a refresh token, which changes each time.
   * @default Duration.days(30)
   */
  readonly signInEvery?: Duration;
}

/** Properties of `SignInPool`. */
export interface SignInPoolProps extends CognitoOptions {
  /** Name of the mail host. */
  readonly hostname: string;

  /** Key of the logs of the function that writes addresses into tokens. */
  readonly encryptionKey: IKey;
}

/**
 * A Cognito user pool where people sign in with a second factor (TOTP, or a passkey that asks for a fingerprint or PIN),
 * and an app client for mail programs: authorization code with PKCE, no secret, tokens of 15 minutes.
 *
 * Costs 0.02 USD a month for each person who signs in (plan Plus, which takes notice of stolen passwords).
 *
 * @throws when `userPool` comes without `mailboxClaim` or `signInUrl`, or with what is for a new pool
 */
export class SignInPool extends Construct implements ISingleSignOn {
  /** People who sign in. */
  public readonly userPool: IUserPool;
  /** Mail clients. */
  public readonly client: UserPoolClient;
  /** `iss` of tokens. */
  public readonly issuer: string;
  /** Id that mail clients have. */
  public readonly clientId: string;
  /** Where people sign in. */
  public readonly authorizationUrl: string;
  /** Where mail clients get tokens. */
  public readonly tokenUrl: string;
  /** What mail clients ask for. */
  public readonly scopes = ['openid', 'email'];
  /** What nodes need to check tokens. */
  public readonly configuration: NodeConfiguration;

  constructor(scope: Construct, id: string, props: SignInPoolProps) {
    super(scope, id);
    checkProps(props);
    const { region, urlSuffix } = Stack.of(this);
    const made = props.userPool ? undefined : this.createPool(props);
    this.userPool = props.userPool ?? made!;
    this.client = this.createClient(props);
    const signInUrl = (props.signInUrl ?? this.createDomain(made!, props)).replace(/\/$/, '');
    // https://docs.aws.amazon.com/cognito/latest/developerguide/federation-endpoints.html
    this.issuer = `https://cognito-idp.${region}.${urlSuffix}/${this.userPool.userPoolId}`;
    this.clientId = this.client.userPoolClientId;
    this.authorizationUrl = `${signInUrl}/oauth2/authorize`;
    this.tokenUrl = `${signInUrl}/oauth2/token`;
    this.configuration = {
      environment: tokenEnvironment({
        issuer: this.issuer,
        clientId: this.clientId,
        mailboxClaim: props.mailboxClaim,
        tokenLifetimeMax: TOKEN_LIFETIME,
      }),
    };
  }

  private createPool(props: SignInPoolProps): UserPool {
    const pool = new UserPool(this, 'UserPool', {
      selfSignUpEnabled: false,
      signInAliases: { email: true },
      signInCaseSensitive: false,
      standardAttributes: { email: { required: true, mutable: true } },
      // A new address counts only when its owner has confirmed it.
      keepOriginal: { email: true },
      mfa: Mfa.REQUIRED,
      mfaSecondFactor: { otp: true, sms: false },
      signInPolicy: { allowedFirstAuthFactors: { password: true, passkey: true } },
      passkeyUserVerification: PasskeyUserVerification.REQUIRED,
      passwordPolicy: {
        minLength: 12,
        requireLowercase: true,
        requireUppercase: true,
        requireDigits: true,
        requireSymbols: true,
        tempPasswordValidity: Duration.days(3),
      },
      // A mailbox that one can't open without signing in is no way back; administrators reset.
      accountRecovery: AccountRecovery.NONE,
      featurePlan: FeaturePlan.PLUS,
      standardThreatProtectionMode: StandardThreatProtectionMode.FULL_FUNCTION,
      deletionProtection: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    // Without it Cognito offers no passkeys where a second factor is required.
    (pool.node.defaultChild as CfnUserPool).webAuthnFactorConfiguration = 'MULTI_FACTOR_WITH_USER_VERIFICATION';
    const claims = new HandlerFunction(this, 'TokenClaims', {
      handler: 'token-claims',
      description: 'Writes verified addresses into the access tokens of mail clients',
      statements: [],
      encryptionKey: props.encryptionKey,
      timeout: Duration.seconds(5),
      calls:
        'Cognito calls this function while it makes a token, and refuses the token when it fails; the mail client asks ' +
        'again. It calls nothing itself (test/directory/sign-in-pool.test.ts).',
    });
    pool.addTrigger(UserPoolOperation.PRE_TOKEN_GENERATION_CONFIG, claims.function, LambdaVersion.V2_0);
    return pool;
  }

  private createClient(props: SignInPoolProps): UserPoolClient {
    return new UserPoolClient(this, 'Client', {
      userPool: this.userPool,
      // A program on people's own machines keeps no secret; it proves itself by PKCE.
      generateSecret: false,
      authFlows: { user: true },
      oAuth: {
        flows: { authorizationCodeGrant: true },
        scopes: [OAuthScope.OPENID, OAuthScope.EMAIL],
        callbackUrls: props.callbackUrls ?? ['http://localhost'],
      },
      accessTokenValidity: TOKEN_LIFETIME,
      idTokenValidity: TOKEN_LIFETIME,
      refreshTokenValidity: props.signInEvery ?? Duration.days(30),
      // The one of before is good for a minute: its answer may have been lost.
      refreshTokenRotationGracePeriod: Duration.seconds(60),
      enableTokenRevocation: true,
      preventUserExistenceErrors: true,
      supportedIdentityProviders: props.userPool ? undefined : [UserPoolClientIdentityProvider.COGNITO],
      readAttributes: new ClientAttributes().withStandardAttributes({ email: true, emailVerified: true }),
      // Whoever has a token of this client changes nothing, least of all whose mailbox it opens.
      writeAttributes: new ClientAttributes().withStandardAttributes({ locale: true }),
    });
  }

  /** Returns the address where people sign in. */
  private createDomain(pool: UserPool, props: SignInPoolProps): string {
    const stack = Stack.of(this);
    const domain = pool.addDomain('Domain', {
      cognitoDomain: {
        domainPrefix: props.domainPrefix ?? Fn.join('-', [props.hostname.replace(/\./g, '-'), stack.account]),
      },
      managedLoginVersion: ManagedLoginVersion.NEWER_MANAGED_LOGIN,
    });
    new CfnManagedLoginBranding(this, 'Branding', {
      userPoolId: pool.userPoolId,
      clientId: this.client.userPoolClientId,
      useCognitoProvidedValues: true,
    });
    return domain.baseUrl();
  }
}

function checkProps(props: SignInPoolProps): void {
  if (props.userPool) {
    for (const name of ['mailboxClaim', 'signInUrl'] as const) {
      if (props[name] === undefined) {
        throw new Error(`${name} is needed with userPool, got none; add it`);
      }
    }
    if (props.domainPrefix !== undefined) {
      throw new Error('domainPrefix is for a new pool, and userPool is set; remove one');
    }
  } else if (props.signInUrl !== undefined) {
    throw new Error("signInUrl is for userPool; remove it, a new pool has an address of Cognito's");
  }
  const prefix = props.domainPrefix;
  if (prefix !== undefined && !Token.isUnresolved(prefix) && !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(prefix)) {
    throw new Error(
      `domainPrefix must be 1 to 63 lower-case letters, digits and hyphens, got ${JSON.stringify(prefix)}`,
    );
  }
}
