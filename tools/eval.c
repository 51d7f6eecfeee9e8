#include "cli.h"

#include <inttypes.h>
#include <math.h>

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    dt_eval_result r;
    dt_status status = dt_eval(ctx, s, observer, &r);
    if (status != DT_OK) return status;
    if (!isnan(r.frechet_distance)) printf("%s %.6g  ", r.measure, r.frechet_distance);
    if (!isnan(r.spatial_frechet_distance)) printf("sFID %.6g  ", r.spatial_frechet_distance);
    if (!isnan(r.inception_score)) printf("IS %.6g +- %.3g  ", r.inception_score, r.inception_score_std);
    if (!isnan(r.kernel_distance)) printf("KID %.6g +- %.3g  ", r.kernel_distance, r.kernel_distance_std);
    if (!isnan(r.precision)) printf("precision %.4f  recall %.4f  ", r.precision, r.recall);
    if (!isnan(r.copied)) printf("copied %.4f", r.copied);
    if (!isnan(r.copied_held_out)) printf(" (held-out pictures: %.4f)", r.copied_held_out);
    if (!isnan(r.copied)) printf("  ");
    if (!isnan(r.nearest_ratio)) printf("nearest ratio %.4g  ", r.nearest_ratio);
    printf("reference %" PRId64 " images, candidate %" PRId64 " images\n", r.reference_count, r.candidate_count);
    return DT_OK;
}

const verb eval_verb = {
    .section = VERB_STEP,
    .name = "eval",
    .summary = "measures how near the images are to held-out ones: FID and other distances",
    .description =
        "Compares the images of --candidate with those of --reference in the features of a network; lower distances "
        "are better. Each side is a folder, a tar, a zip, or an .npz of statistics (pytorch-fid's and ADM's too) or of "
        "ADM's stack of samples. --feature base, the default, takes the middle of the network of --pretrained-model: a "
        "distance of our own, FD-base, which is no FID and needs no download. --feature inception gives FID, sFID, "
        "Inception Score, KID, precision and recall as published, from pictures cropped to --resolution or, without "
        "it, at their own sizes; it needs the file of weights that pytorch-fid publishes, and no --pretrained-model. "
        "Numbers that need images are left out where there are only statistics. With --trained-on, the pictures that "
        "the candidate's model was trained on, it tells how many of the candidates are copies of them, which no "
        "distance sees: the share that is no farther from its nearest training picture than that is from its own "
        "nearest one.",
    .example = "  difftune eval --reference held_out --candidate samples --pretrained-model base.safetensors\n"
               "  difftune eval --reference held_out --candidate samples --resolution 256 --feature inception \\\n"
               "      --feature-weights pt_inception-2015-12-05-6726825d.pth\n",
    .needs = "reference candidate pretrained_model",
    .often = "vae feature feature_weights resolution device",
    .keys = SETTINGS_EVAL,
    .run = run,
};
