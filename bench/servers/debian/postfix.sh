# shellcheck shell=bash
# Debian's main.cf and master.cf; added are our domain, TLS, and the way to Dovecot.
postconf -e \
  'myhostname = mail.example.com' \
  'mydestination =' \
  'virtual_mailbox_domains = example.com' \
  'virtual_mailbox_maps = texthash:/etc/postfix/mailboxes' \
  'virtual_transport = lmtp:unix:private/dovecot-lmtp' \
  'smtpd_tls_key_file =' 'smtpd_tls_cert_file =' \
  'smtpd_tls_chain_files = /etc/ssl/private/server.pem'
