#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_diagnose(ctx, s, observer);
}

const verb diagnose_verb = {
    .section = VERB_STEP,
    .name = "diagnose",
    .summary = "measures, before training, whether and how Diff-Tuning fits model and images",
    .description =
        "Asks the frozen model of --pretrained-model how well it denoises the images of --validation-data, or else of "
        "--train-data, over t, beside samples of its own: those of --bank, or a few that it draws. With --source-data, "
        "images like those the model was trained on, it also tells whether its samples are good enough for a bank. "
        "Says in words what follows for this many steps and images, with 95 % intervals, and writes diagnosis.json and "
        "train.yaml, settings for difftune train --config, into --output-dir.",
    .example = "  difftune diagnose --pretrained-model base.safetensors --train-data my_images \\\n"
               "      --output-dir diagnosis\n",
    .needs = "pretrained_model train_data output_dir",
    .often = "validation_data source_data bank vae max_train_steps train_batch_size validation_count device",
    .keys = SETTINGS_DIAGNOSE,
    .run = run,
};
