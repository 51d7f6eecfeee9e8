#!/bin/bash
# split.sh PICTURES OUT TRAIN [EVERY]: a set for a study from a folder of classes, as links: of every EVERY-th class by name (all by
# default) the first TRAIN pictures by name for OUT/train, the others for OUT/heldout. TRAIN may be a share, such as 80%.
set -eu
pictures=$(realpath "$1")
out=$2
train=$3
every=${4:-1}
export LC_ALL=C
number=0
for class in "$pictures"/*/; do
    name=$(basename "$class")
    number=$((number + 1))
    [ $(((number - 1) % every)) = 0 ] || continue
    mapfile -t files < <(find "$class" -type f | sort)
    count=$train
    [[ $train != *% ]] || count=$((${#files[@]} * ${train%\%} / 100))
    mkdir -p "$out/train/$name" "$out/heldout/$name"
    for i in "${!files[@]}"; do
        part=train
        [ "$i" -lt "$count" ] || part=heldout
        ln -s "${files[$i]}" "$out/$part/$name/"
    done
done
