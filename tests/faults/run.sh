#!/bin/bash
# run.sh PROGRAM LIBRARY COUNT|all|FIRST-LAST [COMMAND]..: lets calls of the system fail, one kind and one number after another,
# under each COMMAND of world.sh (all of them by default), by LIBRARY, which is made of fault.c. COUNT: so many cases, spread evenly;
# all: every number of every kind, but for memory the first and the last call of each chain of callers; FIRST-LAST: these of all,
# counted from 1, so that several calls can share them. Checked in each case:
#
# - the status is 0 or 1, within a minute; after an interrupted or a short call it is 0;
# - after 1, one line of standard error begins "difftune: " and names the file, and after a failed allocation speaks of memory;
# - after 0 the result has the bytes of a call without faults;
# - nothing is left under a temporary name, and what was there before is there as it was, or as it is to become;
# - the same command without faults then ends with 0 and the same bytes, from the newest checkpoint that was there.
#
# A PROGRAM made with LeakSanitizer (cmake -DCMAKE_C_FLAGS=-fsanitize=leak) ends with another status where it lost memory, and so
# fails the first check: thus no failure leaks either.
#
# Works in a folder of its own under TMPDIR, prints what it counted, also where it is ended by SIGTERM, and ends with 1 if a check
# failed.
set -u
program=$(realpath "$1")
library=$(realpath "$2")
source=$(realpath "$(dirname "$0")/../..")
count=$3
shift 3
commands=("$@")
[ $# -gt 0 ] || commands=(train train_on train_latent bank bank_on sample sample_on convert_safetensors convert_pt
    convert_diffusers cache cache_on eval_sets)
work=$(realpath "$(mktemp -d)")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
. "$source/tests/faults/world.sh"

failed=0
complain() {
    failed=$((failed + 1))
    echo "run.sh: $command: $kind $number of error $error$on: $*"
    sed 's/^/    /' log report 2>/dev/null | tail -n 12
}

# ---- comparing ----

# What differs from call to call: the times in metrics, which step a call went on from, and when a run was begun.
constant_part() {
    sed -E 's/"(samples_per_second|time_s|memory_bytes|from_step)":[^,}]*//g; s/"started": "[^"]*"//' "$1"
}

# Whether two trees of results are the same.
same_tree() {
    diff -r --exclude='events.*' --exclude=metrics.jsonl --exclude=run.json "$1" "$2" >difference || return 1
    local file
    for file in metrics.jsonl run.json; do
        [ -e "$1/run/$file" ] || continue
        cmp -s <(constant_part "$1/run/$file") <(constant_part "$2/run/$file") || { echo "$file" >difference; return 1; }
    done
}

# Whether what was there before a call that failed is there. Of the files that grow by parts any state is a good one which the next
# call goes on from.
kept_old() {
    local file
    while read -r file; do
        case $file in
        */metrics.jsonl | */manifest.json | */features.f32 | */run.json | */events.*) [ -e "out/$file" ] && continue ;;
        esac
        cmp -s "out/$file" "before/$command/$file" && continue
        cmp -s "out/$file" "after/$command/$file" && continue
        [ -e "out/$file" ] || [ -e "after/$command/$file" ] || continue
        case $file in */shard-*) continue ;; esac
        echo "$file" >difference
        return 1
    done <"before/$command.files"
}

# ---- one case ----

begin() {
    rm -rf out log report
    cp -a "before/$command" out
}

# fault NAME=VALUE..: the command with these in the environment of its program, which then has the library.
fault() {
    local status=0
    faults=("$@" LD_PRELOAD="$library")
    "$command" 2>log || status=$?
    faults=()
    return $status
}

step_of() { sed -n -E 's/^resuming from .*step-0*([0-9]+)$/\1/p' "$1"; }

# Whether the line names a file of a call that failed, by its path or as one in its folder.
names_a_file() {
    local path line
    line=$(grep '^difftune: ' log)
    while read -r path; do
        [[ $path == */* ]] || path=/$path
        [[ $line == *"${path%/*}"*"${path##*/}"* ]] && return 0
    done < <(sed 's/.* //; s|^'"$work"'/||; s/\.tmp-[0-9]*$//' report)
    return 1
}

# Whether it is the removal of something that failed: what stays then harms nobody.
left_is_fault() { [ "$kind" = unlink ] || grep -q '\.old\.tmp-[0-9]*$' report; }
forgive_left() {
    local file
    left_is_fault || return 0
    find out \( -name '*.tmp-*' -o -name difftune.lock \) -exec rm -rf {} +
    [ "$kind" = unlink ] || return 0
    while read -r file; do # such as a shard that a longer one stands for
        [ -e "after/$command/$file" ] || rm "out/$file"
    done < <(cd out && find . -type f)
}

# After a call that ended with 1: what it said, and what it left.
check_failure() {
    local left
    case $error in 0 | 4) complain "an interrupted or short call was not survived" ;; esac
    [ "$(grep -c '^difftune: ' log)" = 1 ] || complain "not one line that says why"
    if [ "$kind" = allocate ]; then
        grep '^difftune: ' log | grep -qi memory || complain "the line does not speak of memory"
    else
        names_a_file || complain "the line names no file of a call that failed"
    fi
    left=$(find out -name '*.tmp-*' -o -name unfinished -o -name difftune.lock)
    left_is_fault || [ -z "$left" ] || complain "left: $left"
    kept_old || complain "lost: $(cat difference)"
}

