#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    (void)observer;
    return dt_predict(ctx, s);
}

const verb predict_verb = {
    .section = VERB_FILES,
    .name = "predict",
    .summary = "one forward pass on tensors from a file",
    .description =
        "Runs the model once on the tensors x [N,C,H,W], t [N] and what it is told, of the safetensors file --input, "
        "and writes the prediction into --output. Told are the class y [N], of a UNet the context (or --prompt), and "
        "with --controlnet-model the map control. With x0 and noise instead of x it also writes the terms of the "
        "training loss and, with --gradients, every parameter's gradient. For debugging, and for comparison with "
        "other implementations.",
    .example = "  difftune predict --pretrained-model base.safetensors --input in.safetensors \\\n"
               "      --output out.safetensors\n",
    .needs = "pretrained_model input output",
    .often = "gradients",
    .keys = SETTINGS_PREDICT,
    .in_one_piece = true,
    .run = run,
};
