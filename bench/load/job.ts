import type { ClientView, LocalUser } from '../../local/mail-clients';

/**
 * What is done again and again:
 * - `logins`: TLS 1.3 handshake, LOGIN, LOGOUT;
 * - `fetches`: FETCH of a whole message, in sessions that stay;
 * - `deliveries`: a message by SMTP, counted when it is in the mailbox; 10 to a connection;
 * - `sessions`: login, SELECT, APPEND, FETCH, two STOREs, LOGOUT.
 */
export type JobKind = 'logins' | 'fetches' | 'deliveries' | 'sessions';

/** How clients log in: the command LOGIN, which Dovecot takes as PLAIN, or SCRAM-SHA-256. */
export type Mechanism = 'plain' | 'scram';

export const JOB_KINDS: readonly JobKind[] = ['logins', 'fetches', 'deliveries', 'sessions'];

/** Load for one server. */
export interface Job {
  readonly kind: JobKind;
  readonly endpoint: ClientView;
  readonly accounts: LocalUser[];
  /** @default 'plain' */
  readonly mechanism?: Mechanism;
  /** Clients at a time. */
  readonly clients: number;
  /** Seconds after which nothing new is begun. */
  readonly seconds: number;
}

/** What a job came to. */
export interface Outcome {
  /** Finished operations. */
  readonly operations: number;
  /** From the beginning to the end of the last operation. */
  readonly seconds: number;
  /** Processor time of the clients, seconds. */
  readonly clientCpu: number;
  /** What failed, the first few. */
  readonly errors: string[];
}
