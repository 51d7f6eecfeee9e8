#!/bin/bash
# flips.sh PROGRAM COUNT [SEED [checkpoint|bank|cache]..]: COUNT times each (all three by default), one random bit of a random file
# of a checkpoint, of a bank or of a latent cache is turned over, and the call that uses it is made. It must notice: the run goes on
# from the checkpoint before and says which file is damaged, to the bytes of a run that found none; the bank is refused; the cache
# is refused, or the pictures of the damaged file are encoded again; and it names a file of the folder. Works in a folder of its own
# under TMPDIR and says what it counted, also where it is ended by SIGTERM.
set -u
program=$(realpath "$1")
source=$(realpath "$(dirname "$0")/..")
count=$2
RANDOM=${3:-1}
shift 3 2>/dev/null || shift 2
things=("$@")
[ $# -gt 0 ] || things=(checkpoint bank cache)
work=$(realpath "$(mktemp -d)")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
. "$source/tests/faults/world.sh"

missed=0
miss() {
    missed=$((missed + 1))
    echo "flips.sh: $thing: bit $bit of byte $at of $file: $*"
    tail -n 3 log | sed 's/^/    /'
}

# Turns over one bit of a file below the folder.
flip() {
    local files byte
    mapfile -t files < <(find "$1" -type f | sort)
    file=${files[RANDOM % ${#files[@]}]}
    at=$(((RANDOM << 15 | RANDOM) % $(stat -c %s "$file")))
    bit=$((RANDOM % 8))
    byte=$(od -An -tu1 -j $at -N 1 "$file")
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((byte ^ 1 << bit)))" | dd of="$file" bs=1 seek=$at conv=notrunc status=none
}

# The newest checkpoint of two; the run ends at its step or goes on behind it.
checkpoint_noticed() {
    train_to 3 2>log || { miss "status $?"; return; }
    grep -qF "checkpoint passed over: out/run/checkpoints/step-00000002/" log || { miss "no word of it"; return; }
    cmp -s out/run/final/model.safetensors whole.safetensors || miss "another result"
}
bank_noticed() {
    train_with_bank 2>log && { miss "it was used"; return; }
    grep -q '^difftune: out/bank/' log || miss "its files are not named"
}
cache_noticed() {
    if cache 2>log; then
        grep -q 'out/latents/.*; its encoded pictures are made again' log || { miss "it was used"; return; }
        diff -r out before/cache >difference || miss "another cache"
    else
        grep -q '^difftune: out/latents/' log || miss "its files are not named"
    fi
}

make_world || exit 2
mkdir out
train 2>log || exit 2
cp -a out before/checkpoint
train_to 3 2>log || exit 2
cp out/run/final/model.safetensors whole.safetensors
rm -rf out/run
bank 2>log || exit 2
cp -a out before/bank
rm -rf out/bank
cache 2>log || exit 2
cp -a out before/cache

report() { echo "$flipped bits flipped in ${things[*]}: $missed not found"; }
flipped=0
trap 'report; exit 1' TERM INT
for thing in "${things[@]}"; do
    for ((i = 0; i < count; i++)); do
        rm -rf out
        cp -a before/$thing out
        case $thing in
        checkpoint) flip out/run/checkpoints/step-00000002 ;;
        *) flip out ;;
        esac
        ${thing}_noticed
        flipped=$((flipped + 1))
    done
done
report
[ $missed = 0 ]