# The same command again, without faults.
check_going_on() {
    local earliest
    mv log first
    "$command" 2>log || { complain "the same command then ends with $?"; return; }
    grep -q 'passed over' log && complain "what was written was not whole"
    earliest=$(step_of "before/$command.second")
    [ -z "$earliest" ] || [ "$(step_of log)" -ge "$earliest" ] || complain "went on from step $(step_of log)"
    forgive_left
    same_tree out "after/$command" || complain "the same command then has another result: $(head -n 3 difference)"
}

try() {
    local settings=(FAULT_KIND="$kind" FAULT_AT="$number" FAULT_ERROR="$error" FAULT_REPORT="$work/report") status=0
    [ -z "$on" ] || settings+=(FAULT_ON=1)
    begin
    fault "${settings[@]}" || status=$?
    cases=$((cases + 1))
    if [ ! -e report ]; then
        unreached=$((unreached + 1))
        [ $status = 0 ] || complain "status $status without a fault"
    elif [ $status = 0 ]; then
        survived=$((survived + 1))
        forgive_left
        same_tree out "after/$command" || complain "status 0 and another result: $(head -n 3 difference)"
    elif [ $status = 1 ]; then
        check_failure
        check_going_on
    else
        complain "status $status"
    fi
}

# ---- all cases of a command ----

# Lines "kind number error on" for what a call does.
list_cases() {
    local kind errors error
    rm -f list
    begin
    fault FAULT_LIST="$work/list" || return 1
    while read -r kind errors; do
        awk -v kind="$kind" '
            $1 == kind && kind == "allocate" { if (!first[$3]) first[$3] = $2; last[$3] = $2 }
            $1 == kind && kind != "allocate" { print $2 }
            END { for (c in first) { print first[c]; if (last[c] != first[c]) print last[c] } }' list | sort -n >numbers
        for error in $errors; do
            sed "s/.*/$kind & ${error%+} ${error//[^+]/}/" numbers
        done
    done <<'END'
allocate 12 12+
open 5 4 24
read 5 4 0
write 28 28+ 5 4 0 0+ 4+
sync 5 28+ 4
rename 5 28+
mkdir 28
resize 28 4 95
map 12
close 5 4
unlink 5
END
}

# Its result without faults, on top of what was there before.
prepare() {
    local earlier
    mkdir -p "before/$command" out
    case $command in
    *_on) earlier=${command%_on} ;;
    convert_*) earlier=other_$command ;;
    *) earlier='' ;;
    esac
    if [ "$earlier" ]; then
        rm -rf out/*
        "$earlier" 2>"before/$command.log" || return 1
        cp -a out/. "before/$command"
    fi
    (cd "before/$command" && find . -type f -printf '%P\n') >"before/$command.files"
    begin
    "$command" 2>"before/$command.second" || return 1
    cp -a out "after/$command"
}

make_world || exit 2
for command in "${commands[@]}"; do
    kind=none number=0 error=0 on=''
    prepare || { complain "without a fault"; exit 2; }
    list_cases >"$command.cases" || { complain "listing its calls"; exit 2; }
done
total=$(cat ./*.cases | wc -l) cases=0 survived=0 unreached=0 seen=0
case $count in
*-*) first=${count%-*} last=${count#*-} count=$total ;;
all) first=1 last=$total count=$total ;;
*) first=1 last=$total ;;
esac
chosen() { [ "$seen" -ge "$first" ] && [ "$seen" -le "$last" ] && [ $((seen * count / total)) != $(((seen - 1) * count / total)) ]; }
report() {
    echo "$cases faults under ${commands[*]}: $survived survived, $((cases - survived - unreached)) told and gone on from," \
        "$unreached not reached; $failed failed checks"
}
trap 'report; exit 1' TERM INT
for command in "${commands[@]}"; do
    before=$cases
    while read -r kind number error on <&3; do
        seen=$((seen + 1))
        if chosen; then try; fi
    done 3<"$command.cases"
    echo "$command: $((cases - before)) of $(wc -l <"$command.cases") cases"
done
report
[ $failed = 0 ]
