#!/bin/bash
# check_run_paths.sh FOLDER: every part of the run path of every program and library below FOLDER begins with / or $ORIGIN. In
# an empty or relative part the loader looks for libraries in the current folder, whoever filled it.
set -u
checked=0
bad=0
while IFS= read -r -d '' file; do
    dynamic=$(readelf -d "$file" 2>/dev/null) || continue
    grep -q NEEDED <<<"$dynamic" || continue
    checked=$((checked + 1))
    while IFS= read -r path; do
        rest=$path:
        while [ -n "$rest" ]; do
            part=${rest%%:*}
            rest=${rest#*:}
            case $part in
            /* | '$ORIGIN' | '$ORIGIN/'*) ;;
            *) echo "$file: run path \"$path\" has the part \"$part\""; bad=1 ;;
            esac
        done
    done < <(sed -n -E 's/.*\((RPATH|RUNPATH)\)[^[]*\[(.*)\]$/\2/p' <<<"$dynamic")
done < <(find "$1" -type f \( -perm -u+x -o -name '*.so*' \) -not -path '*/CMakeFiles/*' -print0)
[ "$checked" -gt 0 ] || { echo "no program and no library below $1"; exit 1; }
exit $bad
