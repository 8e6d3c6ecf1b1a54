#!/bin/bash
# Makes a Debian machine a mail server with as little of ours as can be, for comparison. Runs on the machine, once; the
# folder of this file is its disk: setup.sh, dovecot.conf, postfix.sh, users, addresses, server.pem.
set -euo pipefail
readonly disk=/srv/mail-store

groupadd --system --gid 5000 vmail
useradd --system --uid 5000 --gid 5000 --no-create-home vmail
install --directory --owner=vmail --group=vmail --mode=0700 "$disk/mail"

# Queue and mail are on the same disk as those of the nodes.
mv /var/spool/postfix "$disk/queue"
mkdir /var/spool/postfix
mount --bind "$disk/queue" /var/spool/postfix

install --mode=0644 "$disk/users" /etc/dovecot/users
install --mode=0600 "$disk/server.pem" /etc/ssl/private/server.pem
sed 's/$/ mailbox/' "$disk/addresses" >/etc/postfix/mailboxes

# shellcheck source=/dev/null
. "$disk/postfix.sh"
cp "$disk/dovecot.conf" /etc/dovecot/local.conf
# Users are in a file, not in the system.
sed -i 's/^!include auth-system/#&/' /etc/dovecot/conf.d/10-auth.conf
doveconf -n >/dev/null
systemctl restart dovecot postfix
