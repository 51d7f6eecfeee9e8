#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_train(ctx, s, observer);
}

const verb train_verb = {
    .name = "train",
    .summary = "tunes a model to a folder of images, or trains one from nothing",
    .description = "Tunes the model of --pretrained-model to the images of --train-data by Diff-Tuning (or by plain "
                   "fine-tuning, or trains a new model with --method pretrain). The run folder --output-dir receives "
                   "the resolved settings, checkpoints, logs, sample grids and final/model.safetensors. Running the "
                   "same command again goes on from the newest whole checkpoint. SIGINT and SIGTERM write a "
                   "checkpoint first.",
    .example = "  difftune train --pretrained-model base.safetensors --train-data my_images --bank bank \\\n"
               "      --output-dir run --max-train-steps 24000\n",
    .keys = SETTINGS_TRAIN,
    .run = run,
};
