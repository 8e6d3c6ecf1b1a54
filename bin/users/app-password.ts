import { randomInt } from 'node:crypto';
import { scramVerifier } from './password';

/** What an app password may be good for: names that Dovecot and Postfix have for the protocols. */
export const PROTOCOLS = ['imap', 'pop3', 'smtp', 'sieve'] as const;

/** Letters that are not mistaken for others; the nodes' `app-password.lua` knows them for ids. */
const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567';

/** A password for one device or program, as the users file keeps it. */
export interface AppPassword {
  /** First four characters of the password; tells which verifier to compute. */
  readonly id: string;
  /** What its user calls it. */
  readonly name: string;
  readonly protocols: string[];
  /** `{SCRAM-SHA-256}iterations,salt,storedKey,serverKey` */
  readonly verifier: string;
}

/**
 * A new app password: five groups of four characters, the first of which is its id. The rest are 80 random bits.
 *
 * @param taken ids that the user has already
 * @throws when name or protocols are bad
 */
export function makeAppPassword(
  name: string,
  protocols: string[],
  taken: string[],
): { readonly entry: AppPassword; readonly password: string } {
  checkName(name);
  checkProtocols(protocols);
  let id: string;
  do id = group();
  while (taken.includes(id));
  const password = [id, group(), group(), group(), group()].join('-');
  return { entry: { id, name, protocols: [...new Set(protocols)], verifier: scramVerifier(password) }, password };
}

/** @throws when there is none, or an unknown one */
export function checkProtocols(protocols: string[]): void {
  if (protocols.length === 0) {
    throw new Error(`--protocols must name some of ${PROTOCOLS.join(', ')}, got none`);
  }
  for (const protocol of protocols) {
    if (!(PROTOCOLS as readonly string[]).includes(protocol)) {
      throw new Error(`--protocols must be of ${PROTOCOLS.join(', ')}, got ${JSON.stringify(protocol)}`);
    }
  }
}

/** @throws on a name that is not 1 to 40 letters, digits, `.`, `_` and `-` */
export function checkName(name: string): void {
  if (!/^[A-Za-z0-9._-]{1,40}$/.test(name)) {
    throw new Error(
      `name of an app password must be 1 to 40 letters, digits, ".", "_" and "-", got ${JSON.stringify(name)}`,
    );
  }
}

const SCHEME = '{SCRAM-SHA-256}';

/** The field of a user's line. */
export function renderAppPassword({ id, name, protocols, verifier }: AppPassword): string {
  return `app_password=${[id, name, protocols.join('+'), verifier.slice(SCHEME.length)].join(',')}`;
}

/** Reads such a field; undefined for any other. */
export function parseAppPassword(field: string): AppPassword | undefined {
  const [, id, name, protocols, verifier] = /^app_password=([^,]*),([^,]*),([^,]*),(.*)$/.exec(field) ?? [];
  return id === undefined ? undefined : { id, name, protocols: protocols.split('+'), verifier: `${SCHEME}${verifier}` };
}

function group(): string {
  return Array.from({ length: 4 }, () => LETTERS[randomInt(LETTERS.length)]).join('');
}
