#!/bin/sh
# Fuzzes the safetensors reader with clang's libFuzzer under ASan and UBSan: run.sh [SECONDS] (default 60).
# New inputs and findings go to a folder below $TMPDIR, which is named at the end.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
work=$(mktemp -d)
clang -std=gnu17 -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -I"$root/include" -I"$root/src" "$here/fuzz_safetensors.c" "$root/src/io/safetensors_read.c" \
    "$root/src/io/tensor_file.c" "$root/src/io/dtype.c" "$root/src/io/file.c" "$root/src/base/error.c" $(pkg-config --cflags --libs jansson nettle) -o "$work/fuzz"
mkdir "$work/found"
cd "$work"
./fuzz -max_total_time="${1:-60}" -max_len=4096 -print_final_stats=1 -dict="$here/safetensors.dict" \
    "$work/found" "$here/corpus"
echo "inputs in $work/found"
