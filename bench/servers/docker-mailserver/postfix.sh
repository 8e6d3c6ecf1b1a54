# shellcheck shell=bash disable=SC2016 # the dollar is Postfix's
# What docker-mailserver sets (target/postfix in its repository, August 2026), without amavis, rspamd and milters, without the
# name server lists and the greet pause of postscreen: nothing answers here, and known clients pass it anyway.
postconf -e \
  'myhostname = mail.example.com' \
  'smtpd_banner = $myhostname ESMTP' \
  'smtputf8_enable = no' \
  'mydestination = $myhostname, localhost.$mydomain, localhost' \
  'mynetworks = 127.0.0.0/8 [::1]/128 [fe80::]/64' \
  'virtual_mailbox_domains = example.com' \
  'virtual_mailbox_maps = texthash:/etc/postfix/mailboxes' \
  'virtual_alias_maps =' \
  'virtual_transport = lmtp:unix:/var/run/dovecot/lmtp' \
  'recipient_delimiter = +' \
  'smtpd_tls_key_file =' 'smtpd_tls_cert_file =' \
  'smtpd_tls_chain_files = /etc/ssl/private/server.pem' \
  'smtpd_tls_loglevel = 1' \
  'tls_ssl_options = NO_COMPRESSION, NO_RENEGOTIATION' \
  'tls_preempt_cipherlist = yes' \
  'smtpd_helo_required = yes' \
  'smtpd_helo_restrictions = permit_mynetworks, reject_invalid_helo_hostname, permit' \
  'smtpd_sender_restrictions = permit_sasl_authenticated, permit_mynetworks, reject_unknown_sender_domain' \
  'smtpd_recipient_restrictions = permit_sasl_authenticated, permit_mynetworks, reject_unauth_destination, check_policy_service inet:localhost:65265, reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname, reject_unknown_recipient_domain' \
  'smtpd_data_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_pipelining' \
  'disable_vrfy_command = yes' \
  'smtpd_forbid_bare_newline = yes'
# Its master.cf runs nothing in a chroot.
for service in smtp/inet pickup/unix cleanup/unix tlsmgr/unix rewrite/unix bounce/unix defer/unix trace/unix verify/unix \
  flush/unix smtp/unix relay/unix showq/unix error/unix retry/unix discard/unix lmtp/unix anvil/unix scache/unix; do
  postconf -F "$service/chroot = n"
done
