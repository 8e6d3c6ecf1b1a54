#!/bin/bash
# Makes this Debian 13 machine a mail node, from /etc/mail-platform/env and the files beside this script. User data runs
# it once; running it again applies what changed and leaves the rest alone. What must hold after a reboot is in
# systemd units. Every failure ends with one line that says what was expected of whom.
set -euo pipefail
. "$(dirname "$0")/libexec/lib.sh"
. "$(dirname "$0")/libexec/packages.sh"

readonly ENVIRONMENT=/etc/mail-platform/env
readonly STORE=/srv/mail-store
readonly OLD=/srv/mail-old
readonly QUEUE=/var/spool/postfix

# Files that differ from the last run, one path a line.
changed=''

main() {
  [[ $EUID == 0 ]] || die 'must run as root'
  [[ $PLATFORM_ROOT == /opt/mail-platform ]] || die "the bundle must be in /opt/mail-platform, is in $PLATFORM_ROOT"
  load_environment "$ENVIRONMENT"
  # Zip tools lose the modes.
  find "$PLATFORM_ROOT/libexec" -type f ! -name "*.sh" ! -name "*.awk" ! -name "*.py" -exec chmod 0755 {} +
  step 'packages' install_packages
  step 'configuration' configure
  step 'firewall' start_firewall
  step 'mail store' mount_store
  step 'queue' mount_queue
  step 'certificate, users, password of nodes' fetch_secrets_and_users
  step 'services' start_services
  log "node ready in $SECONDS s: $MAIL_SERVICES for $MAIL_DOMAINS"
}

step() {
  local started=$SECONDS
  "$2"
  log "$1: done ($((SECONDS - started)) s)"
}

has_changed() {
  grep --quiet --extended-regexp "$1" <<<"$changed"
}

# Ends the boot on a store whose mailboxes have another format.
claim_format() {
  "$PLATFORM_ROOT/libexec/claim-format" "$STORE" "$MAIL_MAILBOX_FORMAT" || exit
}

configure() {
  # Before Dovecot's files say otherwise.
  ! mountpoint --quiet "$STORE" || claim_format
  MAIL_INSTANCE_ID=$(instance_metadata instance-id) || die 'instance metadata (IMDSv2) does not answer; the instance id names the queue'
  # A store that somebody else mounted is used as it is.
  if mountpoint --quiet "$STORE" && [[ ! -e /etc/systemd/system/$(systemd-escape --path --suffix=mount "$STORE") ]]; then
    MAIL_STORE_MOUNT=
  fi
  if mountpoint --quiet "$OLD" && [[ ! -e /etc/systemd/system/$(systemd-escape --path --suffix=mount "$OLD") ]]; then
    MAIL_OLD_MOUNT=
  fi
  export MAIL_INSTANCE_ID MAIL_STORE_MOUNT MAIL_OLD_MOUNT

  changed=$("$PLATFORM_ROOT/libexec/render" "$ENVIRONMENT" /)
  [[ -z $changed ]] || log "changed: ${changed//$'\n'/ }"

  systemd-sysusers /etc/sysusers.d/mail-platform.conf
  [[ $(id -u vmail):$(id -g vmail) == 5000:5000 ]] || die "vmail must be 5000:5000 as on every node, is $(id -u vmail):$(id -g vmail)"
  [[ $(id -u mail-agent) == 5001 ]] || die "mail-agent must be user 5001, is $(id -u mail-agent)"
  pin_postfix

  if has_changed '^/etc/sysctl.d/'; then
    # A container may not set all of them.
    sysctl --quiet --load=/etc/sysctl.d/60-mail-platform.conf 2>/dev/null || log 'some kernel parameters are not for this machine to set'
  fi
  if has_changed '^/etc/systemd/journald.conf.d/'; then systemctl try-restart systemd-journald; fi
  if has_changed '^/etc/systemd/system/'; then systemctl daemon-reload; fi

  ! has_part signing || systemd-tmpfiles --create mail-signing.conf
  ! has_part restoring || systemd-tmpfiles --create mail-restoring.conf

  # NFSv4.1 needs no port mapper; certificates are renewed by mail-certificate.timer; sockets belong to Dovecot itself;
  # ClamAV, Valkey and postsrsd have units of ours.
  local unit unwanted=(rpcbind.socket rpcbind.service certbot.timer dovecot.socket)
  ! has_part filtering || unwanted+=(clamav-daemon.socket clamav-daemon.service clamav-freshclam-once.timer valkey-server.service)
  ! has_part rewriting || unwanted+=(postsrsd.service)
  for unit in "${unwanted[@]}"; do
    if [[ ! -L /etc/systemd/system/$unit ]]; then
      systemctl --quiet stop "$unit" 2>/dev/null || true
      systemctl --quiet mask "$unit"
    fi
  done
}

