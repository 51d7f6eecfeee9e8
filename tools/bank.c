#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_bank(ctx, s, observer);
}

const verb bank_verb = {
    .section = VERB_STEP,
    .name = "bank",
    .summary = "draws the memory bank: images of the model as it is, for train",
    .description = "Draws the memory bank: images that the pre-trained model makes by itself, without a class. "
                   "Training by Diff-Tuning uses them beside your images, so that the model keeps what it knows "
                   "about the last, nearly clean steps. Writes safetensors shards and a manifest into the folder of "
                   "--bank. An interrupted call goes on with the same command, to the same bits.",
    .example = "  difftune bank --pretrained-model base.safetensors --bank bank --clip-sample\n",
    .needs = "pretrained_model bank",
    .often = "bank_size num_inference_steps clip_sample mixed_precision device",
    .keys = SETTINGS_BANK,
    .run = run,
};
