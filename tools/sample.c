#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_sample(ctx, s, observer);
}

const verb sample_verb = {
    .section = VERB_STEP,
    .name = "sample",
    .summary = "draws images from the tuned model",
    .description = "Draws images from a run folder or a model file into --output-dir: one PNG each, with its settings "
                   "in the PNG's text, and a labelled grid.png. A model of pixels, such as the shipped one, wants "
                   "--clip-sample; a model of latents needs --vae. The same seed gives the same images, and an "
                   "interrupted call goes on with the same command, to the same bits. With --save-statistics the "
                   "images also go into the statistics of a distance; with --save-images 0 they go nowhere else.",
    .example = "  difftune sample --pretrained-model run --output-dir samples --num-samples 32 --clip-sample\n",
    .needs = "pretrained_model output_dir",
    .often = "vae num_samples classes guidance_scale num_inference_steps clip_sample seed device",
    .keys = SETTINGS_SAMPLE,
    .run = run,
};
