#!/bin/sh
# Fuzzes one reader with clang's libFuzzer under ASan and UBSan: run.sh TARGET [SECONDS] (default 60), where TARGET is
# tensor_file, pickle, npz, mat_file, image, dataset, settings, latent_cache or diffusers. New inputs and findings go to a
# folder below $TMPDIR, which is named at the end.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
targets="tensor_file, pickle, npz, mat_file, image, dataset, settings, latent_cache or diffusers expected"
target=${1:?$targets}
pictures="io/image io/image_jpeg io/image_png io/image_webp io/file"
case $target in
tensor_file)
    sources="io/tensor_file io/dtype io/safetensors_read io/pytorch_file io/pytorch_tensors io/pickle io/zip_directory io/file" ;;
pickle) sources="io/pickle" ;;
npz) sources="io/npz io/sample_stack $pictures" ;;
mat_file) sources="io/mat_file io/file" ;;
image) sources=$pictures ;;
dataset) sources="io/dataset io/dataset_plan io/dataset_report io/dataset_source io/resample $pictures" ;;
latent_cache)
    sources="data/latent_cache io/tensor_file io/tensor_source io/dtype io/safetensors_read io/safetensors_write
        io/pytorch_file io/pytorch_tensors io/pickle io/zip_directory io/json_file io/file" ;;
diffusers)
    sources="model/dit_diffusers io/tensor_file io/tensor_source io/dtype io/safetensors_read io/safetensors_write
        io/pytorch_file io/pytorch_tensors io/pickle io/zip_directory io/json_file io/file" ;;
settings) sources="train/settings train/settings_table train/settings_yaml io/file" ;;
*) echo "$target: $targets" >&2; exit 1 ;;
esac
work=$(mktemp -d)
files=
for source in $sources; do files="$files $root/src/$source.c"; done
# clang here may have no OpenMP of its own; gcc's header and library do for a reader.
# shellcheck disable=SC2086,SC2046
clang -std=gnu17 -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -I"$root/include" -I"$root/src" -idirafter "$(gcc -print-file-name=include)" "$here/fuzz_$target.c" $files \
    "$root/src/base/error.c" "$root/src/base/arena.c" -lm "$(gcc -print-file-name=libgomp.so)" \
    $(pkg-config --cflags --libs jansson nettle libarchive zlib libjpeg libpng libwebp libexif libcyaml yaml-0.1) \
    -o "$work/fuzz"
mkdir "$work/found"
cd "$work"
./fuzz -max_total_time="${2:-60}" -max_len=8192 -print_final_stats=1 -dict="$here/$target.dict" "$work/found" \
    "$here/corpus/$target"
echo "inputs in $work/found"
