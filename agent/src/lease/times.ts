/**
 * The times of a lease, in milliseconds of each machine's own time since boot. No time of one machine is ever compared
 * with another's: the owner counts from when it sent a renewal, the others from when they first saw it.
 */
export const TIMES = {
  /** Between renewals. */
  renew: 1_000,
  /** Between reads of the table. */
  read: 500,
  /** The same while something is about to change. */
  eagerRead: 100,
  /** The owner stops when its last successful renewal was sent longer ago. */
  hold: 3_000,
  /** The kernel cuts the store when the last successful renewal was sent longer ago, whatever the agent does. */
  cut: 4_000,
  /** Others take over when a node's counter has not changed for longer. */
  takeOver: 5_000,
  /** Others look more often when a node has not renewed its lease for longer. */
  uneasy: 2_500,
  /** Sessions of users who move go on for this long, while another node is not ready to end its own. */
  together: 7_000,
  /** A node that can't end the sessions of users who moved stops after this. */
  apply: 15_000,
  /** Dovecot may be down for this long, restarts included, before the node leaves the ring. */
  unable: 4_000,
  /** Once it has left, Dovecot must be up for this long. */
  ableAgain: 5_000,
  /** Other nodes leave the adoption of a queue to the one whose turn it is for this long. */
  adoptionTurn: 10_000,
  /** After a failure that would come again at once. */
  retry: 2_000,
} as const;