has_part() {
  [[ " $MAIL_PARTS " == *" $1 "* ]]
}

# Sessions run as vmail and could not store what they compile. Not with the settings of a Dovecot that runs already (-c).
compile_sieve() {
  local script
  for script in /etc/dovecot/sieve/*.sieve; do
    [[ ${script%.sieve}.svbin -nt $script ]] || sievec -c /etc/dovecot/dovecot.conf "$script" || die "can't compile $script"
  done
}

# An image that came with Postfix gave it other numbers. They can change as long as no queue is in use.
pin_postfix() {
  local before
  before=$(postfix_numbers)
  [[ $before != 5002:5002:5003 ]] || return 0
  ! mountpoint --quiet "$QUEUE" || die "Postfix must be 5002:5002 with postdrop 5003, is $before, and its queue is in use: replace the node"
  systemctl stop postfix.service
  groupmod --gid 5003 postdrop
  groupmod --gid 5002 postfix
  usermod --uid 5002 --gid 5002 postfix
  # What the package has of theirs: queue, state, and the two commands that are set-group-id, a bit that chgrp clears.
  find "$QUEUE" /var/lib/postfix -xdev -nouser -exec chown --no-dereference postfix {} +
  find "$QUEUE" /var/lib/postfix -xdev -group "${before##*:}" -exec chgrp --no-dereference postdrop {} +
  find "$QUEUE" /var/lib/postfix -xdev -nogroup -exec chgrp --no-dereference postfix {} +
  chgrp postdrop /usr/sbin/postdrop /usr/sbin/postqueue
  chmod 2755 /usr/sbin/postdrop /usr/sbin/postqueue
  [[ $(postfix_numbers) == 5002:5002:5003 ]] || die "Postfix must be 5002:5002 with postdrop 5003, is $(postfix_numbers)"
}

postfix_numbers() {
  printf '%s:%s:%s' "$(id -u postfix)" "$(id -g postfix)" "$(getent group postdrop | cut --delimiter=: --fields=3)"
}

start_firewall() {
  # What a block list left, when there is none any more.
  [[ -n ${MAIL_BLOCK_LISTS_OBJECT:-} ]] || rm --force /etc/nftables.d/mail-listed.nft
  nft --check --file /etc/nftables.conf || die '/etc/nftables.conf is not valid'
  nft --file /etc/nftables.conf
  enable_units nftables.service
}

# Enabled units are started again at boot; asking systemctl only for those that are not yet saves seconds.
enable_units() {
  local unit missing=()
  for unit in "$@"; do
    systemctl --quiet is-enabled "$unit" || missing+=("$unit")
  done
  ((${#missing[@]} == 0)) || systemctl --quiet enable "${missing[@]}"
}

mount_store() {
  local unit=mail-store-tls.service where=${MAIL_STORE_SERVER:-}
  if [[ $MAIL_STORE == ebs ]]; then
    unit=mail-volume.service where=$MAIL_STORE_VOLUME
  fi
  if ! mountpoint --quiet "$STORE"; then
    mkdir -p "$STORE"
    # Nothing is ever written beneath the mount point: not even root can while it is immutable.
    chmod 0555 "$STORE"
    chattr +i "$STORE" || log "can't make $STORE immutable; a write while it is unmounted would not be refused"
    retry 5 10 systemctl start "$(systemd-escape --path --suffix=mount "$STORE")" ||
      die "can't mount $where at $STORE; see journalctl -u $unit -u '$(systemd-escape --path --suffix=mount "$STORE")'. $(last_error "$unit")"
  fi
  if [[ $MAIL_STORE_MOUNT == managed ]]; then
    enable_units "$unit" "$(systemd-escape --path --suffix=mount "$STORE")"
  fi
  if [[ $MAIL_STORE == ebs ]]; then
    "$PLATFORM_ROOT/libexec/claim-volume" "$STORE" "$MAIL_STORE_NAME" "$MAIL_SHARDS" "${MAIL_OLD_SERVER:-}" || exit
    enable_units mail-volume-grow.timer
    systemctl start mail-volume-grow.timer
  fi
  claim_format
  if [[ -n $MAIL_OLD_MAIL ]]; then mount_old_mail; fi
  install --directory --owner=vmail --group=vmail --mode=0700 "$STORE/mail" || die "$STORE is not writable for root"
  install --directory --mode=0755 "$STORE/.health"
  install --directory --mode=0700 "$STORE/certificates"
  ! has_part filtering || install --directory --owner=vmail --group=vmail --mode=0700 "$STORE"/learn{,/spam,/ham,/greylist}
  ! has_part sharing || install --directory --owner=vmail --group=vmail --mode=0700 "$STORE/shared"
  install --directory --owner=mail-agent --group=mail-agent --mode=0700 "$STORE/.health/$MAIL_INSTANCE_ID"
}

# Old mail of a shard, beside its volume. Dovecot does not run without it (dovecot.service.d).
mount_old_mail() {
  local unit
  unit=$(systemd-escape --path --suffix=mount "$OLD")
  if ! mountpoint --quiet "$OLD"; then
    mkdir -p "$OLD"
    # As above; and Dovecot, which can't make a folder in it, knows then that mail is away and not lost.
    chmod 0555 "$OLD"
    chattr +i "$OLD" || log "can't make $OLD immutable"
    retry 5 10 systemctl start "$unit" || die "can't mount $MAIL_OLD_SERVER at $OLD; see journalctl -u mail-store-tls -u '$unit'"
  fi
  if [[ $MAIL_OLD_MOUNT == managed ]]; then enable_units mail-store-tls.service "$unit"; fi
  install --directory --owner=vmail --group=vmail --mode=0700 "$OLD/mail" || die "$OLD is not writable for root"
}

mount_queue() {
  local unit units=()
  if ! mountpoint --quiet "$QUEUE"; then
    # A Postfix that came up with the machine's image has its queue on this disk.
    systemctl stop postfix.service dovecot.service
  fi
  for unit in "$QUEUE" "$QUEUE"/{private,public,pid} /run/mail-platform; do
    units+=("$(systemd-escape --path --suffix=mount "$unit")")
  done
  "$PLATFORM_ROOT/libexec/make-queue"
  systemctl start "${units[@]}" || die "can't mount the queue at $QUEUE; see systemctl status '${units[0]}'"
  enable_units "${units[@]}"
  systemd-tmpfiles --create mail-platform.conf
}

# All ask AWS and wait for the answer: at the same time.
fetch_secrets_and_users() {
  local unit units=(mail-certificate.service mail-directory-sync.service mail-node-password.service)
  if ! retry 5 15 systemctl --quiet start "${units[@]}" 2>/dev/null; then
    for unit in "${units[@]}"; do
      ! systemctl --quiet is-failed "$unit" || log "error: $unit: $(last_error "$unit")"
    done
    die 'a node without certificate, users and password would refuse mail: not starting it'
  fi
  # Without them logins are put off, and mail comes in.
  [[ -z ${MAIL_CLIENT_REVOCATIONS_OBJECT:-} ]] || systemctl --quiet start mail-client-revocations.service ||
    log "error: mail-client-revocations.service: $(last_error mail-client-revocations.service)"
}

# What the unit's program said last.
last_error() {
  journalctl --unit "$1" --boot --output=cat --no-pager --lines=20 | grep --ignore-case --extended-regexp 'error|fatal' | tail --lines=1 || true
}

start_services() {
  local problem
  problem=$(doveconf -n 2>&1 >/dev/null) || die "Dovecot's configuration: ${problem//$'\n'/; }"
  problem=$(postconf -n 2>&1 >/dev/null) || die "Postfix's configuration: ${problem//$'\n'/; }"
  if has_part filtering || has_part inbound; then compile_sieve; fi

  local units=(mail-control.socket mail-quota.socket mail-sending.socket mail-logins.socket mail-ring.path dovecot.service postfix.service mail-directory-sync.timer
    mail-certificate.timer mail-maintenance.timer mail-clock.timer mail-erase.path mail-erase.timer mail-logins.service mail-agent.service)
  local optional=()
  [[ $MAIL_SESSION_MANAGER == no ]] || optional+=(mail-session-manager.service)
  [[ -z ${MAIL_JOURNAL_BUCKET:-} ]] || units+=(mail-journal.socket mail-journal.service)
  if has_part rewriting; then
    # Bounces of others and forwards wait without it.
    optional+=(mail-rewriting-secret.timer mail-rewriting.service)
  fi
  ! has_part inbound || units+=(mail-inbound.socket mail-inbound.service)
  ! has_part client-certificates || units+=(mail-client-certificates.socket)
  # Without the relay's password mail for others waits in the queue; mail inside does not.
  [[ -z ${MAIL_RELAY:-} ]] || optional+=(mail-relay-password.timer)
  # While the provider is away, its keys of before go on.
  [[ -z ${MAIL_TOKEN_ISSUER:-} ]] || optional+=(mail-token-keys.timer)
  # Without the password nobody gets mail back for others; users don't need it.
  ! has_part restoring || optional+=(mail-restore-password.timer)
  # While S3 is away, the lists of before go on.
  [[ -z ${MAIL_BLOCK_LISTS_OBJECT:-} ]] || optional+=(mail-block-lists.timer)
  # While S3 is away, the lists of before go on until they end.
  [[ -z ${MAIL_CLIENT_REVOCATIONS_OBJECT:-} ]] || optional+=(mail-client-revocations.timer)
  choose_filter_units
  enable_units "${units[@]}" "${optional[@]}"
  if has_changed '^/etc/systemd/system/dovecot.service.d/'; then
    # What its processes may write to is decided when it starts.
    systemctl try-restart dovecot.service
  elif has_changed '^/etc/dovecot/' && systemctl --quiet is-active dovecot.service; then
    systemctl reload dovecot.service
  fi
  ! has_changed '/mail-logins\.service$' || systemctl try-restart mail-logins.service
  ! has_changed '/mail-sending\.service$' || systemctl try-restart mail-sending.service
  has_changed '^/etc/postfix/' && systemctl --quiet is-active postfix.service && systemctl reload postfix.service
  ((${#optional[@]} == 0)) || systemctl --no-block start "${optional[@]}"
  systemctl start "${units[@]}" || die 'a service does not start; see systemctl --failed'
}

# Adds what signs and filters mail to `units` and `optional`, and stops what is not wanted any more.
choose_filter_units() {
  local all=(rspamd.service mail-dkim-key.timer mail-statistics.service mail-virus-scan.service clamav-freshclam.service mail-learn.timer)
  local wanted=() unit
  ! has_part signing || wanted+=(rspamd.service)
  [[ -z ${MAIL_DKIM_SECRET:-} ]] || wanted+=(mail-dkim-key.timer)
  ! has_part filtering || wanted+=(mail-statistics.service mail-learn.timer)
  [[ $MAIL_VIRUS_SCAN_ENABLED == false ]] || wanted+=(mail-virus-scan.service clamav-freshclam.service)
  if has_changed '^/etc/rspamd/'; then
    for unit in "${all[@]}"; do
      [[ " ${wanted[*]} " != *" $unit "* ]] || continue
      systemctl --quiet stop "$unit" 2>/dev/null || true
      systemctl --quiet disable "$unit" 2>/dev/null || true
      systemctl --quiet reset-failed "$unit" 2>/dev/null || true
    done
    ! systemctl --quiet is-active rspamd.service || systemctl restart rspamd.service
  fi
  # Without signatures the scanner does not start, and they come from elsewhere: no reason not to serve.
  optional+=("${wanted[@]}")
}

main "$@"
