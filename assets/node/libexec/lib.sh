# shellcheck shell=bash
# What the node's scripts share. Source it; it runs nothing.

# The folder that holds bootstrap.sh.
PLATFORM_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The AWS command gives up on the metadata service after one second and one try.
export AWS_METADATA_SERVICE_NUM_ATTEMPTS=5

# log TEXT: one line to standard error, and to the journal when standard error is not already there.
log() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  # JOURNAL_STREAM is inherited by what cloud-init pipes elsewhere, so compare (systemd.exec(5)).
  if [[ -S /run/systemd/journal/socket && ${JOURNAL_STREAM:-} != "$(stat --dereference --format=%d:%i /dev/stderr 2>/dev/null)" ]]; then
    logger --tag "mail-${0##*/}" -- "$*" || true
  fi
}

# die TEXT: says why, in one line, and ends.
die() {
  log "error: $*"
  exit 1
}

# secret_text ID: the text of a secret in Secrets Manager.
secret_text() {
  local problem
  { problem=$(aws secretsmanager get-secret-value --secret-id "$1" --query SecretString --output text 2>&1 >&3); } 3>&1 ||
    die "can't read the secret $1: $(paste --serial --delimiters=' ' <<<"$problem")"
}

# secret_password ID: the password of a secret {"password": …}, which a machine made.
secret_password() {
  local text password
  text=$(secret_text "$1")
  password=$(jq --exit-status --raw-output '.password | strings' <<<"$text" 2>/dev/null) ||
    die "the secret $1 has no text field password"
  [[ $password =~ ^[!-~]{32,}$ ]] || die "the password in $1 must be 32 or more printable characters without a space"
  printf '%s\n' "$password"
}

# salted_hash: salted SHA-512 of standard input as Dovecot has it, base64 of digest and salt.
salted_hash() {
  python3 -c 'import base64, hashlib, os, sys
salt = os.urandom(16)
print(base64.b64encode(hashlib.sha512(sys.stdin.buffer.read() + salt).digest() + salt).decode())'
}

# give_dovecot FILE: replaces it with standard input, for root and Dovecot to read.
give_dovecot() {
  install --mode=0640 --group=dovecot /dev/stdin "$1.new"
  mv "$1.new" "$1"
}

# retry TIMES SECONDS COMMAND...: runs the command until it succeeds, that many times, with a pause between.
retry() {
  local times=$1 pause=$2 attempt
  shift 2
  for ((attempt = 1; attempt <= times; attempt++)); do
    "$@" && return 0
    ((attempt == times)) || sleep "$pause"
  done
  return 1
}

