#!/bin/bash
# Process 1 of the sandbox (see sandbox.ts). Everything below is private to it and goes away with it.
set -euo pipefail

mount --make-rprivate /
# The caller's network stays reachable by this name, for the ports that a person uses (balancer.ts).
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/netns /run/lock
touch /run/netns/caller
mount --bind /proc/self/ns/net /run/netns/caller
# systemd 257 in the nodes starts on cgroup v2 only.
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
# A group for each node goes in here: systemd kills by group, and two machines must not share one.
MAIL_CGROUP=/sys/fs/cgroup/mail-$(cat /proc/sys/kernel/random/uuid)
export MAIL_CGROUP
mkdir "$MAIL_CGROUP"

ip netns add plane
ip -n plane link set lo up
# The caller holds the other end of descriptor 3: when it closes it, or dies, everything is asked to stop.
{
  cat <&3 >/dev/null
  kill -TERM -1
} &
trap : INT # the terminal sends it to the command too, which stops in good order
# Not `exec`: bash stays process 1 and reaps what the cluster leaves behind. When it ends, the kernel ends all the rest.
status=0
nsenter --net=/run/netns/plane -- "$@" 3<&- || status=$?

# All but process 1; then the groups, which alone would stay, are empty.
exec 2>/dev/null
kill -KILL -1 || true
wait
for _ in {1..20}; do
  find "$MAIL_CGROUP" -depth -type d -exec rmdir {} + && break
  sleep 0.1
done
exit "$status"
