#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_train(ctx, s, observer);
}

const verb train_verb = {
    .section = VERB_STEP,
    .name = "train",
    .summary = "tunes the model to a folder of images",
    .description =
        "Tunes the model of --pretrained-model to the images of --train-data, a folder with one folder for "
        "each class. By default by Diff-Tuning that keeps what the model predicts at nearly clean steps: on the "
        "memory bank of --bank (difftune bank) if it is given, else on your images; with a control nothing. "
        "--preset paper needs the bank and trains on it, --method finetune keeps nothing, --method pretrain makes a "
        "new model. The run folder --output-dir receives the settings, logs, sample grids, checkpoints and the result, "
        "final/model.safetensors. The same command again goes on from the newest checkpoint; SIGINT (Ctrl-C) and "
        "SIGTERM write one first.",
    .example = "  difftune train --pretrained-model base.safetensors --train-data my_images --bank bank \\\n"
               "      --output-dir run --clip-sample\n",
    .needs = "pretrained_model train_data output_dir",
    .often =
        "bank vae method preset max_train_steps train_batch_size learning_rate ema_warmup validation_data clip_sample "
        "mixed_precision device",
    .keys = SETTINGS_TRAIN,
    .run = run,
};
