#include "cli.h"

#include <inttypes.h>
#include <math.h>

/* A number in its column, or a dash. */
static void print_number(double value, int width, int digits)
{
    if (isnan(value))
        printf("%*s", width, "-");
    else
        printf("%*.*g", width, digits, value);
}

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    dt_chain_result r;
    dt_status status = dt_chain(ctx, s, observer, &r);
    if (status != DT_OK) return status;
    printf("  tail  steps%14s%12s%10s%9s\n", r.point[0].distance.measure, "KID", "precision", "recall");
    for (int64_t i = 0; i < r.count; i++) {
        const dt_eval_result *d = &r.point[i].distance;
        printf("%4.4g %%%7" PRId64, 100 * r.point[i].tail, r.point[i].tail_steps);
        print_number(d->frechet_distance, 14, 6);
        print_number(d->kernel_distance, 12, 4);
        print_number(d->precision, 10, 3);
        print_number(d->recall, 9, 3);
        puts(i == r.best ? "  best" : "");
    }
    printf("%" PRId64 " samples of each, reference %" PRId64 " images\n", r.point[0].distance.candidate_count,
           r.point[0].distance.reference_count);
    return DT_OK;
}

const verb chain_verb = {
    .section = VERB_ANALYSIS,
    .name = "chain",
    .summary = "measures which last steps the base draws as well: the chain of forgetting",
    .description =
        "Draws --eval-count images of --pretrained-model once for each share of --tails, with that share of the steps, "
        "the last and cleanest ones, made by --tail-model, the base it was tuned from; and measures how far each set "
        "is from --reference (figure 1 of the paper). The tuned model's steps are made once for all shares. The base "
        "is told nothing and not guided, unless both files name the same classes. The features are those of eval; "
        "--feature base means the tail's model. Writes chain.json, chain.csv and for each share a folder as sample "
        "leaves it (p10 of a tenth) with a grid of --num-samples images. An interrupted call goes on with the same "
        "command; with more shares or images it draws only those.",
    .example = "  difftune chain --pretrained-model run --tail-model base.safetensors --reference held_out \\\n"
               "      --output-dir run/chain --clip-sample\n",
    .needs = "pretrained_model tail_model reference output_dir",
    .often = "tails eval_count vae guidance_scale num_inference_steps clip_sample feature feature_weights device",
    .keys = SETTINGS_CHAIN,
    .run = run,
};
