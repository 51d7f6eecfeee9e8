#!/bin/bash
# Installs the package into a bare Debian 12 with nothing but what the package asks for, and works with it there:
# check_deb.sh PACKAGE [ROOT]. ROOT: a bare system made before (debootstrap --variant=minbase), which stays as it is. Needs
# root, debootstrap and Debian's archive.
set -euo pipefail
package=$(readlink -f "$1")
base=$(readlink -f "$(dirname "$0")/../demo/base.safetensors")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

if (($# > 1)); then
    cp -a "$2" "$root"
else
    debootstrap --variant=minbase bookworm "$root" http://deb.debian.org/debian >"$work/debootstrap.log" 2>&1 ||
        { tail "$work/debootstrap.log"; exit 1; }
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp "$package" "$root/tmp/difftune.deb"
cp "$base" "$root/tmp/base.safetensors"

inside() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"
}

inside apt-get -qq update
inside apt-get -qq install -y --no-install-recommends /tmp/difftune.deb >"$work/apt.log" 2>&1 ||
    { tail "$work/apt.log"; exit 1; }
inside difftune --version
inside difftune help >/dev/null
inside ldd /usr/bin/difftune | (! grep "not found")
inside difftune sample --pretrained-model /tmp/base.safetensors --output-dir /tmp/samples --num-samples 2 \
    --num-inference-steps 2 --clip-sample 2>"$work/sample.log" || { cat "$work/sample.log"; exit 1; }
if grep -- ' -[0-9]' "$work/sample.log"; then # there is no /proc to ask
    echo "what the system does not say is told as a number"
    exit 1
fi
inside test -s /tmp/samples/grid.png
inside bash -c 'source /usr/share/bash-completion/completions/difftune && COMP_WORDS=(difftune tr) COMP_CWORD=1 &&
    _difftune && [[ ${COMPREPLY[*]} == train ]]'
inside apt-get -qq purge -y difftune >/dev/null
if inside find /usr -name '*difftune*' | grep .; then
    echo "the package left these files behind"
    exit 1
fi
echo "the package installs, works and goes"
