#!/bin/sh
# Fuzzes one reader with clang's libFuzzer under ASan and UBSan: run.sh TARGET [SECONDS] (default 60), where TARGET is
# tensor_file, pickle, npz or mat_file. New inputs and findings go to a folder below $TMPDIR, which is named at the end.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
target=${1:?tensor_file, pickle, npz or mat_file expected}
case $target in
tensor_file) sources="tensor_file dtype safetensors_read pytorch_file pytorch_tensors pickle zip_directory file" ;;
pickle) sources="pickle" ;;
npz) sources="npz file" ;;
mat_file) sources="mat_file file" ;;
*) echo "$target: tensor_file, pickle, npz or mat_file expected" >&2; exit 1 ;;
esac
work=$(mktemp -d)
files=
for source in $sources; do files="$files $root/src/io/$source.c"; done
# shellcheck disable=SC2086,SC2046
clang -std=gnu17 -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -I"$root/include" -I"$root/src" "$here/fuzz_$target.c" $files "$root/src/base/error.c" "$root/src/base/arena.c" \
    $(pkg-config --cflags --libs jansson nettle libarchive zlib) -o "$work/fuzz"
mkdir "$work/found"
cd "$work"
./fuzz -max_total_time="${2:-60}" -max_len=8192 -print_final_stats=1 -dict="$here/$target.dict" "$work/found" \
    "$here/corpus/$target"
echo "inputs in $work/found"
