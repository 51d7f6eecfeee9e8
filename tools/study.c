#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_study(ctx, s, observer);
}

const verb study_verb = {
    .section = VERB_WHOLE,
    .name = "study",
    .summary = "does many experiments as one: a grid of arms on data sets with seeds",
    .description = "Does what the file STUDY describes, in one folder, with the stages of run: the product of its arms "
                   "(the mapping 'arms', or 'grid' with axes), its data sets ('data') and its seeds ('seeds'), each "
                   "tuned once, drawn from in every way of 'draw', and measured. All else in the file are settings for "
                   "all arms; flags win over them. What arms have in common is made once. study.csv has every measure "
                   "of every arm, data set, seed and way to draw; report.html has means and spreads, differences to "
                   "the first arm with intervals, and curves. An arm that fails is told and does not stop the rest; "
                   "the next call tries it again. An interrupted call goes on with the same command.",
    .example = "  difftune study study.yaml --output-dir study\n",
    .needs = "pretrained_model output_dir",
    .often = "keep bank_seed bank_size max_train_steps fid_count feature feature_weights",
    .keys = SETTINGS_STUDY | SETTINGS_CACHE | SETTINGS_BANK | SETTINGS_TRAIN | SETTINGS_SAMPLE | SETTINGS_EVAL,
    .operands = "STUDY",
    .operand_is_config = true,
    .run = run,
};
