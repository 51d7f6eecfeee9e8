#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_convert(ctx, s, observer);
}

const verb convert_verb = {
    .section = VERB_FILES,
    .name = "convert",
    .summary = "writes a model for another program: safetensors, .pt for DiT's code, diffusers",
    .description =
        "Writes the model of --pretrained-model (a file of safetensors or torch.save, a run folder, or a folder of "
        "diffusers) as --output: safetensors with DiT's names, a .pt file that DiT's own sample.py loads, or a folder "
        "that diffusers loads as DiTTransformer2DModel. diffusers computes other time frequencies than DiT, so its "
        "images differ a little; nothing in a file can change that. Metadata go along unless --no-metadata.",
    .example = "  difftune convert --pretrained-model run --save-model-as pt --output DiT-cars.pt\n"
               "  difftune convert --pretrained-model DiT-XL-2-256x256.pt --save-model-as diffusers \\\n"
               "      --output transformer\n",
    .needs = "pretrained_model output",
    .often = "save_model_as save_dtype",
    .keys = SETTINGS_CONVERT,
    .run = run,
};
