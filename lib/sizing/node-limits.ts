import { Machine } from '../node/sizing';

/**
 * Memory of an IMAP session with its share of a login process, MiB: of one at work in a mailbox of 20 000 messages. One asleep in IDLE
 * takes 0.1 (docs/bench-node.md).
 */
export const SESSION_MEMORY = 3;

/** What a node allows its clients and daemons, as `assets/node/` sets it. */
export interface NodeLimits {
  /** Sessions of one user from one address, for each protocol. */
  readonly sessionsPerUserAndAddress: number;
  /** SMTP connections from one address. */
  readonly smtpConnectionsPerAddress: number;
  /** IMAP processes, and as many POP3 and ManageSieve processes where these are offered. */
  readonly sessionProcesses: number;
  /** Login processes for each protocol. */
  readonly loginProcesses: number;
  /** Connections of one login process. */
  readonly loginClients: number;
  /** Address space that one login process may take, MiB. */
  readonly loginMemory: number;
  /** SMTP connections that the firewall lets in: so many on 25, and as many on 465 and 587 together. */
  readonly smtpConnections: number;
  /** `smtpd` processes for each port. */
  readonly smtpdProcesses: number;
  /** Connections that the authentication service takes. */
  readonly authClients: number;
  /** Memory that sessions take when all connections are in use, share of the machine's (0 to 1). */
  readonly memoryShare: number;
}

/**
 * The limits of a node. `derive_environment` in `assets/node/libexec/lib.sh` computes them on the node; a test compares
 * the two.
 */
export function nodeLimits(connectionsPerNode: number, machine: Machine): NodeLimits {
  const loginProcesses = Math.max(2, machine.vcpus);
  const loginClients = Math.floor((connectionsPerNode * 2) / loginProcesses) + 100;
  const smtpConnections = Math.max(100, Math.floor(connectionsPerNode / 10));
  const smtpdProcesses = Math.floor((smtpConnections * 5) / 4);
  return {
    sessionsPerUserAndAddress: 20,
    smtpConnectionsPerAddress: 50,
    sessionProcesses: connectionsPerNode,
    loginProcesses,
    loginClients,
    loginMemory: Math.floor(loginClients / 4) + 256,
    smtpConnections,
    smtpdProcesses,
    authClients: connectionsPerNode * 4 + smtpdProcesses * 4 + 1000,
    memoryShare: (connectionsPerNode * SESSION_MEMORY) / (machine.memory * 1024),
  };
}
