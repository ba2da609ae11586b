#!/bin/bash
# node.sh up|kill NAME, inside the site: slurmd with a host name, scratch and processes of its own.
set -euo pipefail
root=@ROOT@ name=$2
case $1 in
  kill) kill -KILL "$(cat "$root/spool/$name.pid")" ;;  # and so every process in it, like a lost VM
  up)
    mkdir -p -m 1777 "$root/nodes/$name"
    setsid unshare --mount --uts --pid --fork --mount-proc --kill-child=SIGKILL "$0" inside "$name" \
      </dev/null >>"$root/log/$name.out" 2>&1 &
    echo $! > "$root/spool/$name.pid" ;;
  inside)
    hostname "$name"
    mount --bind "$root/nodes/$name" "$root/node"
    env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 \
      SLURM_CONF="$root/etc/slurm.conf" slurmd -D -N "$name" -f "$root/etc/slurm.conf" &
    while :; do wait || :; sleep 1; done ;;
esac
