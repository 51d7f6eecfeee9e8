#!/bin/bash
# kills.sh PROGRAM PICTURES COUNT [SEED]: a training run is ended COUNT times at random moments, by kill -9 or by one to three of
# the signals that ask for a checkpoint, and started again each time; when it has come to its end, the next run begins. Checked
# after each end: the newest checkpoint is not older than the last one that was announced, and is the one that the next call goes
# on from; after signals that stop, that the status is 75. A finished run has the bytes of one that was never stopped. PICTURES is
# a data set for --train-data. Works in a folder of its own under TMPDIR and says what it counted.
set -eu
program=$(realpath "$1")
pictures=$(realpath "$2")
count=$3
RANDOM=${4:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "kills.sh: end $ends: $*" >&2
    tail -n 20 log >&2
    exit 1
}

train() {
    exec "$program" train --method pretrain --train-data "$pictures" --output-dir "$1" --resolution 16 --hidden-size 32 \
        --depth 2 --num-heads 2 --patch-size 4 --max-train-steps 200 --train-batch-size 4 --checkpointing-steps 2 --threads 1
}

# Steps of the newest checkpoint in the folder, of the last one announced in the log, and of that which the call went on from;
# nothing where there is none.
newest() { find run/checkpoints -name 'step-*' 2>/dev/null | grep -E 'step-[0-9]+$' | sed 's/.*-0*//' | sort -n | tail -1; }
announced() { sed -n -E 's|^checkpoint run/checkpoints/step-0*([0-9]+)$|\1|p' log | tail -1; }
went_on_from() { sed -n -E 's/^resuming .*step-0*([0-9]+).*/\1/p' log | head -1; }

wait_a_random_while() { sleep "0.$(printf %03d $((RANDOM % 700)))"; }

ends=0 finished=0 stops=0 kills=0 before=0
(train whole) >log 2>&1 || fail "the run that is not stopped"
while [ "$ends" -lt "$count" ]; do
    (train run) >log 2>&1 &
    pid=$!
    wait_a_random_while
    stopping=0
    if [ $(((RANDOM >> 4) % 2)) = 0 ]; then
        kill -KILL $pid 2>/dev/null || true
        kills=$((kills + 1))
    else
        signals=(INT TERM HUP USR1 USR2)
        for ((i = RANDOM % 3; i >= 0; i--)); do
            name=${signals[RANDOM % 5]}
            kill -$name $pid 2>/dev/null || true
            case $name in INT | TERM | HUP) stopping=1 ;; esac
        done
        stops=$((stops + 1))
        [ $stopping = 1 ] || { wait_a_random_while; kill -KILL $pid 2>/dev/null || true; }
    fi
    status=0
    wait $pid 2>/dev/null || status=$?
    ends=$((ends + 1))
    now=$(newest)
    told=$(announced)
    from=$(went_on_from)
    [ "${now:-0}" -ge "${told:-0}" ] || fail "step $told was announced, step ${now:-0} is the newest"
    [ "${now:-0}" -ge "$before" ] || fail "step $before was there, step ${now:-0} is the newest"
    [ -z "$from" ] || [ "$from" = "$before" ] || fail "went on from $from instead of $before"
    case $status in
    0)
        cmp whole/final/model.safetensors run/final/model.safetensors || fail "another result"
        rm -rf run
        finished=$((finished + 1)) now=0
        ;;
    75) [ $stopping = 1 ] || fail "status 75 without a signal that stops" ;;
    129 | 130 | 138 | 140 | 143) [ "${told:-none}" = none ] || fail "a signal ended it with $status after its first checkpoint" ;;
    137) ;;
    *) fail "status $status" ;;
    esac
    before=${now:-0}
done
echo "$ends ends: $kills by kill -9, $stops by signals; $finished finished runs with the bytes of one that was not stopped"
