#!/usr/bin/env bash
# The main job on what the repository ships: Debian's colour emoji are held against the base model, which is then tuned to them
# plainly, by Diff-Tuning, and as that diagnosis recommends, with the same budget and seed. A report shows what came out.
#
#     ./demo.sh [OUTPUT]      results go to OUTPUT (default: demo/out); an interrupted demo goes on where it was
set -euo pipefail
cd "$(dirname "$0")"
source ./setup.sh

out=${1:-demo/out}
steps=240
base=demo/base.safetensors
difftune=build/difftune

install_missing_packages
packages_installed=$SECONDS
build build -DDT_TESTS=OFF -DDT_CUDA=OFF # which takes minutes to compile and is not used here

echo "== drawing the emoji of $(basename /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf)"
mkdir -p "$out"
[ -d "$out/emoji" ] || build/demo/emoji --font /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf \
    --emoji-test /usr/share/unicode/emoji/emoji-test.txt --size 32 --output "$out/emoji"

echo "== memory bank: the base model's own images"
$difftune bank --config demo/demo.yaml --pretrained-model $base --bank "$out/bank"

data=(--pretrained-model $base --train-data "$out/emoji/train" --validation-data "$out/emoji/heldout" --bank "$out/bank")
echo "== diagnosis: what the base knows of the emoji, before any training"
$difftune diagnose --config demo/demo.yaml --max-train-steps $steps "${data[@]}" --validation-count 128 --output-dir "$out/diagnosis"

runs=(finetune diff-tuning)
for method in "${runs[@]}"; do
    echo "== tuning: $method, $steps steps"
    $difftune train --config demo/demo.yaml --method $method --max-train-steps $steps "${data[@]}" --output-dir "$out/$method"
done
if grep -q '^method: finetune$' "$out/diagnosis/train.yaml" && ! grep -q '^adapter:' "$out/diagnosis/train.yaml"; then
    echo "== the diagnosis recommends plain fine-tuning, which is the first of the two"
else
    echo "== tuning: as the diagnosis recommends, $steps steps"
    $difftune train --config "$out/diagnosis/train.yaml" --validation-count 40 --output-dir "$out/recommended"
    runs+=(recommended)
fi

echo "== samples"
for run in "${runs[@]}"; do
    $difftune sample --config demo/demo.yaml --pretrained-model "$out/$run" --output-dir "$out/$run-samples"
done

$difftune report --runs "$(printf "$out/%s," diagnosis "${runs[@]}")" --output "$out/report.html" \
    --title "Debian's emoji: plain fine-tuning and Diff-Tuning, same budget and seed"
echo "== done in $((SECONDS - packages_installed)) s: $out/report.html"
