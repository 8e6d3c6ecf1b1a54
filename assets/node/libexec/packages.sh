# shellcheck shell=bash
# How Debian's packages come onto a machine. Source it after lib.sh, and load the environment before.

# install_packages: those of the bundle and of MAIL_PARTS that are missing; no daemon starts.
install_packages() {
  local wanted missing
  mapfile -t wanted < <(cd "$PLATFORM_ROOT" && for part in . $MAIL_PARTS; do
    [[ ! -e $part/packages.txt ]] || grep --invert-match --extended-regexp '^(#|$)' "$part/packages.txt"
  done)
  mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}" | sort) \
    <(dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^installed //p' | sort))
  ((${#missing[@]} > 0)) || return 0

  log "installing ${missing[*]}"
  # Before Postfix's package gives itself the next free number.
  systemd-sysusers "$PLATFORM_ROOT/etc/sysusers.d/mail-platform.conf"
  # No daemon may run on its package's own configuration, which listens in clear.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 0755 /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  retry 5 10 install_missing "${missing[@]}" || die "can't install ${missing[*]} from Debian's mirror"
  rm -f /usr/sbin/policy-rc.d
}

install_missing() {
  # cloud-init and apt's own timers may hold the lock.
  local options=(--quiet=2 --option DPkg::Lock::Timeout=120 --option Acquire::Retries=3)
  export DEBIAN_FRONTEND=noninteractive
  apt-get "${options[@]}" update &&
    apt-get "${options[@]}" --option Dpkg::Options::=--force-confold install --no-install-recommends --yes "$@" >/dev/null
}
