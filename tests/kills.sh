#!/bin/bash
# kills.sh PROGRAM PICTURES COUNT [SEED] [VERB...]: calls of train, bank, sample, cache, convert and run (or of the verbs named) are
# ended at random moments until COUNT were ended by kill -9 and COUNT by one to three of the signals INT, TERM, HUP, USR1 and USR2,
# and each is started again until its work is finished; then the next work begins. Checked after each end: nothing that was finished
# before is lost or changed; of a run the newest checkpoint is not older than the last one that was announced, and is the one that
# the next call goes on from; a converted model is the old file or the new one; after signals that stop, the status is 75. What is
# finished has the bytes of what was never stopped, and nothing lies beside it. PICTURES is a data set for --train-data, of a few
# dozen pictures. Pauses follow the machine, so that about one call in five comes to its end. Works in a folder of its own under
# TMPDIR and says what it counted, also where it is ended by SIGTERM.
set -eu
program=$(realpath "$1")
pictures=$(realpath "$2")
codec=$(realpath "$(dirname "$0")")/vectors/codec_tiny.safetensors
count=$3
RANDOM=${4:-1}
shift $(($# < 4 ? $# : 4))
verbs=("$@")
[ $# -gt 0 ] || verbs=(train bank sample cache convert run)
export OMP_WAIT_POLICY=passive
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

verb=none
fail() {
    echo "kills.sh: $verb, after $kills kills and $stops stops: $*" >&2
    tail -n 20 log >&2
    exit 1
}

tell() {
    echo "$kills ends by kill -9, $stops by signals, $early by signals before the program had begun; finished, with the bytes of" \
        "what was never stopped:$(for verb in "${verbs[@]}"; do printf ' %s %s' $verb "${finished[$verb]}"; done)"
}
trap 'tell; exit 143' TERM

# ---- the work of each verb, in the folder $1; each becomes the program, so call it in a process of its own ----

pretrain() {
    exec "$program" train --method pretrain --train-data "$pictures" --resolution 16 --patch-size 4 --validation-count 2 \
        --num-samples 8 --num-inference-steps 5 --threads 1 "$@"
}
work_train() {
    pretrain --output-dir "$1" --hidden-size 32 --depth 2 --num-heads 2 --max-train-steps 40 --train-batch-size 4 \
        --checkpointing-steps 2 --validation-steps 20 --sample-steps 20
}
work_bank() {
    exec "$program" bank --pretrained-model small.safetensors --bank "$1" --bank-size 160 --bank-shard-size 4 --sample-batch-size 4 \
        --num-inference-steps 10 --threads 1
}
work_sample() {
    exec "$program" sample --pretrained-model small.safetensors --feature-weights small.safetensors --output-dir "$1" --num-samples 160 \
        --sample-batch-size 4 --num-inference-steps 10 --save-statistics "$1/statistics.npz" --save-stack "$1/stack.npz" --threads 1
}
work_cache() {
    exec "$program" cache --vae "$codec" --train-data "$pictures" --cache-dir "$1" --resolution 128 --threads 1
}
# Large and of another format each time; what is there when it begins is the model before.
formats=(safetensors pt diffusers)
work_convert() {
    exec "$program" convert --pretrained-model "large$turn.safetensors" --output "$1" --save-model-as ${formats[$format]}
}
work_run() {
    exec "$program" run recipe.yaml --train-data "$pictures" --reference "$pictures" --pretrained-model small.safetensors --output-dir "$1" \
        --bank-size 16 --bank-shard-size 4 --num-inference-steps 5 --fid-count 12 --train-batch-size 4 --sample-batch-size 4 \
        --threads 1
}

# ---- what is there of it ----

# Steps of the newest checkpoint in the folder, of the last one announced in the log, and of that which the call went on from;
# nothing where there is none.
newest() { find work/checkpoints -name 'step-*' 2>/dev/null | grep -E 'step-[0-9]+$' | sed 's/.*-0*//' | sort -n | tail -1; }
announced() { sed -n -E 's|^checkpoint work/checkpoints/step-0*([0-9]+)$|\1|p' log | tail -1; }
went_on_from() { sed -n -E 's/^resuming .*step-0*([0-9]+).*/\1/p' log | head -1; }

# A number that never falls while the work goes on: steps, shards, pictures, stages.
progress() {
    case $verb in
    train) newest ;;
    bank | cache) cat work/manifest.json work/*/manifest.json 2>/dev/null | grep -c '"sha256"' ;;
    sample) find work/images -name '*.png' 2>/dev/null | wc -l ;;
    convert) echo 0 ;;
    run) grep -c '^   "seed"' work/experiment.json 2>/dev/null ;;
    esac || true
}

# Files of finished pieces have the bytes of those of the whole work; the newest checkpoint of a run all that its manifest says.
check_pieces() {
    case $verb in
    train)
        local told from
        told=$(announced) from=$(went_on_from)
        [ "${now:-0}" -ge "${told:-0}" ] || fail "step $told was announced, step ${now:-0} is the newest"
        [ -z "$from" ] || [ "$from" = "$before" ] || fail "went on from $from instead of $before"
        ;;
    bank | sample)
        local file
        find work -name 'shard-*.safetensors' -o -name '*.png' >pieces 2>/dev/null || true
        while read -r file; do cmp "$file" "whole_$verb/${file#work/}" || fail "another $file"; done <pieces
        ;;
    convert)
        same_tree "$old" work || same_tree "$new" work || fail "neither the old model nor the new one"
        ;;
    esac
}

# What the finished work must be equal to: all of it but the times in logs and pages, and for runs the checkpoints of stops.
same_tree() {
    diff -r -q -x 'events.*' -x metrics.jsonl -x run.json -x report.html -x checkpoints -x difftune.lock "$1" "$2" >differences 2>&1
}
without_times() { sed -E 's/"(samples_per_second|time_s|memory_bytes|from_step)":[0-9.e+-]+,?//g' "$1"; }
check_whole() {
    local log_file
    same_tree "$1" work || fail "another result: $(head -3 differences)"
    find "$1" -name metrics.jsonl -printf '%P\n' >logs
    while read -r log_file; do
        cmp <(without_times "$1/$log_file") <(without_times "work/$log_file") || fail "another $log_file"
    done <logs
    [ -z "$(find . -name '*.tmp-*')" ] || fail "left over: $(find . -name '*.tmp-*')"
}

# ---- ends ----

wait_ms() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }

begin() {
    rm -rf work
    before=0 old=none new=whole_$verb
    [ $verb = convert ] || return 0
    format=$((RANDOM % 3))
    turn=$((1 - turn)) # of the two models
    old=whole_${formats[$format]}$((1 - turn)) new=whole_${formats[$format]}$turn
    cp -r $old work
}

# Ends the call $pid after a random part of the pause; `stopping` is then whether a signal that stops was sent.
end_it() {
    local names=(INT TERM HUP USR1 USR2) name i
    stopping=0
    wait_ms $((RANDOM % pause[$verb]))
    if [ "$stops" -ge "$count" ] || { [ "$kills" -lt "$count" ] && [ $(((RANDOM >> 4) % 2)) = 0 ]; }; then
        kill -KILL $pid 2>/dev/null || true
        return
    fi
    for ((i = RANDOM % 3; i >= 0; i--)); do
        name=${names[RANDOM % 5]}
        kill -$name $pid 2>/dev/null || true
        case $name in INT | TERM | HUP) stopping=1 ;; esac
    done
}

declare -A pause finished
kills=0 stops=0 early=0 turn=0 format=0

make_models() {
    local kind
    (pretrain --output-dir small --hidden-size 32 --depth 2 --num-heads 2 --max-train-steps 5 --train-batch-size 4)
    mv small/final/model.safetensors small.safetensors
    for turn in 0 1; do
        (pretrain --output-dir large$turn --hidden-size 256 --depth 2 --num-heads 4 --max-train-steps 1 --train-batch-size 1 \
            --validation-steps 0 --sample-steps 0 \
            --seed $turn)
        mv large$turn/final/model.safetensors large$turn.safetensors
        rm -rf small large$turn
        for format in 0 1 2; do (work_convert whole_${formats[$format]}$turn); done
    done
    printf '%s\n' 'max_train_steps: 12' 'checkpointing_steps: 4' 'validation_steps: 6' 'validation_count: 2' 'sample_steps: 6' \
        'num_samples: 8' >recipe.yaml
    for verb in "${verbs[@]}"; do
        kind=$(date +%s%N)
        [ $verb = convert ] || { (work_$verb work) && mv work whole_$verb; }
        pause[$verb]=$((($(date +%s%N) - kind) / 1000000 + 100)) finished[$verb]=0
    done
}
make_models >log 2>&1 || fail "the work that is not stopped"

while [ "$kills" -lt "$count" ] || [ "$stops" -lt "$count" ]; do
    verb=${verbs[RANDOM % ${#verbs[@]}]}
    begin
    status=1
    while [ "$status" != 0 ]; do
        (work_$verb work) >log 2>&1 &
        pid=$!
        end_it
        status=0
        wait $pid 2>/dev/null || status=$?
        now=$(progress)
        [ "${now:-0}" -ge "$before" ] || fail "$before pieces were there, now ${now:-0}"
        check_pieces
        case $status in
        0) finished[$verb]=$((finished[$verb] + 1)) pause[$verb]=$((pause[$verb] * 9 / 10 + 20)) ;;
        75)
            [ $stopping = 1 ] || fail "status 75 without a signal that stops"
            stops=$((stops + 1)) pause[$verb]=$((pause[$verb] * 103 / 100))
            [ $verb = convert ] && { [ -z "$(find . -name '*.tmp-*' -newer log)" ] || fail "a stop left something"; }
            ;;
        129 | 130 | 138 | 140 | 143)
            [ ! -s log ] || fail "a signal ended it with $status after it had begun"
            early=$((early + 1))
            ;;
        137) kills=$((kills + 1)) pause[$verb]=$((pause[$verb] * 103 / 100)) ;;
        *) fail "status $status" ;;
        esac
        before=${now:-0}
    done
    check_whole $new
done
tell
