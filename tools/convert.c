#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_convert(ctx, s, observer);
}

const verb convert_verb = {
    .section = VERB_FILES,
    .name = "convert",
    .summary = "writes a model for another program: safetensors, .pt, diffusers, original",
    .description =
        "Writes the model of --pretrained-model (a file of safetensors or torch.save, a run folder, or a folder of "
        "diffusers) as --output: safetensors or a .pt file, a DiT's with the names that DiT's own sample.py loads, "
        "others' with those of diffusers; a folder that diffusers loads as DiTTransformer2DModel, "
        "UNet2DConditionModel or ControlNetModel; or, of a UNet or ControlNet, the original layout of Stable "
        "Diffusion 1. diffusers computes other time frequencies than DiT, so its images of a DiT differ a little; "
        "nothing in a file can change that. Metadata go along unless --no-metadata.",
    .example = "  difftune convert --pretrained-model run --save-model-as pt --output DiT-cars.pt\n"
               "  difftune convert --pretrained-model DiT-XL-2-256x256.pt --save-model-as diffusers \\\n"
               "      --output transformer\n",
    .needs = "pretrained_model output",
    .often = "save_model_as save_dtype",
    .keys = SETTINGS_CONVERT,
    .run = run,
};
