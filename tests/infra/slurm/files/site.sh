#!/bin/bash
# The first process of the site: a Slurm cluster with a login node and SkyPilot's API server, in
# mount, host name and process namespaces of their own. When it ends, all of it ends.
set -euo pipefail
root=@ROOT@
hostname site

# What only the site sees: an account without a trace on the machine, SkyPilot with our patches,
# and the environment of the tests, which the account must be able to reach.
{ grep -v ^root: /etc/passwd; echo "root:x:0:0::$root/home:/bin/bash"
  echo "@ACCOUNT@:*:@UID@:@UID@::$root/account:/bin/bash"; } > "$root/etc/passwd"
{ cat /etc/group; echo "@ACCOUNT@:x:@UID@:"; } > "$root/etc/group"
{ cat /etc/hosts; printf '127.0.0.11 sn1\n127.0.0.12 sn2\n'; } > "$root/etc/hosts"
for file in passwd group hosts; do mount --bind "$root/etc/$file" "/etc/$file"; done
chown -R @UID@:@UID@ "$root/account" "$root/shared"
mount -t tmpfs tmpfs /run
mkdir /run/sshd
mount --bind "$root/sky" @SITE_PACKAGES@/sky
for path in @PYTHON_HOME@ @VENV@; do
  case $path in /root/*) mkdir -p "$root/aside$path"; mount --rbind "$path" "$root/aside$path" ;; esac
done
mount -t tmpfs -o mode=755 tmpfs /root
for path in @PYTHON_HOME@ @VENV@; do
  case $path in /root/*) mkdir -p "$path"; mount --rbind "$root/aside$path" "$path" ;; esac
done

munged --key-file="$root/munge/key" --socket="$root/munge/sock" --pid-file="$root/munge/pid" \
  --log-file="$root/log/munged.log" --seed-file="$root/munge/seed"
slurmctld -f "$root/etc/slurm.conf"
/usr/sbin/sshd -f "$root/etc/sshd_config" -E "$root/log/sshd.log"
for node in sn1 sn2; do "$root/etc/node.sh" up $node; done
"$root/etc/api_server.sh" up
while :; do sleep 1000; done & while :; do wait || :; done  # reap what is left behind
