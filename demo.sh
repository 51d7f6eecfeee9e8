#!/usr/bin/env bash
# The main job on what the repository ships: the base model is tuned to Debian's colour emoji twice with the same budget
# and seed, plainly and by Diff-Tuning, and a report shows what came out.
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

for method in finetune diff-tuning; do
    echo "== tuning: $method, $steps steps"
    $difftune train --config demo/demo.yaml --method $method --max-train-steps $steps --pretrained-model $base \
        --train-data "$out/emoji/train" --validation-data "$out/emoji/heldout" --bank "$out/bank" --output-dir "$out/$method"
done

echo "== samples"
for method in finetune diff-tuning; do
    $difftune sample --config demo/demo.yaml --pretrained-model "$out/$method" --output-dir "$out/$method-samples"
done

$difftune report --runs "$out/finetune,$out/diff-tuning" --output "$out/report.html" \
    --title "Debian's emoji: plain fine-tuning and Diff-Tuning, same budget and seed"
echo "== done in $((SECONDS - packages_installed)) s: $out/report.html"
