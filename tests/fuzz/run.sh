#!/bin/sh
# Fuzzes one reader with clang's libFuzzer under ASan and UBSan: run.sh TARGET [SECONDS] (default 60), where TARGET is
# tensor_file, pickle, npz, mat_file, image, dataset, settings, latent_cache or diffusers. New inputs and findings go to a
# folder below $TMPDIR, which is named at the end.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
targets="tensor_file, pickle, npz, mat_file, image, dataset, settings, latent_cache or diffusers expected"
target=${1:?$targets}
pictures="image/image image/image_codec image/image_decode image/image_jpeg image/image_png image/image_webp
    image/image_bmp image/image_gif image/image_tiff image/image_avif file/file"
case $target in
tensor_file)
    sources="container/tensor_file container/tensor_open container/dtype container/safetensors_read container/pytorch_file container/pytorch_tensors container/pickle container/zip_directory file/file" ;;
pickle) sources="container/pickle" ;;
npz) sources="container/npz data/sample_stack $pictures" ;;
mat_file) sources="container/mat_file file/file" ;;
image) sources=$pictures ;;
dataset) sources="data/dataset data/dataset_json data/dataset_plan data/dataset_report data/dataset_source data/dataset_labels data/archive_file image/resample file/json_file $pictures" ;;
latent_cache)
    sources="data/latent_cache container/tensor_file container/tensor_open container/tensor_source container/dtype container/safetensors_read container/safetensors_write
        container/pytorch_file container/pytorch_tensors container/pickle container/zip_directory file/json_file file/file" ;;
diffusers)
    sources="model/dit/dit_diffusers model/file/aliases container/tensor_file container/tensor_open container/tensor_source container/dtype container/safetensors_read container/safetensors_write
        container/pytorch_file container/pytorch_tensors container/pickle container/zip_directory file/json_file file/file" ;;
settings) sources="settings/settings settings/settings_table settings/settings_yaml settings/settings_arms file/file" ;;
*) echo "$target: $targets" >&2; exit 1 ;;
esac
work=$(mktemp -d)
files=
for source in $sources; do files="$files $root/src/$source.c"; done
# clang here may have no OpenMP of its own; gcc's header and library do for a reader.
# shellcheck disable=SC2086,SC2046
clang -std=gnu17 -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -I"$root/include" -I"$root/src" -idirafter "$(gcc -print-file-name=include)" "$here/fuzz_$target.c" $files \
    "$root/src/base/error.c" "$root/src/base/text.c" "$root/src/base/say.c" "$root/src/base/arena.c" -lm "$(gcc -print-file-name=libgomp.so)" \
    $(pkg-config --cflags --libs jansson nettle libarchive zlib libjpeg libpng libwebp libtiff-4 libgif libavif yaml-0.1) \
    -o "$work/fuzz"
mkdir "$work/found"
cd "$work"
./fuzz -max_total_time="${2:-60}" -max_len=8192 -print_final_stats=1 -dict="$here/$target.dict" "$work/found" \
    "$here/corpus/$target"
echo "inputs in $work/found"
