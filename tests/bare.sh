#!/usr/bin/env bash
# Runs commands in a fresh clone of this checkout, on a bare Debian 12: Python 3.11.2, make and git, and no Java, no kill.
#
#   tests/bare.sh 'make serve' 'make stop' 'make test'      as root; needs debootstrap, 8 GB of disk and Debian's packages
#
# The system lies in a new folder below TMPDIR and goes at the end; BARE=folder keeps it for the next call. What pip is
# told on this machine (its variables, its configuration, proxies, certificates) holds there too. Golden files that lie
# beside the checkout, in shared/golden, come along.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/.." && pwd)
if ! command -v debootstrap >/dev/null; then
    echo "debootstrap is not installed; on Debian and Ubuntu: apt-get install debootstrap" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "a system in a folder can be made by root alone" >&2
    exit 1
fi

system=$(readlink --canonicalize "${BARE:-$(mktemp --directory)}")
mounts=(proc dev)
# A package index in a folder of this machine must be seen from inside, too.
mapfile -t indexes < <(pip config list 2>/dev/null | grep -oE "(file://)?/[^ ',\"]+" | sed 's#^file://##' | cut -d/ -f2 | sort -u)
for name in "${indexes[@]}"; do
    case $name in opt | srv | mnt) mounts+=("$name") ;; esac
done

mapfile -t settings < <(env | grep -iE '^(PIP_[A-Z_]*|https?_proxy|no_proxy)=' || true)
inside() {
    chroot "$system" /usr/bin/env -i HOME=/root LANG=C "${settings[@]}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        bash -c "cd /work/clone && $1"
}
clean_up() {
    # A server that a failed command left would keep the folders busy.
    if [ -e "$system/work/clone/.run/tmp/.model_server.pid" ]; then inside "make stop" || true; fi
    for name in "${mounts[@]}"; do umount --lazy "$system/$name" 2>/dev/null || true; done
    # A folder of this machine that is still mounted would be emptied: it can lie on the same file system.
    if grep --quiet --fixed-strings " $system/" /proc/mounts; then
        echo "$system is left: something is still mounted in it" >&2
    elif [ -z "${BARE:-}" ]; then
        rm -rf --one-file-system "$system"
    fi
}
trap clean_up EXIT

if [ ! -x "$system/usr/bin/python3" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,make,git,ca-certificates bookworm "$system" >/dev/null
fi
for name in "${mounts[@]}"; do
    mkdir -p "$system/$name"
    mount --bind "/$name" "$system/$name"
done
cp /etc/resolv.conf /etc/hosts "$system/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/"
for file in /etc/pip.conf /etc/xdg/pip; do
    [ ! -e "$file" ] || { mkdir -p "$system$(dirname "$file")" && cp -r "$file" "$system$(dirname "$file")/"; }
done
mkdir -p "$system/work"
rm -rf "$system/work/clone" "$system/work/shared"
git clone --quiet "$checkout" "$system/work/clone"
if [ -d "$checkout/../shared/golden" ]; then
    mkdir "$system/work/shared"
    cp -r "$checkout/../shared/golden" "$system/work/shared/"
fi

for command in "$@"; do
    echo "[bare] $command"
    SECONDS=0
    inside "$command"
    echo "[bare] $command: done in $SECONDS s"
done
