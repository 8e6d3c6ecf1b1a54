"""Dovecot's programs that open mailboxes, as /proc/PID/comm has their names."""

OPENERS = {'imap', 'pop3', 'managesieve', 'lmtp', 'indexer-worker', 'doveadm-server', 'doveadm'}