# load_environment FILE: reads KEY=value lines into exported variables, checks each, and derives what templates need.
# Ends with one line for each key that is missing or wrong.
load_environment() {
  local file=$1
  [[ -r $file ]] || die "$file is missing; user data writes it"
  set -a
  # shellcheck source=/dev/null
  . "$file"
  set +a

  local problems=()
  local host='[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+'
  check_key MAIL_CLUSTER '[A-Za-z0-9-]+'
  check_key AWS_REGION '[a-z0-9-]+'
  check_key MAIL_DOMAINS "$host( $host)*"
  check_key MAIL_HOSTNAME "$host"
  check_key MAIL_SERVICES '[a-z0-9]+( [a-z0-9]+)*'
  check_key MAIL_NODE_NETWORK '[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+/[0-9]+'
  check_key MAIL_CONNECTIONS_MAX '[1-9][0-9]*'
  local limit
  for limit in NEW_PER_MINUTE NEW_BURST SESSIONS_PER_SOURCE SESSIONS_PER_USER HALF_OPEN_PER_MINUTE LOCKOUT_FAILURES LOCKOUT_SECONDS; do
    check_optional_key "MAIL_$limit" '[1-9][0-9]*'
  done
  check_optional_key MAIL_SEND_PER_USER '[1-9][0-9]*'
  check_optional_key MAIL_SEND_PER_DOMAIN '[1-9][0-9]*'
  check_optional_key MAIL_SEND_EXEMPT "[a-z0-9._-]+@$host( [a-z0-9._-]+@$host)*"
  local range='[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+/[0-9]+'
  check_optional_key MAIL_LIMITS_EXEMPT "$range( $range)*"
  if [[ -n ${MAIL_BLOCK_LISTS_OBJECT:-} ]]; then
    check_key MAIL_BLOCK_LISTS_OBJECT 's3://[a-z0-9.-]+/.+'
    check_key MAIL_BLOCK_LISTS_KEY '[A-Za-z0-9+/=]+'
    check_key MAIL_BLOCK_LISTS_SERVICES '[a-z0-9]+( [a-z0-9]+)*'
    check_optional_key MAIL_BLOCK_LISTS_PROTECTED "$range( $range)*"
  fi
  check_key MAIL_MESSAGE_SIZE_MAX '[1-9][0-9]*'
  check_key MAIL_QUOTA '[1-9][0-9]*[KMGT]'
  check_key MAIL_SESSION_MANAGER 'yes|no'
  check_key MAIL_STORE 'efs|ebs'
  case ${MAIL_STORE:-} in
    efs) check_key MAIL_STORE_SERVER '[A-Za-z0-9.-]+' ;;
    ebs)
      check_key MAIL_STORE_NAME '[A-Za-z0-9-]+'
      check_key MAIL_STORE_VOLUME 'vol-[0-9a-f]+'
      check_key MAIL_SHARD 'shard-[0-9]+'
      check_key MAIL_SHARDS 'shard-[0-9]+( shard-[0-9]+)*'
      if [[ -n ${MAIL_OLD_DAYS:-} ]]; then
        check_key MAIL_OLD_DAYS '[1-9][0-9]*'
        check_key MAIL_OLD_SERVER '[A-Za-z0-9.-]+'
        # Maildir has no second place for mail.
        check_key MAIL_MAILBOX_FORMAT 'sdbox'
      fi
      [[ " ${MAIL_SHARDS:-} " == *" ${MAIL_SHARD:-} "* ]] || problems+=("MAIL_SHARDS is '${MAIL_SHARDS:-}', expected to have MAIL_SHARD")
      ;;
  esac
  [[ -z ${MAIL_MAILBOX_FORMAT:-} ]] || check_key MAIL_MAILBOX_FORMAT 'maildir|sdbox'
  check_key MAIL_DIRECTORY 'file|sql'
  case ${MAIL_DIRECTORY:-} in
    file) check_key MAIL_DIRECTORY_OBJECT 's3://[a-z0-9.-]+/.+' ;;
    sql)
      check_key MAIL_DIRECTORY_HOST "$host"
      check_key MAIL_DIRECTORY_PORT '[1-9][0-9]*'
      check_key MAIL_DIRECTORY_DATABASE '[a-z0-9_]+'
      check_key MAIL_DIRECTORY_STALE_AFTER '[1-9][0-9]*'
      ;;
  esac
  check_key MAIL_LEASE_TABLE '[A-Za-z0-9_.-]+'
  check_key MAIL_PROXY_SECRET '.+'
  [[ -z ${MAIL_MAINTENANCE:-} ]] || check_key MAIL_MAINTENANCE '[-A-Za-z0-9*:,./_ ]+'
  [[ -z ${MAIL_TRASH_DAYS:-} ]] || check_key MAIL_TRASH_DAYS '[1-9][0-9]*'
  [[ -z ${MAIL_JUNK_DAYS:-} ]] || check_key MAIL_JUNK_DAYS '[1-9][0-9]*'
  if [[ -n ${MAIL_JOURNAL_BUCKET:-} ]]; then
    check_key MAIL_JOURNAL_BUCKET '[a-z0-9.-]+'
    check_key MAIL_JOURNAL_WAITING_MAX '[1-9][0-9]*'
    check_optional_key MAIL_JOURNAL_KEYS '[a-z0-9.-]+'
  fi
  if [[ -n ${MAIL_RESTORE_SECRET:-} ]]; then
    check_key MAIL_RESTORE_SECRET '.+'
    check_key MAIL_RESTORE_SOURCES "$range( $range)*"
  fi
  if [[ -n ${MAIL_RELAY:-} ]]; then
    check_key MAIL_RELAY 'ses'
    check_key MAIL_RELAY_HOST "$host"
    check_key MAIL_RELAY_SECRET '.+'
    check_key MAIL_RELAY_CONFIGURATION_SET '[A-Za-z0-9_-]+'
  fi
  if [[ -n ${MAIL_TOKEN_ISSUER:-} ]]; then
    # These stand in Dovecot's configuration, where % and $ mean something.
    local word='[A-Za-z0-9._~:/@+-]+'
    check_key MAIL_TOKEN_ISSUER "https://$host(/[A-Za-z0-9._~/-]*)?"
    check_key MAIL_TOKEN_AUDIENCES "$word( $word)*"
    check_key MAIL_TOKEN_CLIENTS "$word( $word)*"
    check_key MAIL_TOKEN_CLAIM '[A-Za-z0-9_]+'
    check_key MAIL_TOKEN_LIFETIME_MAX '[1-9][0-9]*'
    [[ -z ${MAIL_TOKEN_SCOPE:-} ]] || check_key MAIL_TOKEN_SCOPE "$word"
  fi
  # Certificates in base64, as PEM has them between its first and last line.
  check_optional_key MAIL_CLIENT_CA '[A-Za-z0-9+/=]+( [A-Za-z0-9+/=]+)*'
  check_optional_key MAIL_CLIENT_REVOCATIONS_OBJECT 's3://[a-z0-9.-]+/.+'
  if [[ -n ${MAIL_FILTERING:-} ]]; then
    check_key MAIL_FILTERING 'yes'
    check_key MAIL_FILTER_OUTAGE 'accept|defer'
    check_key MAIL_GREYLISTING 'yes|no'
    check_key MAIL_VIRUS_SCAN 'yes|no'
    check_key MAIL_JUNK_SCORE '[0-9]+(\.[0-9]+)?'
    check_key MAIL_REJECT_SCORE '[0-9]+(\.[0-9]+)?'
  fi
  [[ -z ${MAIL_SHARED_FOLDERS:-} ]] || check_key MAIL_SHARED_FOLDERS 'yes'
  [[ -z ${MAIL_DKIM_SECRET:-} ]] || check_key MAIL_DKIM_SECRET '.+'
  [[ -z ${MAIL_REWRITING_SECRET:-} ]] || check_key MAIL_REWRITING_SECRET '.+'
  if [[ -n ${MAIL_INBOUND_QUEUE:-} ]]; then
    check_key MAIL_INBOUND_QUEUE 'https?://.+'
    check_key MAIL_INBOUND_BUCKET '[a-z0-9.-]+'
    check_key MAIL_INBOUND_PATIENCE '[1-9][0-9]*'
  fi
  check_key MAIL_CERTIFICATE 'acm-acme|dns-01|secret|local-ca'
  case ${MAIL_CERTIFICATE:-} in
    acm-acme)
      check_key MAIL_CERTIFICATE_SECRET '.+'
      check_key MAIL_ACME_DIRECTORY 'https://.+'
      ;;
    secret | local-ca) check_key MAIL_CERTIFICATE_SECRET '.+' ;;
  esac

  local service
  MAIL_PORTS='' MAIL_LOGIN_PORTS='' MAIL_BLOCKED_PORTS=''
  for service in ${MAIL_SERVICES:-}; do
    if [[ -r $PLATFORM_ROOT/services/$service/port ]]; then
      MAIL_PORTS+="${MAIL_PORTS:+, }$(<"$PLATFORM_ROOT/services/$service/port")"
      # All but the one that is for other mail servers.
      [[ $service == mx ]] || MAIL_LOGIN_PORTS+="${MAIL_LOGIN_PORTS:+, }$(<"$PLATFORM_ROOT/services/$service/port")"
      [[ " ${MAIL_BLOCK_LISTS_SERVICES:-} " != *" $service "* ]] ||
        MAIL_BLOCKED_PORTS+="${MAIL_BLOCKED_PORTS:+, }$(<"$PLATFORM_ROOT/services/$service/port")"
    else
      problems+=("MAIL_SERVICES has the unknown service '$service'")
    fi
  done

  if ((${#problems[@]} > 0)); then
    local problem
    for problem in "${problems[@]}"; do log "error: $problem ($file)"; done
    exit 1
  fi
  derive_environment
}

# check_key NAME PATTERN: adds to `problems` unless the variable has a value that the whole pattern matches.
check_key() {
  local name=$1 pattern=$2 value=${!1-}
  if [[ -z $value ]]; then
    problems+=("$name is missing")
  elif [[ ! $value =~ ^($pattern)$ ]]; then
    problems+=("$name is '$value', expected to match $pattern")
  fi
}

# check_optional_key NAME PATTERN: the same for one that may be missing.
check_optional_key() {
  [[ -z ${!1-} ]] || check_key "$@"
}

derive_environment() {
  MAIL_PRIMARY_DOMAIN=${MAIL_DOMAINS%% *}
  MAIL_MAILBOX_FORMAT=${MAIL_MAILBOX_FORMAT:-maildir}
  MAIL_VCPUS=$(nproc)
  # Sessions stay in the login process that took them, and the kernel does not share them out evenly: leave room.
  MAIL_LOGIN_PROCESSES=$((MAIL_VCPUS < 2 ? 2 : MAIL_VCPUS))
  MAIL_LOGIN_CLIENTS=$((MAIL_CONNECTIONS_MAX * 2 / MAIL_LOGIN_PROCESSES + 100))
  # MB. A session takes 0.1 for TLS, one that is passed on twice as much (docs/bench-node.md). At Dovecot's own limit of 256 a login
  # process would end with all of its sessions before it is full.
  MAIL_LOGIN_MEMORY=$((MAIL_LOGIN_CLIENTS / 4 + 256))
  # A submission takes one smtpd process; far fewer clients send at a time than are connected. The firewall refuses more
  # (nftables.conf); the processes beyond that are for health checks, and for those that are about to end.
  MAIL_SMTP_CONNECTIONS=$((MAIL_CONNECTIONS_MAX / 10 < 100 ? 100 : MAIL_CONNECTIONS_MAX / 10))
  MAIL_SMTPD_PROCESSES=$((MAIL_SMTP_CONNECTIONS * 5 / 4))
  # Sessions of IMAP, POP3 and ManageSieve, Postfix's processes on three ports, and Dovecot's own.
  MAIL_AUTH_CLIENTS=$((MAIL_CONNECTIONS_MAX * 4 + MAIL_SMTPD_PROCESSES * 4 + 1000))
  derive_limits
  # Postfix counts envelope and trace headers too: a message of exactly the largest size must pass.
  MAIL_QUEUE_FILE_SIZE_MAX=$((MAIL_MESSAGE_SIZE_MAX + 65536))
  # As systemd.time(7) has it; a time zone may follow: "*-*-* 02:00 Europe/Berlin". Without one, the machine's.
  MAIL_MAINTENANCE=${MAIL_MAINTENANCE:-*-*-* 02:00}
  # Without a journal nobody gets a copy.
  MAIL_JOURNAL_MAPS='' MAIL_JOURNAL_CHECK=''
  if [[ -n ${MAIL_JOURNAL_BUCKET:-} ]]; then
    MAIL_JOURNAL_MAPS='pcre:/etc/postfix/journal.pcre'
    MAIL_JOURNAL_CHECK='check_policy_service { unix:/run/mail-journal/policy, default_action=DUNNO, timeout=5s, try_limit=1 }'
  fi
  # Where mail of whom goes, as Postfix's sender_dependent_default_transport_maps has it; nothing without a relay.
  MAIL_RELAY_SENDERS=
  if [[ -n ${MAIL_RELAY:-} ]]; then
    local domain
    for domain in $MAIL_DOMAINS; do MAIL_RELAY_SENDERS+=" { @$domain = $MAIL_RELAY:[$MAIL_RELAY_HOST]:587 }"; done
    # SES would refuse what is forwarded, which has another domain's address in From.
    MAIL_RELAY_SENDERS="pcre:{ {/^SRS[01][-+=]/ smtp:} }, inline:{$MAIL_RELAY_SENDERS }"
  fi
  MAIL_RELAY_CONFIGURATION_SET=${MAIL_RELAY_CONFIGURATION_SET:-}
  # Tokens are not offered without an issuer; what else their files need stands for nothing then.
  MAIL_TOKEN_ISSUER=${MAIL_TOKEN_ISSUER:-} MAIL_TOKEN_AUDIENCES=${MAIL_TOKEN_AUDIENCES:-} MAIL_TOKEN_SCOPE=${MAIL_TOKEN_SCOPE:-}
  MAIL_TOKEN_CLAIM=${MAIL_TOKEN_CLAIM:-email} MAIL_TOKEN_LIFETIME_MAX=${MAIL_TOKEN_LIFETIME_MAX:-900}
  MAIL_TOKEN_MECHANISMS=${MAIL_TOKEN_ISSUER:+ oauthbearer xoauth2}
  MAIL_TOKEN_CONFIGURATION_URL=${MAIL_TOKEN_ISSUER:+${MAIL_TOKEN_ISSUER%/}/.well-known/openid-configuration}
  # The users file has no limit: it is as recent as S3 lets it be.
  MAIL_DIRECTORY_STALE_AFTER=${MAIL_DIRECTORY_STALE_AFTER:-}
  # On a store that all nodes share each has a queue of its own; a shard's stays on its volume, whichever node has that.
  MAIL_QUEUE=${MAIL_SHARD:-${MAIL_INSTANCE_ID:-}}
  # Old mail of shards, beside the volume; nothing without.
  MAIL_OLD_MAIL='' MAIL_ALT_PATH=''
  if [[ -n ${MAIL_OLD_DAYS:-} ]]; then
    MAIL_STORE_SERVER=$MAIL_OLD_SERVER
    MAIL_OLD_MAIL=/srv/mail-old/mail
    MAIL_ALT_PATH="$MAIL_OLD_MAIL/%{user | domain}/%{user | username}"
  fi
  MAIL_OLD_MOUNT=${MAIL_OLD_MOUNT-managed}
  derive_parts
  # Left empty where no store is to be mounted, such as on a node that has one already.
  MAIL_STORE_MOUNT=${MAIL_STORE_MOUNT-managed}
  export MAIL_PORTS MAIL_LOGIN_PORTS MAIL_PRIMARY_DOMAIN MAIL_MAILBOX_FORMAT MAIL_VCPUS MAIL_LOGIN_PROCESSES MAIL_LOGIN_CLIENTS \
    MAIL_LOGIN_MEMORY MAIL_SMTP_CONNECTIONS MAIL_SMTPD_PROCESSES MAIL_AUTH_CLIENTS MAIL_QUEUE_FILE_SIZE_MAX MAIL_MAINTENANCE MAIL_STORE_MOUNT \
    MAIL_JOURNAL_MAPS MAIL_JOURNAL_CHECK MAIL_RELAY_SENDERS MAIL_RELAY_CONFIGURATION_SET MAIL_QUEUE \
    MAIL_STORE_SERVER MAIL_OLD_MAIL MAIL_ALT_PATH MAIL_OLD_MOUNT \
    MAIL_TOKEN_ISSUER MAIL_TOKEN_AUDIENCES MAIL_TOKEN_SCOPE MAIL_TOKEN_CLAIM MAIL_TOKEN_LIFETIME_MAX MAIL_TOKEN_MECHANISMS \
    MAIL_TOKEN_CONFIGURATION_URL MAIL_DIRECTORY_STALE_AFTER
}

# What one source, or one user, may ask for (docs/limits.md).
derive_limits() {
  MAIL_NEW_PER_MINUTE=${MAIL_NEW_PER_MINUTE:-10} MAIL_NEW_BURST=${MAIL_NEW_BURST:-20}
  MAIL_SESSIONS_PER_SOURCE=${MAIL_SESSIONS_PER_SOURCE:-50} MAIL_SESSIONS_PER_USER=${MAIL_SESSIONS_PER_USER:-20}
  MAIL_HALF_OPEN_PER_MINUTE=${MAIL_HALF_OPEN_PER_MINUTE:-2000}
  MAIL_LOCKOUT_FAILURES=${MAIL_LOCKOUT_FAILURES:-10} MAIL_LOCKOUT_SECONDS=${MAIL_LOCKOUT_SECONDS:-900}
  MAIL_LIMITS_EXEMPT=${MAIL_LIMITS_EXEMPT:-}
  MAIL_SEND_PER_USER=${MAIL_SEND_PER_USER:-1000} MAIL_SEND_PER_DOMAIN=${MAIL_SEND_PER_DOMAIN:-20000} MAIL_SEND_EXEMPT=${MAIL_SEND_EXEMPT:-}
  # Other nodes and the balancer's own addresses, such as those of its health checks, are in the nodes' network.
  MAIL_UNLIMITED="$MAIL_NODE_NETWORK${MAIL_LIMITS_EXEMPT:+, ${MAIL_LIMITS_EXEMPT// /, }}"
  # Without block lists there is nobody whom this is for.
  MAIL_BLOCKED_PORTS=${MAIL_BLOCKED_PORTS:-$MAIL_LOGIN_PORTS}
  export MAIL_NEW_PER_MINUTE MAIL_NEW_BURST MAIL_SESSIONS_PER_SOURCE MAIL_SESSIONS_PER_USER MAIL_HALF_OPEN_PER_MINUTE \
    MAIL_LOCKOUT_FAILURES MAIL_LOCKOUT_SECONDS MAIL_LIMITS_EXEMPT MAIL_UNLIMITED MAIL_BLOCKED_PORTS MAIL_SEND_PER_USER \
    MAIL_SEND_PER_DOMAIN MAIL_SEND_EXEMPT
}

# What is on by choice: a folder of the bundle each, with packages, configuration of its own, or both.
derive_parts() {
  MAIL_PARTS='' MAIL_MX_MILTERS='' MAIL_USER_MILTERS=''
  MAIL_GREYLISTING_ENABLED=false MAIL_VIRUS_SCAN_ENABLED=false MAIL_DEFER_UNSCANNED=false
  if [[ -n ${MAIL_DKIM_SECRET:-}${MAIL_FILTERING:-} ]]; then
    local outage=accept
    [[ ${MAIL_FILTER_OUTAGE:-} != defer ]] || outage=tempfail
    MAIL_PARTS=signing
    MAIL_USER_MILTERS="{ unix:/run/rspamd/milter.sock, default_action=$outage, connect_timeout=5s, command_timeout=30s, content_timeout=60s }"
  fi
  if [[ -n ${MAIL_FILTERING:-} ]]; then
    MAIL_PARTS+=' filtering'
    MAIL_MX_MILTERS=$MAIL_USER_MILTERS
    [[ $MAIL_GREYLISTING != yes ]] || MAIL_GREYLISTING_ENABLED=true
    [[ $MAIL_VIRUS_SCAN != yes ]] || MAIL_VIRUS_SCAN_ENABLED=true
    [[ $MAIL_FILTER_OUTAGE != defer ]] || MAIL_DEFER_UNSCANNED=true
  fi
  [[ -z ${MAIL_RESTORE_SECRET:-} ]] || MAIL_PARTS+=' restoring'
  [[ -z ${MAIL_JOURNAL_KEYS:-} ]] || MAIL_PARTS+=' sealing'
  [[ $MAIL_DIRECTORY != sql ]] || MAIL_PARTS+=' database'
  # Mail that SES takes.
  MAIL_INBOUND_TRANSPORT='' MAIL_FOREIGN_HEADERS=''
  if [[ -n ${MAIL_INBOUND_QUEUE:-} ]]; then
    MAIL_PARTS+=${MAIL_PARTS:+ }inbound
    MAIL_INBOUND_TRANSPORT=', {inbound.invalid = inbound-done:unix:/run/mail-inbound/lmtp}'
    MAIL_FOREIGN_HEADERS='pcre:/etc/postfix/foreign-headers.pcre'
  fi
  # Senders of what users forward.
  MAIL_PICKUP_CLEANUP=cleanup MAIL_RETURN_MAPS='' MAIL_REWRITING_OWN=''
  if [[ -n ${MAIL_REWRITING_SECRET:-} ]]; then
    MAIL_PARTS+=${MAIL_PARTS:+ }rewriting
    MAIL_PICKUP_CLEANUP=rewriting-cleanup
    MAIL_RETURN_MAPS='pipemap:{pcre:/etc/postfix/returns.pcre,tcp:127.0.0.1:10002}'
    MAIL_REWRITING_OWN=${MAIL_DOMAINS// /,}
  fi
  # Certificates of mail clients.
  MAIL_CLIENT_LISTS_END=''
  MAIL_CLIENT_CA_FILE='' MAIL_REQUIRE_CLIENT_CERTIFICATE=no MAIL_CLIENT_CERTIFICATE_CHECK=''
  if [[ -n ${MAIL_CLIENT_CA:-} ]]; then
    MAIL_PARTS+=${MAIL_PARTS:+ }client-certificates
    MAIL_CLIENT_CA_FILE=/etc/mail-platform/client-ca.pem
    [[ -z ${MAIL_CLIENT_REVOCATIONS_OBJECT:-} ]] || MAIL_CLIENT_LISTS_END=/var/lib/mail-client-revocations/ends
    MAIL_REQUIRE_CLIENT_CERTIFICATE=yes
    MAIL_CLIENT_CERTIFICATE_CHECK='check_policy_service { unix:/run/mail-client-certificates/policy, timeout=5s }'
  fi
  export MAIL_CLIENT_LISTS_END MAIL_CLIENT_CA_FILE MAIL_REQUIRE_CLIENT_CERTIFICATE MAIL_CLIENT_CERTIFICATE_CHECK
  export MAIL_INBOUND_TRANSPORT MAIL_FOREIGN_HEADERS MAIL_PICKUP_CLEANUP MAIL_RETURN_MAPS MAIL_REWRITING_OWN
  [[ -z ${MAIL_SHARED_FOLDERS:-} ]] || MAIL_PARTS+=' sharing'
  export MAIL_PARTS MAIL_MX_MILTERS MAIL_USER_MILTERS MAIL_GREYLISTING_ENABLED MAIL_VIRUS_SCAN_ENABLED MAIL_DEFER_UNSCANNED
}

# instance_metadata PATH: a value of EC2's instance metadata, version 2.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
instance_metadata() {
  local base=http://169.254.169.254/latest token
  token=$(curl --silent --show-error --fail --max-time 5 --retry 5 --retry-all-errors --retry-delay 1 \
    --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$base/api/token") || return
  curl --silent --show-error --fail --max-time 5 --retry 5 --retry-delay 1 \
    --header "X-aws-ec2-metadata-token: $token" "$base/meta-data/$1"
}

# own_queue: the folder of this node's queue on the store, as the mount unit has it.
own_queue() {
  local queue
  queue=$(sed -n 's/^What=//p' "/etc/systemd/system/$(systemd-escape --path --suffix=mount /var/spool/postfix)")
  [[ $queue == /srv/mail-store/queue/?* ]] || die "the queue's mount unit names '$queue', expected a folder of /srv/mail-store/queue"
  printf '%s\n' "$queue"
}
