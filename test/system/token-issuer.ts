import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';

/** A key of the issuer. */
export interface IssuerKey {
  readonly id: string;
  readonly algorithm: 'RS256' | 'ES256';
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export function makeKey(id: string, algorithm: IssuerKey['algorithm'] = 'RS256'): IssuerKey {
  const pair =
    algorithm === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { id, algorithm, ...pair };
}

/** Any object as a JSON Web Token has it. */
const part = (content: object) => Buffer.from(JSON.stringify(content)).toString('base64url');

/** A token signed by the key, whatever its header says. */
export function signToken(claims: object, key: IssuerKey, header: object = {}): string {
  const signed = `${part({ typ: 'JWT', alg: key.algorithm, kid: key.id, ...header })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

/** A token without a signature (RFC 7519, 6). */
export function unsignedToken(claims: object, key: IssuerKey): string {
  return `${part({ alg: 'none', kid: key.id })}.${part(claims)}.`;
}

/** A token whose secret is the issuer's public key, which everybody has. */
export function confusedToken(claims: object, key: IssuerKey, secret: string): string {
  const signed = `${part({ alg: 'HS256', kid: key.id })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** What of an identity provider the nodes see: its configuration and its keys, over HTTPS. */
export class TokenIssuer {
  /** Keys that it publishes. */
  public keys: IssuerKey[] = [];
  /** What it answers instead of its keys. */
  public instead?: string;
  private server?: Server;

  /** @param pem file with its certificate and private key */
  constructor(
    public readonly url: string,
    private readonly pem: string,
  ) {}

  public async start(address: string): Promise<void> {
    const pem = readFileSync(this.pem);
    const server = createServer({ key: pem, cert: pem }, (request, response) => {
      response.setHeader('content-type', 'application/json');
      if (request.url === '/.well-known/openid-configuration') {
        response.end(JSON.stringify({ issuer: this.url, jwks_uri: `${this.url}/keys` }));
      } else {
        response.end(this.instead ?? JSON.stringify({ keys: this.keys.map(publicJwk) }));
      }
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(443, address, resolve);
    });
    this.server = server;
  }

  public async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((resolve) => (this.server ? this.server.close(resolve) : resolve(undefined)));
    this.server = undefined;
  }
}

function publicJwk({ id, algorithm, publicKey }: IssuerKey): object {
  return { ...publicKey.export({ format: 'jwk' }), kid: id, alg: algorithm, use: 'sig' };
}
