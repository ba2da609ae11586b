#!/bin/bash
# The first process of an instance, in namespaces of its own. usage: instance.sh FOLDER IMAGE HOSTNAME SHARED
set -e
folder=$1 image=$2 name=$3 shared=$4 root=$1/root
hostname "$name"
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$image,upperdir=$folder/upper,workdir=$folder/work" "$root"
cp "$folder/runcmd.sh" "$root/root/runcmd.sh"
cd "$root"
address=$(ip -4 -o address show eth0 | awk '{ sub("/.*", "", $4); print $4 }')
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$name" > etc/hosts
echo "$name" > etc/hostname
mkdir -p shared
mount --bind "$shared" shared  # as EFS would be
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/sshd
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do cp -a /dev/$device dev/; done
mkdir dev/pts dev/shm
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for i in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${i%:*}" "dev/${i#*:}"; done
pivot_root . mnt
cd /
umount -l /mnt
export HOME=/root
/usr/sbin/sshd
echo "sshd listens"
bash /root/runcmd.sh
while :; do sleep 100000 & wait $!; done  # the first process buries the orphans
