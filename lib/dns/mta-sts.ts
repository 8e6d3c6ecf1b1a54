import { createHash } from 'node:crypto';

/** What other mail servers shall do when they can't reach a mail exchanger with good TLS (RFC 8461, 5). */
export enum MtaStsMode {
  /** Deliver and report: the first stage, where the mail exchanger's certificate is not known to be good. */
  TESTING = 'testing',
  /** Do not deliver. */
  ENFORCE = 'enforce',
  /** Forget the policy: the way out, for a week, before it is taken away. */
  NONE = 'none',
}

/** Seconds for which other servers keep the policy; at least weeks, says RFC 8461, 3.2. */
const MAX_AGE = 14 * 24 * 3600;

/**
 * The policy file, as `/.well-known/mta-sts.txt` serves it.
 *
 * @param hosts names of the mail exchangers
 */
export function mtaStsPolicy(mode: string, hosts: string[]): string {
  const lines = ['version: STSv1', `mode: ${mode}`, ...hosts.map((host) => `mx: ${host}`), `max_age: ${MAX_AGE}`];
  return `${lines.join('\r\n')}\r\n`;
}

/** The text of the `_mta-sts` record: its id is another one for each other policy. */
export function mtaStsText(policy: string): string {
  const id = createHash('sha256').update(policy).digest('hex').slice(0, 32);
  return `v=STSv1; id=${id};`;
}
