import { Duration } from 'aws-cdk-lib';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { NodeConfiguration } from '../node/node-configuration';
import { CognitoOptions, SignInPool } from './sign-in-pool';
import { tokenEnvironment } from './token-environment';

/** An identity provider whose tokens open mailboxes, once it is part of a stack. */
export interface ISingleSignOn {
  /** The provider's name for itself, an https address: `iss` of its tokens. */
  readonly issuer: string;

  /** What mail clients call themselves to the provider. */
  readonly clientId: string;

  /**
   * Where mail clients send people to sign in; with `tokenUrl` it is told to clients by autoconfig.
   * @default - clients ask the issuer's `/.well-known/openid-configuration`
   */
  readonly authorizationUrl?: string;

  /**
   * Where mail clients get tokens.
   * @default - clients ask the issuer's `/.well-known/openid-configuration`
   */
  readonly tokenUrl?: string;

  /** Scopes that mail clients ask for. */
  readonly scopes: string[];

  /** What nodes need to check tokens: `MAIL_TOKEN_ISSUER` and its companions. */
  readonly configuration: NodeConfiguration;
}

/** What a provider is told. */
export interface SingleSignOnBindOptions {
  /** Name of the mail host. */
  readonly hostname: string;

  /** Key for what the provider keeps. */
  readonly encryptionKey: IKey;
}

/** Options of `SingleSignOn.openId`. */
export interface OpenIdOptions {
  /**
   * The provider's name for itself, as its `/.well-known/openid-configuration` and its tokens have it: an https address on
   * port 443, such as `https://login.example.com/realms/staff`. Nodes fetch its keys every five minutes.
   */
  readonly issuer: string;

  /** What mail clients call themselves to the provider. */
  readonly clientId: string;

  /**
   * Whom tokens must be for: `aud`, or `client_id` in tokens that have no `aud`.
   * @default - `clientId`
   */
  readonly audience?: string;

  /**
   * Claim of the access token with the address of the mailbox. Choose one that people can't change themselves. With
   * `email`, a token whose `email_verified` is not true is refused.
   * @default 'email'
   */
  readonly mailboxClaim?: string;

  /**
   * A scope that tokens must have.
   * @default - any or none
   */
  readonly requiredScope?: string;

  /**
   * Longest time between `iat` and `exp` of a token, 1 minute to 1 day. Set the same at the provider: tokens that are good
   * for longer are refused, and one that was stolen is good until it expires.
   * @default Duration.minutes(15)
   */
  readonly tokenLifetimeMax?: Duration;

  /**
   * Scopes that mail clients ask for.
   * @default ['openid', 'email', 'offline_access']
   */
  readonly scopes?: string[];

  /**
   * Where mail clients send people to sign in, told to them by autoconfig.
   * @default - not told; clients know the provider or are set up by hand
   */
  readonly authorizationUrl?: string;

  /**
   * Where mail clients get tokens, told to them by autoconfig.
   * @default - not told
   */
  readonly tokenUrl?: string;
}

/**
 * Where people sign in with a second factor. Mail clients bring a token from there (OAUTHBEARER, XOAUTH2) instead of a
 * password, which nodes check themselves; docs/sign-in.md.
 */
export abstract class SingleSignOn {
  /**
   * Any provider that speaks OpenID Connect and issues access tokens as signed JWTs (RS256 to PS512, ES256 to ES512).
   *
   * @throws when the issuer is no https address on port 443, or a value can't stand in the nodes' configuration
   */
  public static openId(options: OpenIdOptions): SingleSignOn {
    return new OpenIdSignOn(options);
  }

  /**
   * A Cognito user pool, new or yours: second factor required (TOTP, passkeys), tokens of 15 minutes. 0.02 USD a month for
   * each person.
   *
   * @throws what `SignInPool` throws
   */
  public static cognito(options: CognitoOptions = {}): SingleSignOn {
    return new CognitoSignOn(options);
  }

  /** Creates what is needed below `scope`. */
  public abstract bind(scope: Construct, options: SingleSignOnBindOptions): ISingleSignOn;
}

class OpenIdSignOn extends SingleSignOn {
  private readonly configured: ISingleSignOn;

  constructor(options: OpenIdOptions) {
    super();
    this.configured = {
      issuer: options.issuer,
      clientId: options.clientId,
      authorizationUrl: options.authorizationUrl,
      tokenUrl: options.tokenUrl,
      scopes: options.scopes ?? ['openid', 'email', 'offline_access'],
      configuration: { environment: tokenEnvironment(options) },
    };
  }

  public bind(): ISingleSignOn {
    return this.configured;
  }
}

class CognitoSignOn extends SingleSignOn {
  constructor(private readonly options: CognitoOptions) {
    super();
  }

  public bind(scope: Construct, options: SingleSignOnBindOptions): ISingleSignOn {
    return new SignInPool(scope, 'Cognito', { ...this.options, ...options });
  }
}
