#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_bank(ctx, s, observer);
}

const verb bank_verb = {
    .name = "bank",
    .summary = "draws the memory bank from the frozen model",
    .description = "Draws the memory bank: samples of the pre-trained model without a class, which training replays so "
                   "that the model does not forget what it knows. Writes safetensors shards and a manifest into the "
                   "folder of --bank. An interrupted call goes on with the same command, to the same bits.",
    .example = "  difftune bank --pretrained-model base.safetensors --bank bank --bank-size 5000\n",
    .keys = SETTINGS_BANK,
    .run = run,
};
