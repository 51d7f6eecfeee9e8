# What run.sh and flips.sh share, to be sourced in an empty folder with `program` set to the program and `source` to the folder of
# the source tree: pictures, models, and the commands that are tried, each of which writes below out/ only.

faults=() # NAME=VALUE.. in the environment of the program
difftune() { timeout 60 env "${faults[@]}" "$program" "$@"; }

# Sixteen pictures of two classes to train on and four to validate on, drawn by the shipped base, which is quick and needs no
# other file; base.safetensors and other.safetensors, small models of pixels; latent.safetensors, one of latents.
make_world() {
    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 LC_ALL=C
    difftune sample --pretrained-model "$source/demo/base.safetensors" --output-dir drawn --num-samples 20 \
        --num-inference-steps 1 --threads 1 2>/dev/null
    mkdir -p pictures/a pictures/b held/a held/b before after
    local picture i=0
    for picture in drawn/images/*.png; do
        case $((i % 10)) in
        0) cp "$picture" held/a ;;
        1) cp "$picture" held/b ;;
        [2468]) cp "$picture" pictures/a ;;
        *) cp "$picture" pictures/b ;;
        esac
        i=$((i + 1))
    done
    cp "$source/tests/vectors/codec_tiny.safetensors" codec.safetensors
    pretrain base 16 --seed 1
    pretrain other 16 --seed 2
    pretrain latent 32 --vae codec.safetensors --cache-dir latents --patch-size 2
    mkdir replayed
    mv drawn/images replayed
    rm -r drawn latents
}

# pretrain NAME RESOLUTION FLAGS..
pretrain() {
    local name=$1 resolution=$2
    shift 2
    difftune train --method pretrain --train-data pictures --output-dir run --resolution "$resolution" --hidden-size 16 \
        --depth 1 --num-heads 2 --patch-size 4 --max-train-steps 1 --train-batch-size 2 --threads 1 "$@" 2>/dev/null
    mv run/final/model.safetensors "$name.safetensors"
    rm -r run
}

# ---- the commands ----

train_to() {
    difftune train --pretrained-model base.safetensors --train-data pictures --validation-data held --bank replayed \
        --output-dir out/run --train-batch-size 4 --checkpointing-steps 1 --validation-steps 2 --sample-steps 2 \
        --num-inference-steps 2 --num-samples 4 --validation-count 4 --ema-decay 0.5 --checkpoints-total-limit 2 --threads 1 --max-train-steps "$1"
}
train_with_bank() {
    difftune train --pretrained-model base.safetensors --train-data pictures --bank out/bank --output-dir run --train-batch-size 4 \
        --validation-steps 0 --sample-steps 0 --max-train-steps 1 --threads 1
}
train() { train_to 2; }
train_on() { train_to 4; }
train_latent() {
    difftune train --method finetune --pretrained-model latent.safetensors --vae codec.safetensors --train-data pictures \
        --cache-dir out/latents --output-dir out/run --train-batch-size 4 --checkpointing-steps 2 --validation-steps 0 \
        --sample-steps 0 --threads 1 --max-train-steps 2 --save-model-as pt
}
bank_of() {
    difftune bank --pretrained-model base.safetensors --bank out/bank --bank-size "$1" --bank-shard-size 4 \
        --num-inference-steps 2 --sample-batch-size 2 --threads 1
}
bank() { bank_of 6; }
bank_on() { bank_of 11; }
sample_of() {
    difftune sample --pretrained-model base.safetensors --output-dir out/samples --num-samples "$1" --num-inference-steps 2 \
        --sample-batch-size 2 --threads 1 --save-stack out/stack.npz --save-statistics out/statistics.npz \
        --feature base --feature-weights base.safetensors
}
sample() { sample_of 4; }
sample_on() { sample_of 7; }
convert_to() {
    difftune convert --pretrained-model "$1.safetensors" --output "out/model$3" --save-model-as "$2"
}
convert_safetensors() { convert_to base safetensors .safetensors; }
convert_pt() { convert_to base pt .pt; }
convert_diffusers() { convert_to base diffusers ""; }
other_convert_safetensors() { convert_to other safetensors .safetensors; }
other_convert_pt() { convert_to other pt .pt; }
other_convert_diffusers() { convert_to other diffusers ""; }
cache_of() {
    difftune cache --vae codec.safetensors --train-data pictures --resolution 32 --cache-dir out/latents --threads 1 "$@"
}
cache() { cache_of; }
cache_on() { cache_of --validation-data held; }
eval_sets() {
    difftune eval --pretrained-model base.safetensors --reference held --candidate pictures --resolution 16 --threads 1 \
        >out/distances
}
