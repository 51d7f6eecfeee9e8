#!/bin/bash
# ranks.sh PROGRAM LAUNCHER COUNT [SEED]: training by 2, 3 and 4 processes, one of which is ended at random moments until COUNT
# were ended by kill -9, and about as many by SIGTERM; the same command goes on until the run is finished, then the next run begins.
# LAUNCHER is mpirun, torchrun (of $PYTHON's PyTorch), or hand: processes with torchrun's variables. Checked after each end: all
# processes end (within 120 seconds, on a machine that others use too); no checkpoint that was there is lost, and the next call goes on
# from the newest; after SIGTERM all ranks stop with a checkpoint and status 75; where a rank names the one that was killed, the
# checkpoint that it names is there, and one always does where no launcher ends the others. What is finished has the bytes of the run by
# as many ranks that was never stopped. With COUNT 0 two runs by two ranks are compared and no more, as the suite does. Says "skipped"
# where mpirun or the program's module is missing. Says what it counted, also where it is ended by SIGTERM. Works in a folder of its own under TMPDIR.
set -eu
program=$(realpath "$1")
source=$(realpath "$(dirname "$0")/..")
launcher=$2
count=$3
RANDOM=${4:-1}
if [ $launcher = mpirun ] && { ! command -v mpirun >/dev/null || [ ! -e "$(dirname "$program")/libdifftune_mpi.so" ]; }; then
    echo "skipped: no mpirun, or a build without -DDT_MPI=ON"
    exit 77
fi
export OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export TMPDIR=$work # of Open MPI's sessions too
. "$source/tests/faults/world.sh"

kills=0 stops=0 told=0
fail() {
    echo "ranks.sh, $ranks ranks, after $kills kills and $stops stops: $*" >&2
    tail -n 30 log >&2
    exit 1
}

by_torchrun() { exec "${PYTHON:-python3}" -B -m torch.distributed.run --nproc-per-node $ranks --no-python "$@"; }
by_mpirun() { exec mpirun --oversubscribe --bind-to none --mca odls_base_sigkill_timeout 4 -n $ranks "$@"; }

# As launchers do, ends the others 20 seconds after one was ended: who has not met the others yet waits for them. Ends with 0 or 75
# where all ranks do, else with 1.
by_hand() {
    local index status together=none watchdog='' pids=()
    export WORLD_SIZE=$ranks MASTER_ADDR=localhost MASTER_PORT=$((20000 + RANDOM % 10000))
    for ((index = 0; index < ranks; index++)); do
        RANK=$index "$@" &
        pids+=($!)
    done
    while [ -n "$(jobs -r)" ]; do
        status=0
        wait -n || status=$?
        [ $together = none ] && together=$status
        [ $together = $status ] || together=1
        case $status:$watchdog in *:?* | 0: | 75:) continue ;; esac
        (sleep 20 && kill -KILL "${pids[@]}" 2>/dev/null) &
        watchdog=$!
        disown $watchdog
    done
    [ -z "$watchdog" ] || kill $watchdog 2>/dev/null || true
    exit $together
}

# The run in the folder $1 by $ranks ranks; ends the process.
train() {
    by_$launcher "$program" train --method pretrain --train-data pictures --resolution 16 \
        --patch-size 4 --hidden-size 32 --depth 2 --num-heads 2 --train-batch-size 6 --max-train-steps 24 --checkpointing-steps 2 \
        --validation-steps 12 --validation-count 2 --sample-steps 12 --num-samples 4 --num-inference-steps 5 --threads 1 \
        --output-dir "$1"
}

newest() { find run/checkpoints -name 'step-*' 2>/dev/null | grep -E 'step-[0-9]+$' | sed 's/.*-0*//' | sort -n | tail -1; }
went_on_from() { sed -n -E 's/^resuming .*step-0*([0-9]+).*/\1/p' log | head -1; }

# Ends one of the ranks, children of $1; `signal` is then how, "" where there was none any more.
end_one() {
    local pids
    signal=
    # most of the time while it trains
    [ $((RANDOM % 4)) = 0 ] || while kill -0 "$1" 2>/dev/null && ! grep -q '^ranks:' log; do sleep 0.05; done
    sleep 0.$(printf %03d $((RANDOM % 1000)))
    mapfile -t pids < <(pgrep -P "$1" -f -- "--output-dir run" || true)
    [ ${#pids[@]} -gt 0 ] || return 0
    signal=KILL
    [ $((RANDOM % 2)) = 0 ] && signal=TERM
    kill -$signal "${pids[RANDOM % ${#pids[@]}]}" 2>/dev/null || signal=
}

check_end() {
    local status=$1 seconds=$2 now from
    [ "$seconds" -le 120 ] || fail "it took $seconds s to end"
    [ -z "$(pgrep -f -- "$work")" ] || fail "processes are left: $(pgrep -f -a -- "$work")"
    now=$(newest)
    [ "${now:-0}" -ge "$before" ] || fail "step $before was there, ${now:-0} is the newest"
    from=$(went_on_from)
    [ -z "$from" ] || [ "$from" = "$before" ] || fail "went on from $from instead of $before"
    before=${now:-0}
    case $status in
    0) finished=1 ;;
    75)
        [ "$signal" = TERM ] || fail "stopped without SIGTERM"
        grep -q "stopped at step $before with a checkpoint" log || fail "no word of a checkpoint of step $before"
        stops=$((stops + 1))
        ;;
    *)
        [ -n "$signal" ] || fail "status $status by itself"
        [ "$signal" = TERM ] || kills=$((kills + 1))
        if grep -q 'has ended before the' log; then
            step=$(sed -n -E 's/.*the checkpoint of step ([0-9]+) is good.*/\1/p' log | head -1)
            [ -z "$step" ] || [ -d "run/checkpoints/step-$(printf %08d "$step")" ] || fail "no checkpoint of step $step"
            told=$((told + 1))
        elif [ $launcher = hand ] && grep -q '^ranks:' log && ! grep -q '^wrote run/final' log; then
            fail "nobody names the rank that was killed"
        fi
        ;;
    esac
}

tell() {
    echo "$kills ranks ended by kill -9, $told of them named by another one; $stops stops; each run has the bytes of what was never stopped"
}
trap 'tell; exit 143' TERM

declare -A whole
ranks=2
make_world >log 2>&1 || fail "no pictures"
for run in whole2 again; do
    (train $run) >log 2>&1 || fail "the run that is not stopped"
done
cmp {again,whole2}/final/model.safetensors || fail "another result of the same run"
whole[2]=1
while [ "$kills" -lt "$count" ]; do
    ranks=$((2 + RANDOM % 3))
    if [ -z "${whole[$ranks]:-}" ]; then
        (train whole$ranks) >log 2>&1 || fail "the run that is not stopped"
        whole[$ranks]=1
    fi
    rm -rf run
    before=0 finished=0
    while [ $finished = 0 ]; do
        (train run) >log 2>&1 &
        pid=$!
        end_one $pid
        began=$SECONDS status=0
        wait $pid || status=$?
        # that of torchrun is 1 for any failure
        [ $launcher$signal != torchrunTERM ] || ! grep -q ': stopped at step' log || status=75
        check_end $status $((SECONDS - began))
    done
    cmp run/final/model.safetensors whole$ranks/final/model.safetensors || fail "another result"
    for file in model ema optimizer; do
        cmp {run,whole$ranks}/checkpoints/step-00000024/$file.safetensors || fail "another $file"
    done
    [ -z "$(find run -name '*.tmp-*')" ] || fail "left over: $(find run -name '*.tmp-*')"
done
tell
