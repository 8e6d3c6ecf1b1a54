# shellcheck shell=bash
# What certificate sources share. Source it after ../lib.sh; `out` is the folder that the source was called with.

# shellcheck disable=SC2034 # the sources use it
readonly TLS=/etc/mail-platform/tls

# secret_json: the text of MAIL_CERTIFICATE_SECRET, which must be a JSON object.
secret_json() {
  local text
  text=$(secret_text "$MAIL_CERTIFICATE_SECRET") || exit
  jq --exit-status 'type == "object"' <<<"$text" >/dev/null 2>&1 || die "the secret $MAIL_CERTIFICATE_SECRET is no JSON object"
  printf '%s\n' "$text"
}

# secret_field JSON NAME: a text field of that object.
secret_field() {
  jq --exit-status --raw-output --arg name "$2" '.[$name] | strings' <<<"$1" || die "the secret $MAIL_CERTIFICATE_SECRET has no field $2"
}

# Days before its end at which a certificate is renewed: the alarm is at 30 (A5), and the timer runs twice a day.
# shellcheck disable=SC2034
readonly RENEW_DAYS=32

# due_for_renewal CHAIN: whether the certificate is missing, not for our name, or ends within RENEW_DAYS.
due_for_renewal() {
  [[ -e $1 ]] || return 0
  openssl x509 -in "$1" -noout -checkhost "$MAIL_HOSTNAME" | grep --quiet 'does match certificate' || return 0
  ! openssl x509 -in "$1" -noout -checkend $((RENEW_DAYS * 86400)) >/dev/null
}
