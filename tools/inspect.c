#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)s;
    (void)observer;
    char *json = NULL;
    dt_status status = dt_inspect(ctx, operand[0], &json);
    if (status == DT_OK) puts(json);
    dt_free(json);
    return status;
}

const verb inspect_verb = {
    .section = VERB_FILES,
    .name = "inspect",
    .summary = "what is in a model file, bank, run or cache folder, as JSON",
    .description =
        "Prints what is in a model file, a memory bank, a run folder or a folder of encoded images as JSON: names, "
        "shapes, number types, metadata and hashes.",
    .example = "  difftune inspect run/final/model.safetensors\n",
    .operands = "PATH",
    .run = run,
};
