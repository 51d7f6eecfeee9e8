#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_cache(ctx, s, observer);
}

const verb cache_verb = {
    .section = VERB_FILES,
    .name = "cache",
    .summary = "encodes images once, for models of latents",
    .description =
        "Encodes the images of --train-data and --validation-data with the codec of --vae into the folder of "
        "--cache-dir, each as it is and mirrored. Training does the same by itself where an image is missing, "
        "so this verb is for doing it beforehand. Images are known by their content: what was encoded is "
        "not encoded again, an edited image is. An interrupted call goes on with the same command.",
    .example = "  difftune cache --vae sd-vae-ft-mse --train-data my_images --resolution 256 --cache-dir latents\n",
    .needs = "vae train_data resolution",
    .often = "cache_dir validation_data",
    .keys = SETTINGS_CACHE,
    .run = run,
};
