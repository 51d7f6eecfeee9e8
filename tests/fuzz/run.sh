#!/bin/sh
# Fuzzes readers with clang's libFuzzer under ASan and UBSan:
#
#   run.sh TARGET [SECONDS]    one reader, which is a fuzz_TARGET.c here (default 60 s)
#   run.sh all [SECONDS]       every reader in turn, so many seconds each, by $FUZZ_JOBS processes (default 1)
#
# New inputs and findings stay below $FUZZ_OUT (default: a new folder, named at the end), with a log for each target and, in
# totals.txt, a line for each round of a target: its name, executions, seconds of CPU, findings. A target goes on from the inputs
# that an earlier round found there. An input that takes 10 s or 1 GiB is a finding.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${1:-}
seconds=${2:-60}
all=
for source in "$here"/fuzz_*.c; do
    name=${source##*/fuzz_}
    all="$all ${name%.c}"
done
if [ "$target" != all ] && [ ! -f "$here/fuzz_$target.c" ]; then
    echo "run.sh TARGET|all [SECONDS]; targets:$all" >&2
    exit 1
fi
out=${FUZZ_OUT:-$(mktemp -d)}
build=${FUZZ_BUILD:-$root/build-fuzz}
mkdir -p "$out"

# clang may have no OpenMP of its own: gcc's header and library do, and its pragmas are passed over.
CC=clang cmake -S "$root" -B "$build" -G Ninja -DDT_FUZZ=ON -DDT_CUDA=OFF \
    -DOpenMP_C_FLAGS="-idirafter $(gcc -print-file-name=include)" -DOpenMP_C_LIB_NAMES=gomp \
    -DOpenMP_gomp_LIBRARY="$(gcc -print-file-name=libgomp.so)" > "$out/build.log"
[ "$target" = all ] && programs=fuzz_programs || programs=fuzz_$target
ninja -C "$build" "$programs" >> "$out/build.log"

# The files that targets make belong in memory.
[ -w /dev/shm ] && TMPDIR=${TMPDIR:-/dev/shm} && export TMPDIR

fuzz() {
    name=$1
    mkdir -p "$out/$name" "$out/findings"
    dictionary=
    [ -f "$here/$name.dict" ] && dictionary=-dict=$here/$name.dict
    log=$out/$name.log
    # shellcheck disable=SC2086
    (
        "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=1024 \
            -malloc_limit_mb=1024 -print_final_stats=1 $dictionary -artifact_prefix="$out/findings/$name-" \
            "$out/$name" "$here/corpus/$name" > "$log" 2>&1 || true
        times
    ) > "$out/$name.times"
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    cpu=$(awk 'NR == 2 { split($1, user, /[ms]/); split($2, kernel, /[ms]/)
        print int(user[1] * 60 + user[2] + kernel[1] * 60 + kernel[2]) }' "$out/$name.times")
    found=$(find "$out/findings" -name "$name-*" | wc -l)
    echo "$name ${executions:-0} $cpu $found" >> "$out/totals.txt"
}

if [ "$target" != all ]; then
    fuzz "$target"
    tail -n 20 "$out/$target.log"
else
    running=0
    for name in $all; do
        fuzz "$name" &
        running=$((running + 1))
        if [ "$running" -ge "${FUZZ_JOBS:-1}" ]; then
            wait
            running=0
        fi
    done
    wait
fi
awk '{ executions[$1] += $2; cpu[$1] += $3; found[$1] = $4; all += $2; seconds += $3 }
    END { for (name in cpu) print name, executions[name], cpu[name] " s", found[name] " findings"
          print "all", all, seconds " s" }' "$out/totals.txt" | sort
echo "inputs and findings in $out"
