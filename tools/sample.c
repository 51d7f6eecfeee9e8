#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_sample(ctx, s, observer);
}

const verb sample_verb = {
    .name = "sample",
    .summary = "draws images from a model",
    .description = "Draws images from a model file or a run folder into --output-dir: one PNG each, with its settings "
                   "in the PNG's text, and a labelled grid.png. With --save-statistics the images also, or with "
                   "--save-images 0 only, go into the statistics of --feature. The same seed gives the same images; "
                   "an interrupted call goes on with the same command, to the same bits.",
    .example = "  difftune sample --pretrained-model run --output-dir samples --classes 0,3 --num-samples 32\n",
    .keys = SETTINGS_SAMPLE,
    .run = run,
};
