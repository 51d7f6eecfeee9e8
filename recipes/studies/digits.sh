#!/bin/bash
# digits.sh IMAGES.gz LABELS.gz OUT: MNIST's files as pictures of 32x32 in class folders, every tenth in OUT/val, the others in
# OUT/train. Needs netpbm.
set -eu
out=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
zcat "$1" | tail -c +17 >"$work/pixels"
zcat "$2" | tail -c +9 | od -An -v -tu1 -w1 | tr -d ' ' >"$work/labels"
number=0
while read -r label; do
    part=train
    [ $((number % 10)) -ne 9 ] || part=val
    mkdir -p "$out/$part/$label"
    {
        printf 'P5 28 28 255\n'
        dd if="$work/pixels" bs=784 skip=$number count=1 status=none
    } | pnmpad -black -left 2 -right 2 -top 2 -bottom 2 | pnmtopng -quiet >"$out/$part/$label/$(printf %05d $number).png"
    number=$((number + 1))
done <"$work/labels"
