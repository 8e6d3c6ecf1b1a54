# shellcheck shell=bash
# What certificate sources share. Source it after ../lib.sh; `out` is the folder that the source was called with.

readonly TLS=/etc/mail-platform/tls

# secret_json: the text of MAIL_CERTIFICATE_SECRET, which must be a JSON object.
secret_json() {
  local text
  # shellcheck disable=SC2154 # out is the caller's
  text=$(aws secretsmanager get-secret-value --secret-id "$MAIL_CERTIFICATE_SECRET" --query SecretString --output text \
    2>"$out/problem") || die "can't read the secret $MAIL_CERTIFICATE_SECRET: $(paste --serial --delimiters=' ' "$out/problem")"
  jq --exit-status 'type == "object"' <<<"$text" >/dev/null 2>&1 || die "the secret $MAIL_CERTIFICATE_SECRET is no JSON object"
  printf '%s\n' "$text"
}

# secret_field JSON NAME: a text field of that object.
secret_field() {
  jq --exit-status --raw-output --arg name "$2" '.[$name] | strings' <<<"$1" || die "the secret $MAIL_CERTIFICATE_SECRET has no field $2"
}

# renewable_soon DAYS: whether the installed certificate is missing, not for our name, or ends within so many days.
renewable_soon() {
  [[ -e $TLS/fullchain.pem ]] || return 0
  openssl x509 -in "$TLS/fullchain.pem" -noout -checkhost "$MAIL_HOSTNAME" | grep --quiet 'does match certificate' || return 0
  ! openssl x509 -in "$TLS/fullchain.pem" -noout -checkend $(($1 * 86400)) >/dev/null
}
