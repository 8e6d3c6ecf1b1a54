/** How a mailbox lies on the store (docs/adr/0008-mailbox-format.md). */
export enum MailboxFormat {
  /** A file for each message, which any tool can read and from which all but the newest flags can be rebuilt. */
  MAILDIR = 'maildir',

  /** Dovecot's own: a file for each message, flags in its index alone. Fewer operations on the store. */
  SDBOX = 'sdbox',
}
