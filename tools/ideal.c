#include "cli.h"

#include <inttypes.h>

static void print_bands(const char *title, const dt_ideal_result *r, const dt_ideal_band bands[DT_IDEAL_BANDS])
{
    printf("\n%s\n        t    nearest       mean      ideal", title);
    puts(r->has_model ? "      model      apart   apart x0" : "");
    for (int i = 0; i < DT_IDEAL_BANDS; i++) {
        const dt_ideal_band *b = &bands[i];
        printf("%3d - %3d %10.3g %10.3g %10.3g", i * 100, i * 100 + 99, b->nearest, b->mean, b->ideal_loss);
        if (r->has_model) printf(" %10.3g %10.3g %10.3g", b->model_loss, b->apart, b->apart_x0);
        putchar('\n');
    }
}

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    dt_ideal_result r;
    dt_status status = dt_ideal(ctx, s, observer, &r);
    if (status != DT_OK) return status;
    printf("%" PRId64 " pictures; at t 0 the ideal is %.3g from the nearest, at t 999 %.3g from their mean\n", r.count,
           r.nearest_at_first, r.mean_at_last);
    print_bands("pictures that it knows", &r, r.known);
    if (r.has_other) print_bands("other pictures", &r, r.other);
    return DT_OK;
}

const verb ideal_verb = {
    .section = VERB_ANALYSIS,
    .name = "ideal",
    .summary = "shows the ideal denoiser of a set of pictures, and how far a model is from it",
    .description =
        "Computes what a denoiser would say that had learned the pictures of --train-data perfectly (theorem 1 of the "
        "paper), at the size of --pretrained-model or else --resolution: the mean of all, each weighted by how "
        "probable it is under the noise. With little noise that is the "
        "nearest picture, with much their mean; both limits are printed. Over ten bands of t, on these pictures and on "
        "those of --validation-data: mean squares between the ideal and the nearest picture and the mean, the loss of "
        "the ideal and of --pretrained-model, which is told nothing, and how far the two are apart, in noise and in "
        "pictures. Writes ideal.json, ideal.csv and grid.png, where noised pictures stand above what the ideal makes "
        "of them. The pictures lie on disk while it works, so that 100,000 of them take little memory.",
    .example = "  difftune ideal --train-data source --validation-data my_images \\\n"
               "      --pretrained-model base.safetensors --output-dir ideal\n",
    .needs = "train_data output_dir",
    .often = "pretrained_model resolution validation_data validation_count vae device",
    .keys = SETTINGS_IDEAL,
    .run = run,
};
