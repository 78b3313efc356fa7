#!/bin/bash
# Starts a Docker engine in namespaces of its own and runs a program next to it. The caller starts
# this script as the first process of new mount, network and process namespaces: when it ends, the
# kernel ends the engine and every container, and removes the mounts and the network.
#
#   engine.sh ROOT WORK PROGRAM ARGUMENTS...
#
# ROOT is the folder tree with Debian's engine and becomes the root folder, because runc needs a
# root that is a mount. WORK gets the engine's data. SHARED holds the folders, separated by colons,
# that keep their paths.
set -eu
root=$1 work=$2
shift 2

cannot_start() {
    echo "$1" > "$work/cannot-start"
    exit 0
}

mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
for folder in sys dev; do mount --rbind "/$folder" "$root/$folder"; done
for folder in tmp run; do mount -t tmpfs "$folder" "$root/$folder"; done
IFS=: read -ra shared <<< "$SHARED"
for folder in "${shared[@]}"; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
done
mkdir -p "$root/old"
cd "$root"
pivot_root . old
cd /
umount -l /old

export PATH=/usr/sbin:/usr/bin HOME=/root DOCKER_HOST="unix://$work/docker.sock"
ip link set lo up
ip link add lab type bridge
ip address add 172.31.0.1/16 dev lab
ip link set lab up
# Without the caller's proxy: there is no network outside of these namespaces.
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" \
    --host "$DOCKER_HOST" --bridge lab --cgroup-parent "$CGROUP" > "$work/dockerd.log" 2>&1 &
engine=$!
until docker version > /dev/null 2>&1; do
    # The last line that dockerd wrote is its reason.
    kill -0 "$engine" 2> /dev/null || cannot_start "$(tail -n 1 "$work/dockerd.log")"
    [ "$SECONDS" -lt 60 ] || cannot_start "dockerd did not start within 60 s"
    sleep 0.2
done
[ "$(docker info --format '{{.MemoryLimit}}')" = true ] \
    || cannot_start "this kernel limits no container's memory"

status=0
"$@" || status=$?
kill "$engine"
wait "$engine" || true
exit "$status"
