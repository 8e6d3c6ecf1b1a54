import { MailService } from '../../lib/access/mail-service';

/** sysexits.h EX_CONFIG: the unit names it in `RestartPreventExitStatus`, because a restart can't mend the file. */
export const EXIT_CONFIGURATION = 78;

/** What the agent takes from its environment (`/etc/mail-platform/env` on a node). */
export interface Configuration {
  /** Name of the cluster: the dimension of every metric. */
  readonly cluster: string;
  /** AWS region. */
  readonly region: string;
  /** Services that this node offers; never empty. */
  readonly services: MailService[];
  /** Client connections that the node is sized for. */
  readonly connectionsMax: number;
  /** Name of the Auto Scaling group's terminating lifecycle hook. */
  readonly drainHook: string;
  /** Name of the DynamoDB table with the nodes' leases. */
  readonly leaseTable: string;
  /** How long a drain may wait for connections and queue, in seconds. */
  readonly drainSeconds: number;
  /** Shard whose volume this node has. @default - all nodes share one store */
  readonly shard?: string;
  /** All shards of the store. @default - all nodes share one store */
  readonly shards?: string[];
  /** Whether nodes filter mail, and look for viruses too. @default - they don't */
  readonly filter?: { readonly virusScan: boolean };
  /** Whether nodes refuse who is on a block list. */
  readonly blockLists: boolean;
  /** Whether mail clients need certificates. */
  readonly clientCertificates: boolean;
  /** Whether nodes look at revocation lists of these. */
  readonly clientRevocations: boolean;
  /** Whether there is an identity provider, whose keys nodes fetch. */
  readonly tokens: boolean;
}

/** The environment lacks a key or holds a value that can't be used; the message names every such key. */
export class ConfigurationError extends Error {}

/**
 * Reads the agent's configuration.
 *
 * @throws ConfigurationError that lists all keys that are missing or wrong, not only the first.
 */
export const readConfiguration = (environment: NodeJS.ProcessEnv): Configuration => {
  const problems: string[] = [];

  const text = (...keys: string[]): string => {
    const found = keys.map((key) => environment[key]?.trim()).find((value) => value);
    if (!found) problems.push(`${keys.join(' or ')} is missing`);
    return found ?? '';
  };

  const whole = (key: string, least: number): number => {
    const value = text(key);
    if (value && (!/^\d+$/.test(value) || Number(value) < least)) {
      problems.push(`${key} must be a whole number >= ${least}, got ${JSON.stringify(value)}`);
    }
    return Number(value);
  };

  const services = (key: string): MailService[] =>
    text(key)
      .split(/\s+/)
      .filter((name) => name)
      .flatMap((name) => {
        try {
          return [MailService.fromName(name)];
        } catch (error) {
          problems.push(`${key}: ${(error as Error).message}`);
          return [];
        }
      });

  const configuration: Configuration = {
    cluster: text('MAIL_CLUSTER'),
    region: text('AWS_REGION', 'AWS_DEFAULT_REGION'),
    services: services('MAIL_SERVICES'),
    connectionsMax: whole('MAIL_CONNECTIONS_MAX', 1),
    leaseTable: text('MAIL_LEASE_TABLE'),
    drainHook: text('MAIL_DRAIN_HOOK'),
    drainSeconds: whole('MAIL_DRAIN_SECONDS', 0),
    ...(environment.MAIL_STORE === 'ebs' && { shard: text('MAIL_SHARD'), shards: text('MAIL_SHARDS').split(/\s+/) }),
    blockLists: Boolean(environment.MAIL_BLOCK_LISTS_OBJECT),
    clientCertificates: Boolean(environment.MAIL_CLIENT_CA),
    clientRevocations: Boolean(environment.MAIL_CLIENT_REVOCATIONS_OBJECT),
    tokens: Boolean(environment.MAIL_TOKEN_ISSUER),
    ...(environment.MAIL_FILTERING === 'yes' && { filter: { virusScan: environment.MAIL_VIRUS_SCAN === 'yes' } }),
  };
  if (problems.length > 0) throw new ConfigurationError(problems.join('; '));
  return configuration;
};
