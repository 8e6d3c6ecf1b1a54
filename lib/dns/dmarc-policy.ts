/** What other mail servers shall do with mail that claims to be from the domain and is not (RFC 7489, 6.3). */
export enum DmarcPolicy {
  /** Deliver it and report: the first stage of a domain that has sent mail by other ways before. */
  NONE = 'none',
  /** Deliver it to Junk: the second stage. */
  QUARANTINE = 'quarantine',
  /** Refuse it. */
  REJECT = 'reject',
}
