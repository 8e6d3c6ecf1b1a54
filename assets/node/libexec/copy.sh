# shellcheck shell=bash
# What scripts for a copy of the mail store share: a Dovecot of its own that serves it, on this machine only. The copy's indexes
# may change. Source it after lib.sh, and load the environment before.

readonly STORE=/srv/mail-store
readonly ERASED=/etc/dovecot/erased

# serve_copy FOLDER: starts it, and ends it with the script. Sets COPY, COPY_RUN (a folder of this run), COPY_PORT, and COPY_PASSWORD,
# which opens every mailbox.
serve_copy() {
  COPY=$(realpath --canonicalize-existing "$1") || die "there is no folder $1"
  [[ $COPY/ != "$STORE"/* && ! $COPY -ef $STORE ]] || die "$COPY is the store itself; its mailboxes are opened by their homes only"
  [[ -d $COPY/mail ]] || die "$COPY has no folder mail; a restored file system has it at its top, or below aws-backup-restore_…"
  "$PLATFORM_ROOT/libexec/claim-format" "$COPY" "$MAIL_MAILBOX_FORMAT" || exit

  COPY_RUN=$(mktemp --directory /run/mail-copy.XXXXXX)
  chmod 0755 "$COPY_RUN"
  COPY_PORT=10143
  COPY_PASSWORD=$(openssl rand -hex 24)
  export COPY COPY_RUN COPY_PORT COPY_PASSWORD
  trap stop_copy EXIT
  (
    umask 0077
    # shellcheck disable=SC2016 # names for envsubst
    envsubst '${COPY} ${COPY_RUN} ${COPY_PORT} ${COPY_PASSWORD} ${MAIL_MAILBOX_FORMAT}' \
      <"$PLATFORM_ROOT/copy/dovecot.conf" >"$COPY_RUN/dovecot.conf"
  )
  dovecot -c "$COPY_RUN/dovecot.conf" || die "Dovecot does not start: $(tail --lines=3 "$COPY_RUN/log" 2>/dev/null)"
}

# copy_users: addresses of the copy's mailboxes, but of people whose mail was erased: a backup may still have it (docs/erasure.md).
copy_users() {
  local user subject
  while IFS= read -r user; do
    if [[ -s $ERASED ]]; then
      subject=$(printf %s "$user" | sha256sum)
      ! grep --quiet "^#erased ${subject%% *} " "$ERASED" || continue
    fi
    printf '%s\n' "$user"
  done < <(find "$COPY/mail" -mindepth 2 -maxdepth 2 -type d -printf '%f@%P\n' | sed 's|@\([^/]*\)/.*|@\1|')
}

stop_copy() {
  doveadm -c "$COPY_RUN/dovecot.conf" stop 2>/dev/null || true
  rm -rf "$COPY_RUN"
}
